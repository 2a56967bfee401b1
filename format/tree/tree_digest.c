/* SPDX-License-Identifier: MIT */
#include "format/tree/tree.h"

#include "libcommon/bytes.h"

#include <libfdt.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* The machine digest (docs/format.md 7): of what a machine is, not of where and when it runs. */

/* Facts of the host, of the time, and of what a user has asked of vmrun. */
static bool fact_of_host(const char *path, const char *name)
{
	if (strncmp(path, "/host/", 6) == 0)
		return strcmp(name, "class") != 0 && strcmp(name, "read-only") != 0;
	if (strcmp(path, "/vm") == 0)
		return strcmp(name, "vmferry,stopped") == 0;
	return strcmp(path, "/vm/state/clock") == 0 && strcmp(name, "realtime-ns") == 0;
}

static int digest_property(XXH3_state_t *x, const void *fdt, const char *path, int at)
{
	const char *name;
	const void *value;
	uint8_t     bytes[8];
	int         len;

	value = fdt_getprop_by_offset(fdt, at, &name, &len);
	if (!value)
		return len;
	if (fact_of_host(path, name))
		return 0;
	put_le64(bytes, (uint64_t)len);
	XXH3_128bits_update(x, path, strlen(path) + 1);
	XXH3_128bits_update(x, name, strlen(name) + 1);
	XXH3_128bits_update(x, bytes, sizeof(bytes));
	XXH3_128bits_update(x, value, (size_t)len);
	return 0;
}

/* Puts a node's name behind the path of its parent, which ends at ends[depth]. */
static int path_set(char path[TREE_PATH_MAX], size_t ends[TREE_DEPTH + 1], int depth,
		    const char *name)
{
	int n;

	if (depth == 0) {
		strcpy(path, "/");
		ends[0] = 0;
		return 0;
	}
	n = snprintf(path + ends[depth - 1], TREE_PATH_MAX - ends[depth - 1], "/%s", name);
	if (n < 0 || (size_t)n >= TREE_PATH_MAX - ends[depth - 1])
		return -1;
	ends[depth] = ends[depth - 1] + (size_t)n;
	return 0;
}

int tree_digest(XXH3_state_t *x, const void *fdt, size_t len, struct fail *why)
{
	char   path[TREE_PATH_MAX];
	size_t ends[TREE_DEPTH + 1];
	int    depth = 0, node = 0, at, rc = 0;

	if (len < sizeof(struct fdt_header) || fdt_check_header(fdt) || fdt_totalsize(fdt) != len)
		return fail_set(why, FAIL_CORRUPT, "VM tree: invalid blob");
	for (; node >= 0 && depth >= 0 && rc == 0; node = fdt_next_node(fdt, node, &depth)) {
		const char *name = fdt_get_name(fdt, node, NULL);

		if (!name || depth > TREE_DEPTH || path_set(path, ends, depth, name))
			return fail_set(why, FAIL_CORRUPT, "VM tree: path too long");
		fdt_for_each_property_offset(at, fdt, node)
			rc = rc ? rc : digest_property(x, fdt, path, at);
	}
	if (rc || (node < 0 && node != -FDT_ERR_NOTFOUND))
		return fail_set(why, FAIL_CORRUPT, "VM tree: %s", fdt_strerror(rc ? rc : node));
	return 0;
}
