# SPDX-License-Identifier: MIT
UNITS += auth_test
auth_test_SRCS := tests/unit/snapshot_guest.c
