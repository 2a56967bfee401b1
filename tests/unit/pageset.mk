# SPDX-License-Identifier: MIT
UNITS += pageset_test
pageset_test_SRCS := tests/unit/tap.c
