# SPDX-License-Identifier: MIT
UNITS += machine_test tree_test
machine_test_SRCS := tests/unit/sample.c tests/unit/sample_x86.c
tree_test_SRCS    := tests/unit/sample.c tests/unit/sample_x86.c
