UNITS += hostkey_test
hostkey_test_SRCS :=
