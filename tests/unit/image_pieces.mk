# SPDX-License-Identifier: MIT
UNITS += image_pieces_test
image_pieces_test_SRCS := vmrun/boot/image_pieces.c tests/unit/tap.c
