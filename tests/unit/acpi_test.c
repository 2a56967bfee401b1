/* SPDX-License-Identifier: MIT */
/* The guest's ACPI tables: found from the RSDP, summing to zero, true to the configuration, and
 * never beyond their room. What the byte code means is iasl's to say (tests/board/acpi.bats). */
#include "tests/unit/tap.h"

#include "libcommon/bytes.h"
#include "vmrun/board/x86_64/acpi.h"
#include "vmrun/board/x86_64/aml.h"
#include "vmrun/board/x86_64/x86_64.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t     area[X86_64_ACPI_SIZE];
static size_t      area_len;
static struct fail why;

static void build(struct machine *cfg, uint32_t ncpus, unsigned nvirtio)
{
	*cfg = (struct machine){ .type = MACHINE_X86_64_1, .ncpus = ncpus, .nregions = 1 };
	cfg->regions[0] = (struct machine_region){ .kind = REGION_RAM, .size = 64u << 20 };
	for (unsigned i = 0; i < nvirtio; i++) {
		struct machine_device *d = &cfg->devices[cfg->ndevices++];

		d->slot = SLOT_NONE;
		snprintf(d->type, sizeof(d->type), "virtio-rng");
	}
	memset(area, 0xee, sizeof(area));
	if (x86_64_plan(cfg, &why) || acpi_build(cfg, area, sizeof(area), &area_len, &why)) {
		printf("Bail out! %s\n", why.what);
		exit(1);
	}
}

static bool sums(const uint8_t *p, size_t len)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + p[i]);
	return sum == 0;
}

/* A table at a guest address; NULL when it is not within the area, is another or does not sum to
 * zero. */
static const uint8_t *table(uint64_t gpa, const char *signature)
{
	const uint8_t *p = area + (gpa - X86_64_ACPI);

	if (gpa < X86_64_ACPI || gpa - X86_64_ACPI > area_len - 36 || memcmp(p, signature, 4) ||
	    get_le32(p + 4) > area_len - (gpa - X86_64_ACPI))
		return NULL;
	return !strcmp(signature, "FACS") || sums(p, get_le32(p + 4)) ? p : NULL;
}

static const uint8_t *listed(const char *signature)
{
	const uint8_t *xsdt = table(get_le64(area + 24), "XSDT");

	for (uint32_t i = 36; xsdt && i + 8 <= get_le32(xsdt + 4); i += 8)
		if (table(get_le64(xsdt + i), signature))
			return table(get_le64(xsdt + i), signature);
	return NULL;
}

static unsigned count(const uint8_t *p, size_t len, const void *what, size_t n)
{
	unsigned found = 0;

	for (size_t i = 0; i + n <= len; i++)
		found += !memcmp(p + i, what, n);
	return found;
}

