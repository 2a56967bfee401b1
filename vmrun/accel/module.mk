accel_SRCS :=
