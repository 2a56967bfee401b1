devices_SRCS :=
