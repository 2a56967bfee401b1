# SPDX-License-Identifier: MIT
# devices: a file a device; device_list: all of them; device: what they use of the VM.
#   plic, uart, rtc      SiFive's PLIC, 16550A, goldfish clock
#   mc146818, i8042      a PC's clock and keyboard controller
#   acpi_pm, cf9         power button, sleep and events of ACPI; the reset register
#   pvpanic, debugexit   how a guest tells of its end; vmgenid: how it is told that it is a copy
#   virtqueue            split rings of a hostile driver
#   virtio               the life of a virtio device; virtio_mmio: its registers
#   notifier             queue notifications that stop no vCPU
#   virtio_blk           a disk's queue and threads; virtio_blk_request: what a request does;
#                        virtio_blk_kept: requests without space on the host
#   disks                the host's file behind a disk; disk_lock: who may have it; disk_alias: by
#                        another inode too; disk_sync: its flushes and samples for a save
#   disk_writes          how much has been written to a block device, as the kernel counts it
#   virtio_blk_disk      what saves and moves need of a disk
#   virtio_console, virtio_rng
devices_SRCS := device.c device_list.c plic.c uart.c rtc.c virtio.c virtio_mmio.c virtqueue.c \
		virtio_blk.c virtio_blk_kept.c virtio_blk_request.c virtio_blk_disk.c disks.c \
		disk_lock.c disk_alias.c disk_sync.c disk_writes.c virtio_console.c virtio_rng.c \
		notifier.c mc146818.c i8042.c acpi_pm.c cf9.c pvpanic.c debugexit.c vmgenid.c
