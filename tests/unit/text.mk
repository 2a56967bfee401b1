# SPDX-License-Identifier: MIT
UNITS += text_test
text_test_SRCS := tests/unit/tap.c
