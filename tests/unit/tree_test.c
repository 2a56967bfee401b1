/* SPDX-License-Identifier: MIT */
/* Trees made to be slow, deep, doubled or broken are refused before anything is looked up in
 * them. */
#include "tests/unit/sample.h"
#include "tests/unit/tap.h"
#include "tests/unit/tree_edit.h"

#include "format/tree/tree.h"
#include "libcommon/bytes.h"
#include "libcommon/io.h"

#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Alignas(8) uint8_t blob[LIMIT_TREE_BYTES + 4096];

static void begin(void)
{
	fdt_create(blob, (int)sizeof(blob));
	fdt_finish_reservemap(blob);
	fdt_begin_node(blob, "");
}

static bool refused(size_t len, enum fail_kind kind, const char *what)
{
	struct fail why = { 0 };
	void       *tree;

	if (tree_open(&tree, blob, len, &why) != -1 || why.kind != kind || strcmp(why.what, what)) {
		printf("# kind %d: %s\n", why.kind, why.what);
		return false;
	}
	return true;
}

static bool ended_refused(enum fail_kind kind, const char *what)
{
	fdt_end_node(blob);
	tree_edit_finish(blob);
	return refused(fdt_totalsize(blob), kind, what);
}

static void test_bounds(void)
{
	char     name[128];
	uint8_t *big = calloc(1, LIMIT_PROP_BYTES + 1);

	begin();
	fdt_property(blob, "big", big, LIMIT_PROP_BYTES + 1);
	ok(ended_refused(FAIL_LIMIT, "VM tree: big: 65537 bytes exceed the limit of 65536"),
	   "a property above the limit is refused");
	free(big);
	begin();
	for (int i = 0; i < TREE_DEPTH; i++)
		fdt_begin_node(blob, "deep");
	for (int i = 0; i < TREE_DEPTH; i++)
		fdt_end_node(blob);
	ok(ended_refused(FAIL_LIMIT, "VM tree: deeper than 8 levels"),
	   "a tree too deep is refused");
	begin();
	for (unsigned i = 0; i < TREE_NODES; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		fdt_begin_node(blob, name);
		fdt_end_node(blob);
	}
	ok(ended_refused(FAIL_LIMIT, "VM tree: more than 16384 nodes"),
	   "too many nodes are refused");
	begin();
	for (unsigned i = 0; i <= TREE_NODE_PROPS; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		fdt_property(blob, name, NULL, 0);
	}
	ok(ended_refused(FAIL_LIMIT, "VM tree: more than 131072 properties, or 512 in one node"),
	   "too many properties of a node are refused");
	begin();
	memset(name, 'n', TREE_NAME_MAX);
	name[TREE_NAME_MAX] = '\0';
	fdt_begin_node(blob, name);
	fdt_end_node(blob);
	ok(ended_refused(FAIL_LIMIT, "VM tree: name of 96 characters exceeds the limit of 95"),
	   "a name too long is refused");
	ok(refused(LIMIT_TREE_BYTES + 1, FAIL_LIMIT, "VM tree: 4194305 bytes"),
	   "a tree above the limit is refused");
	ok(refused(12, FAIL_CORRUPT, "VM tree: 12 bytes"), "less than a header is refused");
}

static void test_doubles(void)
{
	struct fail why;
	void       *tree;

	begin();
	fdt_begin_node(blob, "soc");
	fdt_end_node(blob);
	fdt_begin_node(blob, "soc");
	fdt_end_node(blob);
	ok(ended_refused(FAIL_CORRUPT, "VM tree: /: duplicate node name"),
	   "two nodes of one name are refused");
	begin();
	fdt_begin_node(blob, "vm");
	fdt_property_u32(blob, "size", 1);
	fdt_property_u32(blob, "size", 2);
	fdt_end_node(blob);
	ok(ended_refused(FAIL_CORRUPT, "VM tree: /vm: duplicate property name"),
	   "two properties of one name are refused");
	begin();
	for (int i = 0; i < 2; i++) {
		fdt_begin_node(blob, i ? "a" : "b");
		fdt_property_u32(blob, "a", 1);
		fdt_begin_node(blob, "a");
		fdt_end_node(blob);
		fdt_end_node(blob);
	}
	fdt_end_node(blob);
	tree_edit_finish(blob);
	ok(tree_open(&tree, blob, fdt_totalsize(blob), &why) == 0,
	   "one name in two places, or of a node and a property, is fine");
	free(tree);
}

