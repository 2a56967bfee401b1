# SPDX-License-Identifier: MIT
UNITS += fail_test
fail_test_SRCS := tests/unit/tap.c
