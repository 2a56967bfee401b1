# SPDX-License-Identifier: MIT
FUZZ += state_tables machine
machine_fuzz_SRCS := tests/unit/sample.c tests/unit/sample_x86.c
