devices_SRCS := list.c plic.c uart.c rtc.c virtio.c virtio_mmio.c virtqueue.c virtio_blk.c virtio_blk_request.c disks.c \
		virtio_console.c virtio_rng.c
