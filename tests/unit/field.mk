# SPDX-License-Identifier: MIT
UNITS += field_test
