# SPDX-License-Identifier: MIT
FUZZ += wire
wire_fuzz_SRCS := $(addprefix vmmigrate/,message.c message_members.c wire.c address.c receiver.c)
