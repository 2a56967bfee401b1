# SPDX-License-Identifier: MIT
UNITS += qmp_test moves_test
qmp_test_SRCS := vmrun/control/qmp.c
moves_test_SRCS :=
