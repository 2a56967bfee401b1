# SPDX-License-Identifier: MIT
UNITS += hostkey_test
hostkey_test_SRCS :=