static void structure(void)
{
	struct machine cfg;
	const uint8_t *fadt, *madt, *dsdt, *facs, *p;
	unsigned       lapics = 0, isas = 0, others = 0;
	bool           ids = true;

	build(&cfg, 3, 10);
	ok(!memcmp(area, "RSD PTR ", 8) && area[15] == 2 && sums(area, 20) && sums(area, 36) &&
	   get_le32(area + 20) == 36, "an RSDP of ACPI 2 and later");
	fadt = listed("FACP");
	madt = listed("APIC");
	ok(fadt && madt, "the XSDT lists FADT and MADT");
	if (!fadt || !madt)
		return;
	dsdt = table(get_le64(fadt + 140), "DSDT");
	facs = table(get_le32(fadt + 36), "FACS");
	ok(dsdt && get_le32(fadt + 40) == get_le64(fadt + 140) && facs &&
	   get_le32(fadt + 36) % 64 == 0, "the FADT leads to DSDT and FACS");
	ok(fadt[8] == 6 && get_le32(fadt + 4) == 276 && get_le16(fadt + 46) == 9 &&
	   get_le32(fadt + 48) == 0, "ACPI is on from the start, SCI 9");
	ok(get_le32(fadt + 56) == 0x600 && get_le32(fadt + 64) == 0x604 &&
	   get_le32(fadt + 76) == 0x608 && get_le32(fadt + 80) == 0x620 &&
	   fadt[88] == 4 && fadt[89] == 2 && fadt[91] == 4 && fadt[92] == 8,
	   "its registers are where the device is");
	ok(get_le64(fadt + 148 + 4) == 0x600 && get_le64(fadt + 172 + 4) == 0x604 &&
	   get_le64(fadt + 208 + 4) == 0x608 && get_le64(fadt + 220 + 4) == 0x620 &&
	   fadt[148 + 1] == 32 && fadt[172 + 1] == 16 && fadt[208 + 1] == 32 && fadt[220 + 1] == 64,
	   "in the long form too");
	ok((get_le32(fadt + 112) & (1u << 4 | 1u << 20)) == 0 && get_le32(fadt + 112) & 1u << 10 &&
	   get_le64(fadt + 120) == 0xcf9 && fadt[128] == 6,
	   "a fixed power button, a reset register");
	for (p = madt + 44; p < madt + get_le32(madt + 4) && p[1]; p += p[1]) {
		if (p[0] == 0)
			ids &= p[3] == lapics++ && (get_le32(p + 4) & 1);
		else if (p[0] == 2)
			isas += (p[3] == 0 && get_le32(p + 4) == 2) ||
				((p[3] == 9 || p[3] == 5 || p[3] == 10) &&
				 get_le32(p + 4) == p[3] && get_le16(p + 8) == 13);
		else
			others += (p[0] == 1 && get_le32(p + 4) == 0xfec00000) ||
				  (p[0] == 4 && p[5] == 1);
	}
	ok(p == madt + get_le32(madt + 4) && lapics == 3 && ids && others == 2,
	   "the MADT has each CPU, the IOAPIC and NMI's pin");
	ok(isas == 4, "the PIT's pin, and levels at SCI and at what slots 8 and 9 have");
	ok(count(dsdt, get_le32(dsdt + 4), "LNRO0005", 8) == 10,
	   "a device in the DSDT for each slot in use");
	ok(count(dsdt, get_le32(dsdt + 4), "\x89\x06\x00\x01\x01\x10\x00\x00\x00", 9) == 1,
	   "with its interrupt, its own");
	ok(count(dsdt, get_le32(dsdt + 4), "VM_Gen_Counter", 15) == 2 &&
	   count(dsdt, get_le32(dsdt + 4), "_E05", 4) == 1, "the generation ID and its event");
	build(&cfg, 1, 17);
	dsdt = table(get_le64(listed("FACP") + 140), "DSDT");
	ok(dsdt && count(dsdt, get_le32(dsdt + 4), "\x89\x06\x00\x09\x01\x10\x00\x00\x00",
			 9) == 2 &&
	   count(dsdt, get_le32(dsdt + 4), "\x89\x06\x00\x01\x01\x11\x00\x00\x00", 9) == 1,
	   "two on one interrupt say that they share it");
}

/* The fullest machine fits; whatever the room is, nothing is written behind it. */
static void capacity(void)
{
	struct machine cfg;
	uint8_t       *tight;
	bool           right = true;
	size_t         full, len;

	build(&cfg, X86_64_CPUS_MAX, 32);
	ok(area_len < sizeof(area), "the most CPUs and 32 virtio devices fit");
	build(&cfg, 2, 3);
	full = area_len;
	for (size_t n = 0; n < full + 32; n++) {
		tight = malloc(n + 1);
		if (!tight)
			exit(1);
		tight[n] = 0x5a;
		int rc = acpi_build(&cfg, tight, n, &len, &why);

		right &= tight[n] == 0x5a && (rc ? why.kind == FAIL_LIMIT && n < full + 16
					      : len == full && !memcmp(tight, area, full));
		free(tight);
	}
	ok(right, "too little room is refused, enough is filled the same");
}

/* Lengths around each of AML's encodings. */
static void lengths(void)
{
	static uint8_t buf[8192];
	static const struct { size_t body; unsigned bytes; } cases[] =
		{ { 62, 1 }, { 63, 2 }, { 4093, 2 }, { 4094, 3 }, { 5000, 3 } };

	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		struct aml a = { .buf = buf, .capacity = sizeof(buf) };
		size_t     n = cases[c].bytes, len;
		char       claim[80];

		aml_package(&a, 0);
		for (size_t i = 1; i < cases[c].body; i++)
			aml_int(&a, 1);
		aml_end(&a);
		len = n == 1 ? buf[1]
		      : (size_t)(buf[1] & 15) | (size_t)buf[2] << 4 |
			(n == 3 ? (size_t)buf[3] << 12 : 0);
		snprintf(claim, sizeof(claim), "a package of %zu bytes has a length of %zu",
			 cases[c].body, n);
		ok(!a.full && buf[0] == 0x12 && buf[1] >> 6 == n - 1 && len == cases[c].body + n &&
		   a.len == 1 + len && buf[1 + n] == 0, claim);
	}
}

int main(void)
{
	structure();
	capacity();
	lengths();
	return done_testing();
}
