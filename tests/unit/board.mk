# SPDX-License-Identifier: MIT
# The board and its devices over a fake accelerator.
board_fake_SRCS  = tests/unit/board_fake.c tests/unit/tap.c vmrun/memory.c vmrun/clock.c vmrun/host/loop.c vmrun/host/chardev.c \
		   vmrun/host/chardev_host.c vmrun/host/chardev_spec.c vmrun/host/accept.c \
		   $(addprefix vmrun/board/,$(board_SRCS)) $(addprefix vmrun/devices/,$(devices_SRCS))
UNITS += notifier_test plic_test vmgenid_test uart_test virtqueue_test virtio_test blk_test chardev_test boot_test
notifier_test_SRCS  := $(board_fake_SRCS)
plic_test_SRCS      := $(board_fake_SRCS)
vmgenid_test_SRCS   := $(board_fake_SRCS)
uart_test_SRCS      := $(board_fake_SRCS)
virtqueue_test_SRCS := $(board_fake_SRCS)
virtio_test_SRCS    := $(board_fake_SRCS)
blk_test_SRCS       := $(board_fake_SRCS) vmrun/blk_all.c
boot_test_SRCS      := $(board_fake_SRCS)
chardev_test_SRCS   := vmrun/host/loop.c vmrun/host/chardev.c vmrun/host/chardev_host.c vmrun/host/chardev_spec.c vmrun/host/accept.c
