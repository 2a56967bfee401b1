/* SPDX-License-Identifier: MIT */
#include "vmrun/board/x86_64/x86_64.h"

#include "libcommon/bytes.h"
#include "vmrun/board/x86_64/acpi.h"
#include "vmrun/board/place.h"
#include "vmrun/memory.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Linux' zero page, Documentation/arch/x86/zero-page.rst and boot.rst. */
#define ZERO_RSDP         0x070u
#define ZERO_MAP_COUNT    0x1e8u
#define ZERO_HEADER       0x1f1u
#define ZERO_BOOT_FLAG    0x1feu
#define ZERO_MAGIC        0x202u
#define ZERO_VERSION      0x206u
#define ZERO_LOADER       0x210u
#define ZERO_INITRD       0x218u
#define ZERO_INITRD_LEN   0x21cu
#define ZERO_CMDLINE      0x228u
#define ZERO_SETUP_DATA   0x250u
#define ZERO_MAP          0x2d0u
#define ZERO_MAP_ROW      20u

#define LOADER_UNNAMED    0xffu
#define SETUP_RNG_SEED    9u
#define SEED_BYTES        64u

static void x86_64_zero(uint8_t page[4096], const struct x86_64_kernel *k,
			const struct x86_64_start *s)
{
	struct x86_64_map map[X86_64_MAP_MAX];
	unsigned          n = x86_64_map(s->cfg, map);

	memset(page, 0, 4096);
	if (k->header) {
		memcpy(page + ZERO_HEADER, k->header, k->header_len);
	} else {
		put_le16(page + ZERO_BOOT_FLAG, 0xaa55);
		memcpy(page + ZERO_MAGIC, "HdrS", 4);
		put_le16(page + ZERO_VERSION, 0x020c);
	}
	page[ZERO_LOADER] = LOADER_UNNAMED;
	put_le64(page + ZERO_RSDP, s->rsdp);
	put_le32(page + ZERO_INITRD, (uint32_t)s->initrd);
	put_le32(page + ZERO_INITRD_LEN, (uint32_t)s->initrd_len);
	put_le32(page + ZERO_CMDLINE, X86_64_CMDLINE);
	put_le64(page + ZERO_SETUP_DATA, X86_64_SEED);
	page[ZERO_MAP_COUNT] = (uint8_t)n;
	for (unsigned i = 0; i < n; i++) {
		put_le64(page + ZERO_MAP + i * ZERO_MAP_ROW, map[i].gpa);
		put_le64(page + ZERO_MAP + i * ZERO_MAP_ROW + 8, map[i].size);
		put_le32(page + ZERO_MAP + i * ZERO_MAP_ROW + 16, map[i].type);
	}
}

/* A guest without other entropy starts with this, a new one at each boot. */
static int x86_64_seed(struct memory *m, struct fail *why)
{
	uint8_t data[16 + SEED_BYTES] = { 0 };
	int     rc = -1;

	put_le32(data + 8, SETUP_RNG_SEED);
	put_le32(data + 12, SEED_BYTES);
	/* Up to 256 bytes come whole once the host's pool is ready. */
	if (getrandom(data + 16, SEED_BYTES, 0) == SEED_BYTES)
		rc = boot_put(m, X86_64_SEED, data, sizeof(data), 0, "seed", why);
	else
		fail_sys(why, "seed: getrandom");
	explicit_bzero(data, sizeof(data));
	return rc;
}

/* The first 4 GiB where they are, in pages of 2 MiB: present, writable; accessed and dirty, so that
 * no CPU has to write here. */
static int x86_64_tables(struct memory *m, struct fail *why)
{
	uint8_t *t = calloc(6, 4096);
	int      rc;

	if (!t)
		return fail_sys(why, "page tables");
	put_le64(t, (X86_64_TABLES + 4096) | 0x23);
	for (unsigned i = 0; i < 4; i++)
		put_le64(t + 4096 + 8 * i, (X86_64_TABLES + 8192 + 4096 * i) | 0x23);
	for (unsigned i = 0; i < 4 * 512; i++)
		put_le64(t + 8192 + 8 * i, (uint64_t)i << 21 | 0xe3);
	rc = boot_put(m, X86_64_TABLES, t, (size_t)6 * 4096, 0, "page tables", why);
	free(t);
	return rc;
}

