# SPDX-License-Identifier: MIT
# The small devices of a PC on a board of the test's own: no board/list.c.
UNITS += x86_devices_test
x86_devices_test_SRCS := tests/unit/board_fake.c tests/unit/tap.c vmrun/memory.c vmrun/clock.c vmrun/host/loop.c vmrun/host/chardev.c \
		   vmrun/host/chardev_host.c vmrun/host/chardev_spec.c vmrun/host/accept.c \
			 vmrun/board/board.c $(addprefix vmrun/devices/,$(devices_SRCS))
