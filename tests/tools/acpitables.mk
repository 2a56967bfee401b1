# SPDX-License-Identifier: MIT
TOOLS += acpitables
acpitables_SRCS = $(acpi_test_SRCS)
