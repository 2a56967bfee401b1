# SPDX-License-Identifier: MIT
UNITS += progress_test
progress_test_SRCS := tests/unit/tap.c
