control_SRCS :=
