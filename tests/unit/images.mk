# SPDX-License-Identifier: MIT
UNITS += images_test
images_test_SRCS := tests/unit/snapshot_guest.c
