/* SPDX-License-Identifier: MIT */
/* shaketree IN OUT SEED: copies a snapshot whose trees have been shaken, by chance that SEED
 * decides. Either the saved state: one or two properties or nodes are changed, cut, lengthened or
 * taken away. Or the configuration: some numbers are changed. All hashes are right: it is what
 * somebody writes who means harm. Says on standard output what it has done. Where the writer,
 * which reads what it is given, refuses the tree: 3. */
#include "format/snapshot/snapshot.h"
#include "libcommon/bytes.h"
#include "tests/unit/tree_edit.h"

#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOM      65536      /* that a tree may grow by */
#define NODES_MAX 1024
#define PROPS_MAX 64

static uint64_t seed;

static uint32_t chance(uint32_t below)      /* splitmix64 */
{
	uint64_t z = seed += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	z ^= z >> 31;
	return below ? (uint32_t)(z % below) : (uint32_t)z;
}

static uint32_t strange(uint32_t was)
{
	switch (chance(10)) {
	case 0:  return 0;
	case 1:  return 1;
	case 2:  return UINT32_MAX;
	case 3:  return UINT32_C(1) << 31;
	case 4:  return INT32_MAX;
	case 5:  return was + 1;
	case 6:  return was - 1;
	case 7:  return was ^ UINT32_C(1) << chance(32);
	case 8:  return UINT32_C(1) << chance(32);
	default: return chance(0);
	}
}

/* Where chance may go: in STATE the sections and the disks; in CONFIG anywhere. */
static bool node_wanted(const char *path, bool state)
{
	return !state || strstr(path, "/state/") || !strncmp(path, "/host/", 6);
}

static int some_node(const void *tree, bool state, char *path, int capacity)
{
	int nodes[NODES_MAX], n = 0;

	for (int at = 0; at >= 0 && n < NODES_MAX; at = fdt_next_node(tree, at, NULL))
		if (fdt_get_path(tree, at, path, capacity) == 0 && node_wanted(path, state))
			nodes[n++] = at;
	if (n == 0)
		errx(1, "no node to shake");
	n = nodes[chance((uint32_t)n)];
	fdt_get_path(tree, n, path, capacity);
	return n;
}

static void change_cells(uint8_t *p, int len)
{
	const uint32_t cells = (uint32_t)len / 4;
	uint32_t       i     = cells ? chance(cells) : 0;

	if (cells == 0) {
		for (int b = 0; b < len; b++)
			p[b] = (uint8_t)chance(256);
		return;
	}
	switch (chance(6)) {
	case 0:      /* all of it */
		memset(p, chance(2) ? 0xff : 0, (size_t)len);
		break;
	case 1:
		for (int b = 0; b < len; b++)
			p[b] = (uint8_t)chance(256);
		break;
	case 2:      /* twice, or out of order */
		put_be32(p + 4 * chance(cells), get_be32(p + 4 * i));
		break;
	default:
		put_be32(p + 4 * i, strange(get_be32(p + 4 * i)));
	}
}

static void shake_state(void *tree)
{
	char        path[256], name[64];
	const char *names[PROPS_MAX];
	uint8_t     value[65536 + 8] = { 0 };
	const void *was;
	int         node = some_node(tree, true, path, sizeof(path)), n = 0, len, at;
	int         how  = (int)chance(24);

	fdt_for_each_property_offset(at, tree, node)
		if (n < PROPS_MAX)
			fdt_getprop_by_offset(tree, at, &names[n++], NULL);
	if (n == 0 || how == 0) {
		printf("%s: gone; ", path);
		fdt_del_node(tree, node);
		return;
	}
	snprintf(name, sizeof(name), "%s", names[chance((uint32_t)n)]);
	was = fdt_getprop(tree, node, name, &len);
	if (!was || len < 0 || len > 65536)
		return;
	memcpy(value, was, (size_t)len);
	switch (how) {
	case 1:
		printf("%s %s: gone; ", path, name);
		fdt_delprop(tree, node, name);
		return;
	case 2:
		len = (int)chance((uint32_t)len + 1);
		break;
	case 3:
		len += (int)chance(9);
		break;
	default:
		change_cells(value, len);
	}
	printf("%s %s%s; ", path, name, how == 2 ? " shorter" : how == 3 ? " longer" : "");
	fdt_setprop(tree, node, name, value, len);
}

