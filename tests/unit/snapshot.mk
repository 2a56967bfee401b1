UNITS += snapshot_test
