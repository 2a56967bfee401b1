# SPDX-License-Identifier: MIT
UNITS += x86_state_test
x86_state_test_SRCS := tests/unit/sample.c tests/unit/sample_x86.c
