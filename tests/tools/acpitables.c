/* SPDX-License-Identifier: MIT */
/* acpitables FOLDER CPUS VIRTIO: the ACPI tables of an x86-64-1 machine, each into
 * FOLDER/SIGNATURE.dat, as iasl reads them; all of them as they lie in guest memory into
 * FOLDER/tables. */
#include "libcommon/bytes.h"
#include "vmrun/board/x86_64/acpi.h"
#include "vmrun/board/x86_64/x86_64.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t area[X86_64_ACPI_SIZE];

static void put(const char *folder, const char *name, const void *data, size_t len)
{
	char  path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	if (!f || fwrite(data, 1, len, f) != len || fclose(f)) {
		perror(path);
		exit(1);
	}
}

static void put_table(const char *folder, uint64_t gpa)
{
	const uint8_t *p = area + (gpa - X86_64_ACPI);
	char           name[16];

	snprintf(name, sizeof(name), "%.4s.dat", (const char *)p);
	put(folder, name, p, get_le32(p + 4));
	if (!memcmp(p, "FACP", 4)) {
		put_table(folder, get_le32(p + 36));
		put_table(folder, get_le64(p + 140));
	}
}

int main(int argc, char **argv)
{
	static struct machine cfg;
	struct fail           why = { 0 };
	const uint8_t        *xsdt;
	size_t                len;

	if (argc != 4) {
		fprintf(stderr, "usage: acpitables FOLDER CPUS VIRTIO\n");
		return 2;
	}
	cfg = (struct machine){ .type = MACHINE_X86_64_1, .ncpus = (uint32_t)atoi(argv[2]),
				.nregions = 1 };
	cfg.regions[0].size = 64u << 20;
	for (int i = 0; i < atoi(argv[3]) && cfg.ndevices < LIMIT_DEVICES; i++) {
		snprintf(cfg.devices[cfg.ndevices].type, sizeof(cfg.devices[0].type), "virtio-rng");
		cfg.devices[cfg.ndevices++].slot = SLOT_NONE;
	}
	if (x86_64_plan(&cfg, &why) || acpi_build(&cfg, area, sizeof(area), &len, &why)) {
		fprintf(stderr, "acpitables: %s\n", why.what);
		return 1;
	}
	put(argv[1], "tables", area, len);
	xsdt = area + (get_le64(area + 24) - X86_64_ACPI);
	put_table(argv[1], get_le64(area + 24));
	for (uint32_t i = 36; i + 8 <= get_le32(xsdt + 4); i += 8)
		put_table(argv[1], get_le64(xsdt + i));
	return 0;
}
