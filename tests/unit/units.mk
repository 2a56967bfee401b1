# SPDX-License-Identifier: MIT
UNITS += units_test
units_test_SRCS :=
