/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOARD_X86_64_ACPI_H
#define VMRUN_BOARD_X86_64_ACPI_H

#include "libcommon/fail.h"

#include <stddef.h>
#include <stdint.h>

/* ACPI tables (ACPI 6.5): RSDP, XSDT, FADT, FACS, MADT, DSDT, in this guest's memory from
 * X86_64_ACPI on. They are part of guest memory, so a restore has them. */

struct board;
struct machine;

/* All tables as they go to X86_64_ACPI, the RSDP first; at most X86_64_ACPI_SIZE. *len is what they
 * take. */
int acpi_build(const struct machine *cfg, uint8_t *out, size_t capacity, size_t *len,
	       struct fail *why);
int acpi_put(struct board *b, struct fail *why);

#endif
