UNITS += wire_test
wire_test_SRCS := $(addprefix vmmigrate/,message.c wire.c address.c sender.c receiver.c)
