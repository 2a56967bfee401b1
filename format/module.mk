LIBS += format
format_SRCS :=
