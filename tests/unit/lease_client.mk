# SPDX-License-Identifier: MIT
UNITS += lease_client_test
lease_client_test_SRCS :=
