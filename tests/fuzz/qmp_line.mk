# SPDX-License-Identifier: MIT
FUZZ += qmp_line
qmp_line_fuzz_SRCS := vmrun/control/qmp.c
