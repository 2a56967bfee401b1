board_SRCS :=
