# SPDX-License-Identifier: MIT
# devices: a device a file; the file or its header says what it is. All files here are compiled, so
# that a new device needs no line here, only its row in device_list.h. What has more than one file,
# and what is no device:
#   device_list    all device types; device, device_host: what they use of the VM
#   virtio         the life of a virtio device; virtio_mmio: its registers; virtqueue: split rings
#                  of a hostile driver
#   notifier       queue notifications that stop no vCPU
#   virtio_blk     a disk's queue and threads; virtio_blk_request: what a request does;
#                  virtio_blk_kept: requests without space on the host; virtio_blk_disk: what saves
#                  and moves need
#   disks          the host's file behind a disk; disk_lock: who may have it; disk_alias: by another
#                  inode too; disk_sync: its flushes and samples for a save; disk_writes: how much
#                  has been written to a block device, as the kernel counts it
devices_SRCS := $(sort $(patsubst vmrun/devices/%,%,$(wildcard vmrun/devices/*.c)))
