/* SPDX-License-Identifier: MIT */
#include "vmrun/board/x86_64/acpi_internal.h"

#include "libcommon/bytes.h"
#include "vmrun/board/place.h"
#include "vmrun/board/x86_64/x86_64.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RSDP_LEN    36u
#define RSDP_LEN_V1 20u

uint8_t *acpi_capacity(struct acpi *t, size_t len, size_t align, uint32_t *gpa)
{
	size_t at = (t->at + align - 1) & ~(align - 1);

	if (t->full || at > t->capacity || len > t->capacity - at) {
		t->full = true;
		*gpa    = 0;
		return NULL;
	}
	t->at = at + len;
	*gpa  = X86_64_ACPI + (uint32_t)at;
	return t->out + at;
}

static uint8_t acpi_sum(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + p[i]);
	return (uint8_t)-sum;
}

void acpi_seal(uint8_t *p, size_t len, const char signature[5], uint8_t revision)
{
	memcpy(p, signature, 4);
	put_le32(p + 4, (uint32_t)len);
	p[8] = revision;
	memcpy(p + 10, "VMFERR", 6);
	memcpy(p + 16, "X86-64-1", 8);
	put_le32(p + 24, 1);
	memcpy(p + 28, "VMFY", 4);
	put_le32(p + 32, 1);
	p[9] = 0;
	p[9] = acpi_sum(p, len);
}

static uint32_t acpi_xsdt(struct acpi *t, const uint32_t *tables, size_t n)
{
	uint32_t gpa;
	size_t   len = ACPI_HEADER + 8 * n;
	uint8_t *p = acpi_capacity(t, len, 16, &gpa);

	if (!p)
		return 0;
	for (size_t i = 0; i < n; i++)
		put_le64(p + ACPI_HEADER + 8 * i, tables[i]);
	acpi_seal(p, len, "XSDT", 1);
	return gpa;
}

static void acpi_rsdp(uint8_t *p, uint32_t xsdt)
{
	memcpy(p, "RSD PTR ", 8);
	memcpy(p + 9, "VMFERR", 6);
	p[15] = 2;
	put_le32(p + 20, RSDP_LEN);
	put_le64(p + 24, xsdt);
	p[8]  = acpi_sum(p, RSDP_LEN_V1);
	p[32] = acpi_sum(p, RSDP_LEN);
}

int acpi_build(const struct machine *cfg, uint8_t *out, size_t capacity, size_t *len,
	       struct fail *why)
{
	struct acpi t = { .cfg = cfg, .out = out, .capacity = capacity };
	uint32_t    gpa, xsdt, facs, tables[2];
	uint8_t    *rsdp;

	memset(out, 0, capacity);
	rsdp      = acpi_capacity(&t, RSDP_LEN, 16, &gpa);
	facs      = acpi_facs(&t);
	tables[0] = acpi_fadt(&t, facs, acpi_dsdt(&t));
	tables[1] = acpi_madt(&t);
	xsdt      = acpi_xsdt(&t, tables, sizeof(tables) / sizeof(tables[0]));
	if (t.full)
		return fail_set(why, FAIL_LIMIT, "guest ACPI tables exceed the limit of %zu bytes",
				capacity);
	acpi_rsdp(rsdp, xsdt);
	*len = t.at;
	return 0;
}

int acpi_put(struct board *b, struct fail *why)
{
	uint8_t *tables = malloc(X86_64_ACPI_SIZE);
	size_t   len;
	int      rc = -1;

	if (!tables) {
		errno = ENOMEM;
		return fail_sys(why, "ACPI tables");
	}
	if (acpi_build(b->host->cfg, tables, X86_64_ACPI_SIZE, &len, why) == 0)
		rc = boot_put(b->host->memory, X86_64_ACPI, tables, X86_64_ACPI_SIZE, 0,
			      "ACPI tables", why);
	free(tables);
	return rc;
}
