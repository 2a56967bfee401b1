# SPDX-License-Identifier: MIT
UNITS += snapshot_test refused_test image_test chunk_test chunk_table_test
snapshot_test_SRCS := tests/unit/snapshot_guest.c
refused_test_SRCS  := tests/unit/snapshot_guest.c
image_test_SRCS    := tests/unit/snapshot_guest.c
chunk_test_SRCS    := tests/unit/snapshot_guest.c
chunk_table_test_SRCS := tests/unit/tap.c
