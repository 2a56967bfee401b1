/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOARD_X86_64_ACPI_INTERNAL_H
#define VMRUN_BOARD_X86_64_ACPI_INTERNAL_H

#include "vmrun/board/x86_64/acpi.h"
#include "vmrun/board/x86_64/aml.h"

#include <stdbool.h>

/* Tables, one after the other. What does not fit sets `full` and is not written. */
struct acpi {
	const struct machine *cfg;
	uint8_t *out;
	size_t   capacity, at;
	bool     full;
};

/* Reserves len zero bytes, aligned; their guest address in *gpa. NULL when full. */
uint8_t *acpi_capacity(struct acpi *t, size_t len, size_t align, uint32_t *gpa);
/* The header of a table, once its body is there; the checksum. */
#define ACPI_HEADER 36u
void acpi_seal(uint8_t *table, size_t len, const char signature[5], uint8_t revision);

/* acpi_tables.c; each the gpa of what it made, 0 when full. */
uint32_t acpi_facs(struct acpi *t);
uint32_t acpi_fadt(struct acpi *t, uint32_t facs, uint32_t dsdt);
uint32_t acpi_madt(struct acpi *t);

/* acpi_dsdt.c */
uint32_t acpi_dsdt(struct acpi *t);

#endif
