# SPDX-License-Identifier: MIT
UNITS += publish_test
publish_test_SRCS := tests/unit/tap.c
