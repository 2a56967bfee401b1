# SPDX-License-Identifier: MIT
UNITS += populated_test
populated_test_SRCS := tests/unit/tap.c