static void test_structure(void)
{
	struct fail why = { 0 };
	uint8_t    *words;
	void       *tree;

	begin();
	fdt_begin_node(blob, "a/b");
	fdt_end_node(blob);
	ok(ended_refused(FAIL_CORRUPT, "VM tree: invalid name 'a/b'"),
	   "a slash in a name is refused");
	/* libfdt finds no property there; a reader that goes tag by tag does. */
	begin();
	fdt_property_u32(blob, "size", 1);
	fdt_begin_node(blob, "x");
	fdt_end_node(blob);
	fdt_end_node(blob);
	tree_edit_finish(blob);
	words = blob + fdt_off_dt_struct(blob);
	memmove(words + 8, words + 24, 12);      /* BEGIN "", BEGIN "x" END, PROP size */
	put_be32(words + 20, FDT_PROP);
	put_be32(words + 24, 4);
	put_be32(words + 28, 0);
	ok(refused(fdt_totalsize(blob), FAIL_CORRUPT, "VM tree: /: property after a child node"),
	   "a property behind a child node is refused");
	begin();
	fdt_end_node(blob);
	tree_edit_finish(blob);
	put_be32(blob + 20, 16);
	ok(refused(fdt_totalsize(blob), FAIL_VERSION,
		   "VM tree: unsupported FDT version 16 (supported: 17)"),
	   "an old flattened tree is refused");
	begin();
	fdt_begin_node(blob, "x");
	fdt_end_node(blob);
	fdt_end_node(blob);
	tree_edit_finish(blob);
	/* BEGIN "" BEGIN "x" END END: the root closes early and x becomes a second root. */
	words = blob + fdt_off_dt_struct(blob);
	memmove(words + 8 + 4, words + 8, 8);
	put_be32(words + 8, FDT_END_NODE);
	/* libfdts differ in who says so. */
	ok(tree_open(&tree, blob, fdt_totalsize(blob), &why) == -1 && why.kind == FAIL_CORRUPT,
	   "a second root is refused");
	put_be32(words + 0, FDT_END_NODE);
	put_be32(words + 4, FDT_NOP);
	ok(tree_open(&tree, blob, fdt_totalsize(blob), &why) == -1 && why.kind == FAIL_CORRUPT,
	   "an end without a begin is refused");
}

/* A block of names without a NUL makes each lookup a search through it: such a tree is refused
 * before there is one. */
static void test_long_names(void)
{
	const uint32_t strings = 2 * TREE_NAME_MAX;
	uint32_t       at      = 56;

	memset(blob, 'a', 4096);
	fdt_set_magic(blob, FDT_MAGIC);
	fdt_set_totalsize(blob, 4096);
	fdt_set_version(blob, 17);
	fdt_set_last_comp_version(blob, 16);
	fdt_set_off_mem_rsvmap(blob, 40);
	memset(blob + 40, 0, 16);
	fdt_set_off_dt_struct(blob, 56);
	fdt_set_size_dt_strings(blob, strings);
	fdt_set_off_dt_strings(blob, 4096 - strings);
	fdt_set_size_dt_struct(blob, 4096 - strings - 56);
	put_be32(blob + at, FDT_BEGIN_NODE);
	put_be32(blob + at + 4, 0);
	for (at += 8; at + 12 + 8 <= 4096 - strings; at += 12) {
		put_be32(blob + at, FDT_PROP);
		put_be32(blob + at + 4, 0);
		put_be32(blob + at + 8, 0);
	}
	put_be32(blob + at, FDT_END_NODE);
	put_be32(blob + at + 4, FDT_END);
	blob[4095] = '\0';
	ok(refused(4096, FAIL_LIMIT, "VM tree: property name longer than 95 characters"),
	   "a long name without an end is refused");
	fdt_set_size_dt_strings(blob, TREE_STRINGS + 1);
	ok(refused(4096, FAIL_LIMIT, "VM tree: 65537 bytes of names exceed the limit of 65536"),
	   "too many bytes of names are refused");
	fdt_set_size_dt_strings(blob, TREE_STRINGS);
	ok(refused(4096, FAIL_CORRUPT, "VM tree: string offset out of range"),
	   "names outside the tree are refused");
}

/* One tree, good, for each way to be another blob with the same meaning: how makes it that. */
static void padded(void)
{
	begin();
	fdt_begin_node(blob, "abc-d");
	fdt_property(blob, "p", "12345", 5);
	fdt_end_node(blob);
	fdt_end_node(blob);
	tree_edit_finish(blob);
}

