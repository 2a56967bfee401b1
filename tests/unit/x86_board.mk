# SPDX-License-Identifier: MIT
# Machine type x86-64-1 over a fake accelerator; its ACPI tables.
UNITS += x86_boot_test acpi_test
x86_boot_test_SRCS = $(board_fake_SRCS)
acpi_test_SRCS    := $(addprefix vmrun/board/,place.c plan.c $(addprefix x86_64/,acpi.c acpi_tables.c acpi_dsdt.c aml.c x86_64_plan.c)) vmrun/memory.c
