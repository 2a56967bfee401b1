# SPDX-License-Identifier: MIT
UNITS += precopy_test
precopy_test_SRCS :=
