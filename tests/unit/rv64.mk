# SPDX-License-Identifier: MIT
# The software CPU over a stand-in for the board.
rv64_SRCS := tests/unit/rv64_harness.c tests/unit/tap.c vmrun/memory.c vmrun/clock.c $(addprefix vmrun/accel/,$(accel_soft_SRCS))
UNITS += rv64_test rv64_smp_test rv64_oracle_test
rv64_test_SRCS        := $(rv64_SRCS)
rv64_smp_test_SRCS    := $(rv64_SRCS)
rv64_oracle_test_SRCS := $(rv64_SRCS)
