# SPDX-License-Identifier: MIT
# The core of vmrun over fakes of accelerator, board and control server.
UNITS += memory_test clock_test dirty_test runstate_test reset_test events_test
memory_test_SRCS   := vmrun/memory.c
clock_test_SRCS    := vmrun/clock.c
dirty_test_SRCS    := tests/unit/core_fake.c vmrun/dirty.c vmrun/memory.c vmrun/clock.c
reset_test_SRCS    := tests/unit/core_fake.c vmrun/vm_reset.c vmrun/vm_runstate.c vmrun/memory.c vmrun/clock.c
events_test_SRCS   := vmrun/vm_events.c
runstate_test_SRCS := tests/unit/core_fake.c vmrun/vm_runstate.c vmrun/memory.c vmrun/clock.c
UNITS += initrd_test
initrd_test_SRCS := vmrun/boot/initrd.c vmrun/boot/initrd_modules.c vmrun/boot/cpio.c