static bool is_good(void)
{
	struct fail why = { 0 };
	void       *tree = NULL;
	bool        good = tree_open(&tree, blob, fdt_totalsize(blob), &why) == 0;

	free(tree);
	return good;
}

/* len zero bytes in front of the byte at `at`. */
static void insert(uint32_t at, uint32_t len)
{
	memmove(blob + at + len, blob + at, fdt_totalsize(blob) - at);
	memset(blob + at, 0, len);
	fdt_set_totalsize(blob, fdt_totalsize(blob) + len);
}

static void test_canonical(void)
{
	static const char blocks[] = "VM tree: not canonical: order or size of the blocks";
	uint8_t          *tags = blob + 56;
	uint32_t          strings;

	padded();
	ok(is_good() && fdt_totalsize(blob) % 4, "a tree may end at any byte");
	insert(56 + 8, 4);      /* behind the root's begin */
	put_be32(tags + 8, FDT_NOP);
	fdt_set_size_dt_struct(blob, fdt_size_dt_struct(blob) + 4);
	fdt_set_off_dt_strings(blob, fdt_off_dt_strings(blob) + 4);
	ok(refused(fdt_totalsize(blob), FAIL_CORRUPT, "VM tree: not canonical: FDT_NOP token"),
	   "an FDT_NOP between two others is refused");
	padded();
	blob[55] = 1;
	ok(refused(fdt_totalsize(blob), FAIL_CORRUPT,
		   "VM tree: not canonical: memory reservation block not empty"),
	   "reserved memory is refused");
	padded();
	insert(40, 16);
	fdt_set_off_dt_struct(blob, 72);
	fdt_set_off_dt_strings(blob, fdt_off_dt_strings(blob) + 16);
	ok(refused(fdt_totalsize(blob), FAIL_CORRUPT, blocks), "a longer reservation is refused");
	padded();
	insert(fdt_off_dt_strings(blob), 4);
	fdt_set_off_dt_strings(blob, fdt_off_dt_strings(blob) + 4);
	ok(refused(fdt_totalsize(blob), FAIL_CORRUPT, blocks),
	   "a gap in front of the strings is refused");
	fdt_set_size_dt_struct(blob, fdt_size_dt_struct(blob) + 4);
	ok(refused(fdt_totalsize(blob), FAIL_CORRUPT,
		   "VM tree: not canonical: data after the end of the structure block") ||
	   refused(fdt_totalsize(blob), FAIL_CORRUPT, "VM tree: FDT_ERR_BADSTRUCTURE"),
	   "and one that the structure's size hides");
	padded();
	insert(fdt_totalsize(blob), 1);
	ok(refused(fdt_totalsize(blob), FAIL_CORRUPT, blocks),
	   "a byte behind the strings is refused");
	padded();
	strings = fdt_size_dt_strings(blob);
	memmove(blob + 56 + strings + 2, blob + 56, fdt_size_dt_struct(blob));
	memcpy(blob + 56, "p\0\0\0", 4);
	fdt_set_off_dt_strings(blob, 56);
	fdt_set_off_dt_struct(blob, 60);
	fdt_set_totalsize(blob, 60 + fdt_size_dt_struct(blob));
	ok(refused(fdt_totalsize(blob), FAIL_CORRUPT, blocks),
	   "strings in front of the structure are refused");
	padded();
	fdt_set_last_comp_version(blob, 17);
	ok(refused(fdt_totalsize(blob), FAIL_CORRUPT,
		   "VM tree: not canonical: last_comp_version 17, boot_cpuid_phys 0 "
		   "(expected 16, 0)"),
	   "another last_comp_version is refused");
	padded();
	fdt_set_boot_cpuid_phys(blob, 1);
	ok(refused(fdt_totalsize(blob), FAIL_CORRUPT,
		   "VM tree: not canonical: last_comp_version 16, boot_cpuid_phys 1 "
		   "(expected 16, 0)"),
	   "a boot CPU is refused");
	padded();
	tags[8 + 4 + 7] = 'x';      /* behind abc-d and its NUL */
	ok(refused(fdt_totalsize(blob), FAIL_CORRUPT, "VM tree: /abc-d: padding not zero"),
	   "bytes behind a name are refused");
	padded();
	tags[20 + 12 + 7] = 'x';      /* behind 12345 */
	ok(refused(fdt_totalsize(blob), FAIL_CORRUPT, "VM tree: /abc-d: padding not zero"),
	   "bytes behind a value are refused");
}

int main(void)
{
	test_bounds();
	test_canonical();
	test_doubles();
	test_structure();
	test_long_names();
	return done_testing();
}
