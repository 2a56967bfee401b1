# SPDX-License-Identifier: MIT
UNITS += wire_test
wire_test_SRCS := tests/unit/tap.c $(addprefix vmmigrate/,message.c message_members.c wire.c \
		  address.c sender.c receiver.c)
UNITS += handover_test
handover_test_SRCS := tests/unit/tap.c $(addprefix vmmigrate/,source_handover.c find.c message.c \
		      message_members.c wire.c address.c)
