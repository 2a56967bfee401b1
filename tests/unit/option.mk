# SPDX-License-Identifier: MIT
UNITS += option_test
option_test_SRCS := tests/unit/tap.c