/* 0x10 code and 0x18 data, flat; as accel.h's boot_entry says. */
static int x86_64_gdt(struct memory *m, enum boot_how how, struct boot_entry *entry,
		      struct fail *why)
{
	uint8_t gdt[32] = { 0 };

	put_le64(gdt + 0x10, how == BOOT_X86_64 ? 0x00af9b000000ffff : 0x00cf9b000000ffff);
	put_le64(gdt + 0x18, 0x00cf93000000ffff);
	entry->gdt       = X86_64_GDT;
	entry->gdt_limit = sizeof(gdt) - 1;
	return boot_put(m, X86_64_GDT, gdt, sizeof(gdt), 0, "GDT", why);
}

static int x86_64_pages(struct memory *m, const struct x86_64_kernel *k,
			const struct x86_64_start *s, struct boot_entry *entry, struct fail *why)
{
	uint8_t page[4096];

	*entry = (struct boot_entry){ .how = k->how, .pc = k->k.entry,
				      .is_linux = k->header != NULL };
	if (x86_64_gdt(m, k->how, entry, why))
		return -1;
	if (k->how == BOOT_X86_PVH) {
		entry->arg = X86_64_START;
		x86_64_pvh(page, s);
		return boot_put(m, X86_64_START, page, sizeof(page), 0, "hvm_start_info", why);
	}
	entry->arg = X86_64_ZERO;
	entry->cr3 = X86_64_TABLES;
	x86_64_zero(page, k, s);
	if (boot_put(m, X86_64_ZERO, page, sizeof(page), 0, "zero page", why) ||
	    x86_64_seed(m, why))
		return -1;
	return x86_64_tables(m, why);
}

static int x86_64_append(const struct machine *cfg, const struct x86_64_kernel *k, struct fail *why)
{
	if (strlen(cfg->append) > k->cmdline_max)
		return fail_set(why, FAIL_USAGE,
				"append: %zu characters exceed the limit of %" PRIu64
				" of this kernel", strlen(cfg->append), k->cmdline_max);
	return 0;
}

int x86_64_bootable(const struct machine *cfg, const struct boot_images *images, struct fail *why)
{
	struct x86_64_kernel k;

	if (!images->kernel)
		return 0;
	if (x86_64_parse(&k, images->kernel, images->kernel_len, cfg->regions[0].size, why))
		return -1;
	return x86_64_append(cfg, &k, why);
}

int x86_64_boot(struct board *b, const struct boot_images *images, struct boot_entry *entry,
		struct fail *why)
{
	const struct machine *cfg    = b->host->cfg;
	struct memory        *m      = b->host->memory;
	const char           *append = cfg->append;
	struct x86_64_start   s      = { .cfg = cfg, .rsdp = X86_64_ACPI };
	struct x86_64_kernel  k;
	uint64_t              top;

	if (x86_64_parse(&k, images->kernel, images->kernel_len, m->regions[0].cfg.size, why))
		return -1;
	if (x86_64_append(cfg, &k, why))
		return fail_prefix(why, "--");
	top = k.initrd_end;
	if (images->initrd) {
		s.initrd_len = images->initrd_len;
		if (boot_place(&k.k, X86_64_KERNEL, &top, s.initrd_len, &s.initrd, "initrd", why) ||
		    boot_put(m, s.initrd, images->initrd, images->initrd_len, 0, "initrd", why))
			return -1;
	}
	if (boot_put_kernel(m, &k.k, images->kernel, why) || acpi_put(b, why) ||
	    boot_put(m, X86_64_CMDLINE, (const uint8_t *)append, strlen(append) + 1, 0,
		     "command line", why))
		return -1;
	return x86_64_pages(m, &k, &s, entry, why);
}
