# devices: a file a device, one list.
#   plic, uart, rtc      SiFive's PLIC, 16550A, goldfish clock
#   virtqueue            split rings of a hostile driver
#   virtio               the life of a virtio device; virtio_mmio: its registers
#   virtio_blk           a disk's queue and threads; virtio_blk_request: what a request does
#   disks                the host's file behind a disk, and its lock
#   virtio_console, virtio_rng
devices_SRCS := list.c plic.c uart.c rtc.c virtio.c virtio_mmio.c virtqueue.c virtio_blk.c virtio_blk_request.c disks.c \
		virtio_console.c virtio_rng.c
