/* SPDX-License-Identifier: MIT */
#include "vmrun/boot/initrd_internal.h"

#include <archive.h>
#include <archive_entry.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Many distributions compress kernel modules, and the insmod of a small userland cannot load those.
 * In an initrd that is packed here NAME.ko.xz, .zst or .gz becomes NAME.ko, unless that exists as
 * well. */

static const char *const suffixes[] = { ".xz", ".zst", ".gz" };

/* Offset of the suffix of a compressed module in its path; 0: not such a module. */
static size_t module_suffix(const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		size_t n = strlen(suffixes[i]);

		if (len > n + 3 && !strcmp(path + len - n, suffixes[i]) &&
		    !strncmp(path + len - n - 3, ".ko", 3))
			return len - n;
	}
	return 0;
}

/* Is there a file of the uncompressed name already, or a later entry of this name, which would be
 * used instead of this one? */
static bool module_stays(struct cpio *c, const struct cpio_entry *e, size_t suffix)
{
	char plain[PATH_MAX];

	memcpy(plain, e->path, suffix);
	plain[suffix] = '\0';
	return cpio_find(c, plain) || cpio_find(c, e->path) != e;
}

static struct archive *module_open(const struct cpio_entry *e)
{
	struct archive       *a = archive_read_new();
	struct archive_entry *x;

	if (!a)
		return NULL;
	archive_read_support_filter_xz(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_filter_gzip(a);
	archive_read_support_format_raw(a);
	if (archive_read_open_memory(a, e->data, e->len) == ARCHIVE_OK &&
	    archive_read_next_header(a, &x) >= ARCHIVE_WARN &&
	    /* Without a filter: the raw format accepts anything. */
	    archive_filter_code(a, 0) != ARCHIVE_FILTER_NONE)
		return a;
	archive_read_free(a);
	return NULL;
}

static int module_unpack(struct cpio *c, size_t i, size_t suffix, struct fail *why)
{
	struct cpio_entry *e     = &c->entries[i];
	struct archive    *a     = module_open(e);
	struct cpio_entry  plain = { 0 };
	int                rc;

	if (!a)
		return fail_set(why, FAIL_CORRUPT,
			"initrd: %.200s: unsupported compression (supported: xz, zstd, gzip)",
			e->path);
	rc = initrd_archive_data(a, &plain, c->max - c->bytes + e->len, e->path, why);
	archive_read_free(a);
	if (rc) {
		free(plain.data);
		return fail_prefix(why, "initrd: ");
	}
	c->bytes += plain.len - e->len;      /* modulo 2^64: may shrink */
	free(e->data);
	e->data = plain.data;
	e->len  = plain.len;
	return cpio_shorten(c, i, suffix, why);
}

int initrd_modules(struct cpio *c, struct fail *why)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct cpio_entry *e      = &c->entries[i];
		size_t                   suffix = 0;

		if (S_ISREG(e->mode) && e->len)
			suffix = module_suffix(e->path);
		if (suffix && !module_stays(c, e, suffix) && module_unpack(c, i, suffix, why))
			return -1;
	}
	return 0;
}
