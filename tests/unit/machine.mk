UNITS += machine_test tree_test
machine_test_SRCS := tests/unit/sample.c
tree_test_SRCS    := tests/unit/sample.c
