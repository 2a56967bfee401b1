UNITS += field_test
