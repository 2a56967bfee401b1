# SPDX-License-Identifier: MIT
FUZZ += virtqueue
virtqueue_fuzz_SRCS = $(board_fake_SRCS)