/* Numbers alone, so that the trees still are trees; a node's name says its address. */
static const char *const numbers[] = { "reg", "vmferry,cpuid", "vmferry,cpuid", "vmferry,msrs",
				       "vmferry,msrs", "vmferry,xsave-bytes",
				       "timebase-frequency", "interrupts", "vmferry,slot" };

static void shake_config(void *tree)
{
	const char *name = numbers[chance(sizeof(numbers) / sizeof(numbers[0]))];
	char        path[256], as[64];
	uint8_t    *value;
	int         node, len, tries = 64;

	do
		node = some_node(tree, false, path, sizeof(path));
	while (!(value = fdt_getprop_w(tree, node, name, &len)) && --tries);
	if (!value || len < 4)
		return;
	uint32_t i = chance((uint32_t)len / 4);

	put_be32(value + 4 * i, strange(get_be32(value + 4 * i)));
	printf("%s %s[%u] = 0x%x; ", path, name, i, get_be32(value + 4 * i));
	if (!strcmp(name, "reg") && strchr(path, '@') && len >= 8) {
		snprintf(as, sizeof(as), "%.*s@%" PRIx64, (int)strcspn(strrchr(path, '/') + 1, "@"),
			 strrchr(path, '/') + 1, get_be64(value));
		fdt_set_name(tree, node, as);
	}
}

static uint8_t *shaken(const uint8_t *tree, size_t len, void (*how)(void *), uint32_t times,
		       size_t *out_len)
{
	uint8_t *copy = malloc(len + ROOM);
	int      rc;

	if (!copy)
		err(1, "memory");
	rc = fdt_open_into(tree, copy, (int)(len + ROOM));
	if (rc)
		errx(1, "%s", fdt_strerror(rc));
	while (times--)
		how(copy);
	tree_edit_pack(copy);
	*out_len = fdt_totalsize(copy);
	return copy;
}

/* The writer may add hashes to a batch, which the stream's is not ours for. */
static int copy_pages(struct snap_stream *in, struct snap_writer *out, struct fail *why)
{
	static struct page_batch b;

	memcpy(&b, snap_stream_batch(in), offsetof(struct page_batch, data));
	return snap_writer_pages(out, &b, why);
}

static int copy_chunks(struct snap_stream *in, struct snap_writer *out, bool config, uint32_t times,
		       struct fail *why)
{
	struct chunk   c;
	const uint8_t *payload, *whole;
	uint8_t       *tree;
	uint64_t       at;
	size_t         len;
	int            rc;

	while ((rc = snap_stream_next(in, &c, &payload, &at, why)) > 0) {
		switch (c.type) {
		case CHUNK_CONFIG:
			tree = shaken(payload, c.len, shake_config, config ? times : 0, &len);
			rc   = snap_writer_config(out, tree, len, why);
			free(tree);
			break;
		case CHUNK_STATE:
			whole = snap_stream_state(in, &len);
			if (!whole)      /* not its last piece */
				break;
			tree = shaken(whole, len, shake_state, config ? 0 : times, &len);
			rc   = snap_writer_state(out, tree, len, why);
			free(tree);
			break;
		case CHUNK_PAGES: rc = copy_pages(in, out, why); break;
		case CHUNK_ROUND_END:
			rc = snap_writer_round_end(out, why);
			break;
		}
		if (rc < 0)
			return -1;
	}
	return rc;
}

int main(int argc, char **argv)
{
	struct snap_stream *in = NULL;
	struct snap_writer *out = NULL;
	struct fail         why;
	struct snap_digests digests;
	int                 rc = 0;

	if (argc != 4)
		errx(2, "usage: shaketree IN OUT SEED");
	seed = strtoull(argv[3], NULL, 0);

	const bool     config = chance(3) == 0;
	const uint32_t times  = 1 + chance(2);
	int            from = open(argv[1], O_RDONLY | O_CLOEXEC);
	int            to   = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (from < 0 || to < 0)
		err(1, "%s", from < 0 ? argv[1] : argv[2]);
	if (snap_stream_open(&in, from, argv[1], &why) ||
	    snap_writer_open(&out, to, snap_stream_header(in), NULL, argv[2], &why) ||
	    copy_chunks(in, out, config, times, &why) || snap_writer_end(out, &digests, &why))
		rc = fail_report("shaketree", &why);
	printf("\n");
	snap_writer_close(out);
	snap_stream_close(in);
	close(from);
	close(to);
	return rc;
}
