devices_SRCS := list.c plic.c uart.c rtc.c
