/* SPDX-License-Identifier: MIT */
/* State tables: every type of field goes out and comes back; what is wrong leaves the struct
 * alone. */
#include "tests/unit/tap.h"

#include "format/tree/field.h"
#include "format/limits.h"
#include "libcommon/bytes.h"

#include <jansson.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct all {
	bool     flag;
	uint8_t  u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
	uint8_t  u8s[3];
	uint32_t u32s[4];
	uint64_t u64s[2];
	uint8_t  bytes[5];
	char     text[8];
	uint32_t status;        /* a name that device trees reserve */
	uint32_t newer;         /* since version 2 */
	uint64_t not_saved;
};

static int all_check(const void *s, struct fail *why)
{
	const struct all *a = s;

	return a->u8 == 99 ? fail_set(why, FAIL_CORRUPT, "u8 is 99") : 0;
}

#define ROWS                                                                       \
	F_BOOL(struct all, flag, 1), F_U8(struct all, u8, 1, 100),                 \
	F_U16(struct all, u16, 1, 1000), F_X32(struct all, u32, 1, UINT32_MAX),    \
	F_U64(struct all, u64, 1, UINT64_MAX), F_U8_ARRAY(struct all, u8s, 1, 9),  \
	F_U32_ARRAY(struct all, u32s, 1, 1u << 20),                                \
	F_X64_ARRAY(struct all, u64s, 1, UINT64_MAX), F_BYTES(struct all, bytes, 1), \
	F_STR(struct all, text, 1), F_X32(struct all, status, 1, 0xff)

static const struct field rows_v1[] = { ROWS, F_END };
static const struct field rows_v2[] = { ROWS, F_U32(struct all, newer, 2, 10), F_END };

#define TABLE(v, n, o, f) { .name = "all", .version = (v), .needs = (n), .oldest = (o), \
			    .size = sizeof(struct all), .fields = (f), .check = all_check }
static const struct state_table v1 = TABLE(1, 1, 1, rows_v1);
static const struct state_table v2 = TABLE(2, 1, 1, rows_v2);
static const struct state_table v2_only = TABLE(2, 2, 2, rows_v2);

static const struct all sample = {
	.flag = true, .u8 = 42, .u16 = 1000, .u32 = 0xdeadbeef, .u64 = UINT64_MAX - 1,
	.u8s = { 1, 2, 9 },
	.u32s = { 1, 2, 3, 1u << 20 }, .u64s = { 0x8000000000000000, 7 },
	.bytes = { 0, 0xff, 1, 0, 2 }, .text = "seven77",
	.status = 0x0f, .newer = 10, .not_saved = 77,
};

static _Alignas(8) uint8_t blob[8192];
static int                 at;

/* One node "all" (or another name) under the root, then whatever `more` adds inside it. */
static int build(const struct state_table *t, const struct all *s, const char *name,
		 struct fail *why)
{
	fdt_create(blob, sizeof(blob));
	fdt_finish_reservemap(blob);
	fdt_begin_node(blob, "");
	if (state_save(t, s, name, blob, why))
		return -1;
	fdt_end_node(blob);
	fdt_finish(blob);
	at = fdt_subnode_offset(blob, 0, name);
	return 0;
}

static void grow(void)
{
	fdt_open_into(blob, blob, sizeof(blob));
	at = fdt_first_subnode(blob, 0);
}

static bool refused(const struct state_table *t, enum fail_kind kind, const char *what)
{
	struct all  s = { .u8 = 7, .not_saved = 5 }, before = s;
	struct fail why = { 0 };

	if (state_load(t, &s, blob, at, "dev", NULL, &why) != -1 || why.kind != kind ||
	    strcmp(why.what, what)) {
		printf("# kind %d: %s\n", why.kind, why.what);
		return false;
	}
	return memcmp(&s, &before, sizeof(s)) == 0;
}

static void test_round_trip(void)
{
	struct all          s = { .not_saved = 5 };
	struct fail         why;
	unsigned            unknown = 9;
	uint32_t            element;
	int                 len;
	const struct field *f;

	ok(build(&v2, &sample, "all", &why) == 0 &&
	   state_load(&v2, &s, blob, at, "dev", &unknown, &why) == 0 && unknown == 0 &&
	   state_differs(&v2, &s, &sample, &element) == NULL,
	   "every type of field comes back as it was");
	ok(s.not_saved == 5, "a member without a row is left alone");
	ok(memcmp(fdt_getprop(blob, at, "u32s", &len), "\0\0\0\1\0\0\0\2\0\0\0\3\0\x10\0\0",
		  16) == 0 && len == 16, "arrays are big-endian cells");
	ok(memcmp(fdt_getprop(blob, at, "text", &len), "seven77", 8) == 0 && len == 8,
	   "text has its NUL");
	ok(fdt_getprop(blob, at, "saved-status", NULL) && !fdt_getprop(blob, at, "status", NULL),
	   "a name that device trees reserve is saved under another");
	ok(build(&v2, &sample, "all@1f", &why) == 0 &&
	   state_load(&v2, &s, blob, at, "dev", &unknown, &why) == 0 && unknown == 0 &&
	   fdt_getprop(blob, at, "reg", NULL), "a part with a unit address comes back and has reg");
	s = sample;
	s.u64s[1]++;
	f = state_differs(&v2, &s, &sample, &element);
	ok(f && strcmp(f->name, "u64s") == 0 && element == 1, "a difference names row and element");
	s = sample;
	strcpy(s.text, "six");
	memcpy(s.text + 4, "abc", 4);
	struct all t = s;
	memset(t.text + 4, 0, 4);
	ok(state_differs(&v2, &s, &t, &element) == NULL,
	   "bytes behind a text's NUL are no difference");
	ok(state_value(&rows_v2[0], &sample, 0) == 1 &&
	   state_value(&rows_v2[4], &sample, 0) == UINT64_MAX - 1 &&
	   state_value(&rows_v2[6], &sample, 3) == 1u << 20,
	   "values are read by row and element");
}

static void test_save_refuses(void)
{
	struct all  s = sample;
	struct fail why;

	s.u16 = 1001;
	ok(build(&v1, &s, "all", &why) == -1 && why.kind == FAIL_REFUSED &&
	   strcmp(why.what, "all: not saved: u16: 0x3e9 out of range (valid: 0x0 to 0x3e8)") == 0,
	   "a value that no load would take is not saved");
	s = sample;
	memset(s.text, 'x', sizeof(s.text));
	ok(build(&v1, &s, "all", &why) == -1 && why.kind == FAIL_REFUSED,
	   "text without an end is not saved");
	s = sample;
	s.u8 = 99;
	ok(build(&v1, &s, "all", &why) == -1 && why.kind == FAIL_REFUSED &&
	   strcmp(why.what, "all: not saved: u8 is 99") == 0,
	   "relations are checked before saving");
	fdt_create(blob, 200);
	fdt_finish_reservemap(blob);
	fdt_begin_node(blob, "");
	ok(state_save(&v1, &sample, "all", blob, &why) == -1 && why.kind == FAIL_LIMIT,
	   "a full tree is a limit");
	ok(build(&v1, &sample, "all@x", &why) == -1 && build(&v1, &sample, "all@01", &why) == -1,
	   "a unit address has one spelling");
}

static void test_load_refuses(void)
{
	struct fail   why;
	const fdt32_t big[4] = { 0, 0, 0, cpu_to_fdt32((1u << 20) + 1) };

	build(&v1, &sample, "all", &why);
	grow();
	fdt_setprop_u32(blob, at, "u8", 101);
	ok(refused(&v1, FAIL_CORRUPT, "dev: all: u8: 0x65 out of range (valid: 0x0 to 0x64)"),
	   "a value above its maximum leaves the struct alone");
	fdt_setprop_u32(blob, at, "u8", 99);
	ok(refused(&v1, FAIL_CORRUPT, "dev: all: u8 is 99"),
	   "a failed relation leaves the struct alone");
	fdt_setprop_u32(blob, at, "u8", 1);
	fdt_setprop(blob, at, "u32s", big, sizeof(big));
	ok(refused(&v1, FAIL_CORRUPT,
		   "dev: all: u32s[3]: 0x100001 out of range (valid: 0x0 to 0x100000)"),
	   "the bad element of an array is named");
	fdt_setprop(blob, at, "u32s", big, 12);
	ok(refused(&v1, FAIL_CORRUPT, "dev: all: u32s: invalid length: 12 bytes, expected 16"),
	   "an array of another length is refused");
	fdt_setprop(blob, at, "u32s", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	fdt_setprop(blob, at, "text", "abc", 3);
	ok(refused(&v1, FAIL_CORRUPT, "dev: all: text: string not NUL-terminated"),
	   "text without NUL is refused");
	fdt_setprop(blob, at, "text", "a\0b", 4);
	ok(refused(&v1, FAIL_CORRUPT, "dev: all: text: NUL inside the string"),
	   "text with a NUL inside is refused");
	fdt_setprop_string(blob, at, "text", "12345678");
	ok(refused(&v1, FAIL_CORRUPT, "dev: all: text: 9 bytes exceed the limit of 8"),
	   "text that is too long is refused");
	fdt_setprop_string(blob, at, "text", "");
	fdt_setprop_u32(blob, at, "flag", 2);
	ok(refused(&v1, FAIL_CORRUPT, "dev: all: flag: 0x2 out of range (valid: 0x0 to 0x1)"),
	   "a flag is 0 or 1");
	fdt_delprop(blob, at, "flag");
	ok(refused(&v1, FAIL_CORRUPT, "dev: all: missing flag"),
	   "a field that its version has must be there");
	build(&v1, &sample, "all@2", &why);
	grow();
	fdt_setprop_u32(blob, at, "reg", 3);
	ok(refused(&v1, FAIL_CORRUPT, "dev: all@2: reg differs from the unit address"),
	   "reg must be the unit address");
}

static void test_versions(void)
{
	struct all  s = { .newer = 3 };
	struct fail why;
	unsigned    unknown;

	build(&v1, &sample, "all", &why);
	ok(state_load(&v2, &s, blob, at, "dev", &unknown, &why) == 0 && s.newer == 3,
	   "a field younger than the node keeps its reset value");
	ok(refused(&v2_only, FAIL_VERSION,
		   "dev: all: unsupported version 1, this build reads 2 and newer"),
	   "a version below the oldest is refused");
	build(&v2, &sample, "all", &why);
	memset(&s, 0, sizeof(s));
	ok(state_load(&v1, &s, blob, at, "dev", &unknown, &why) == 0 && unknown == 1 && s.u8 == 42,
	   "a newer node that needs nothing new is read, and counted");
	grow();
	fdt_setprop_u32(blob, at, "version", 1);
	ok(state_load(&v2, &s, blob, at, "dev", &unknown, &why) == 0 && unknown == 1 &&
	   s.newer == 0, "a field from the future of its node is passed over");
	build(&v2_only, &sample, "all", &why);
	ok(refused(&v1, FAIL_VERSION,
		   "dev: all: unsupported version: needs reader version 2, this build has 1"),
	   "what a reader must know, it must know");
	grow();
	fdt_setprop_u32(blob, at, "needs", 3);
	ok(refused(&v2, FAIL_CORRUPT, "dev: all: invalid version pair: version 2, oldest reader 3"),
	   "needs above version cannot be");
	fdt_delprop(blob, at, "needs");
	ok(refused(&v2, FAIL_CORRUPT, "dev: all: missing needs"), "needs must be there");
}

static void test_json(void)
{
	json_t *j    = state_json(&v2, &sample);
	char   *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

	ok(text && strcmp(text, "{\"flag\":true,\"u8\":42,\"u16\":1000,\"u32\":\"0xdeadbeef\","
				"\"u64\":\"18446744073709551614\",\"u8s\":[1,2,9],"
				"\"u32s\":[1,2,3,1048576],"
				"\"u64s\":[\"0x8000000000000000\",\"0x7\"],"
				"\"bytes\":\"00ff010002\",\"text\":\"seven77\","
				"\"status\":\"0xf\",\"newer\":10}") == 0,
	   "JSON has every row, in order, and rounds nothing");
	if (text && !strstr(text, "newer"))
		printf("# %s\n", text);
	free(text);
	json_decref(j);
}

/* What holds for every table of the build. */
static void test_tables(void)
{
	bool named = true, sized = true, distinct = true, versions = true;

	for (const struct state_table *const *t = state_tables; *t; t++) {
		named &= state_table_find((*t)->name) == *t;
		versions &= (*t)->oldest >= 1 && (*t)->oldest <= (*t)->version &&
			    (*t)->needs >= 1 && (*t)->needs <= (*t)->version;
		for (const struct field *f = (*t)->fields; f->type != FIELD_END; f++) {
			const bool     bytes = f->type == FIELD_BYTES || f->type == FIELD_STR;
			const uint64_t cells = bytes ? 1 : 8;

			sized &= f->count >= 1 && cells * f->count <= LIMIT_PROP_BYTES &&
				 f->offset + f->count <= (*t)->size && f->min <= f->max;
			versions &= f->since >= 1 && f->since <= (*t)->version;
			sized &= strlen(f->name) < 32;
			for (const struct field *g = (*t)->fields; g < f; g++)
				distinct &= strcmp(f->name, g->name) != 0;
		}
	}
	ok(named, "every table is found by its name");
	ok(sized, "every row fits its struct, a property and a name");
	ok(distinct, "no table has a row twice");
	ok(versions, "versions of every table and row are in order");
	ok(state_table_find("virtqueue@1") &&
	   state_table_find("virtqueue@1") == state_table_find("virtqueue"),
	   "a unit address does not matter to find a table");
	ok(!state_table_find("virtqueu") && !state_table_find("") && !state_table_find("nothing@1"),
	   "unknown names find nothing");
}

/* Two lists of one number of elements, and one of bytes. */
struct lists {
	uint32_t n;
	uint32_t index[4];
	uint64_t value[4];
	uint8_t  len, bytes[6];
};

static const struct field list_rows[] = {
	F_X32_LIST(struct lists, index, n, 1, 99),
	F_X64_LIST(struct lists, value, n, 1, UINT64_MAX),
	F_BYTES_LIST(struct lists, bytes, len, 1),
	F_END
};
static const struct state_table list_table = {
	.name = "lists", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct lists), .fields = list_rows,
};

static bool lists_built(const struct lists *l)
{
	struct fail why;

	fdt_create(blob, sizeof(blob));
	fdt_finish_reservemap(blob);
	fdt_begin_node(blob, "");
	if (state_save(&list_table, l, "lists", blob, &why))
		return false;
	fdt_end_node(blob);
	fdt_finish(blob);
	at = fdt_subnode_offset(blob, 0, "lists");
	return true;
}

static bool lists_refused(const char *what)
{
	struct lists s = { .n = 1, .len = 1 }, before = s;
	struct fail  why = { 0 };

	if (state_load(&list_table, &s, blob, at, "dev", NULL, &why) != -1 ||
	    why.kind != FAIL_CORRUPT || strcmp(why.what, what)) {
		printf("# kind %d: %s\n", why.kind, why.what);
		return false;
	}
	return memcmp(&s, &before, sizeof(s)) == 0;
}

static void test_lists(void)
{
	const struct lists good = { .n = 2, .index = { 3, 4, 77 }, .value = { 5, 6, 78 },
				    .len = 3, .bytes = { 1, 2, 3, 79 } };
	struct lists       s = { .n = 4, .index = { 9, 9, 9, 9 }, .len = 6 }, other = good;
	struct fail        why = { 0 };
	uint32_t           element = 9;
	int                len;
	const struct field *f;
	json_t            *j;

	ok(lists_built(&good) && fdt_getprop(blob, at, "index", &len) && len == 8 &&
	   fdt_getprop(blob, at, "value", &len) && len == 16 &&
	   fdt_getprop(blob, at, "bytes", &len) && len == 3 &&
	   !fdt_getprop(blob, at, "n", &len),
	   "of a list as many elements are saved as are used, and not their number");
	ok(state_load(&list_table, &s, blob, at, "dev", NULL, &why) == 0 && s.n == 2 &&
	   s.len == 3 && s.value[1] == 6 && s.index[2] == 0 && s.bytes[3] == 0 &&
	   !state_differs(&list_table, &s, &good, &element),
	   "the property's length gives the number; what is behind is zero, and no difference");
	other.n = 3;
	f = state_differs(&list_table, &other, &good, &element);
	ok(f && strcmp(f->name, "index") == 0 && element == 2, "a longer list differs");
	j = state_json(&list_table, &good);
	ok(json_array_size(json_object_get(j, "index")) == 2 &&
	   strcmp(json_string_value(json_object_get(j, "bytes")), "010203") == 0,
	   "JSON has the elements in use");
	json_decref(j);
	other = (struct lists){ .n = 0 };
	ok(lists_built(&other) && state_load(&list_table, &s, blob, at, "dev", NULL, &why) == 0 &&
	   s.n == 0 && s.len == 0, "a list may be empty");
	other.n = 1;
	j = lists_built(&other) ? state_json(&list_table, &other) : NULL;
	ok(json_is_array(json_object_get(j, "index")), "a list of one element is a list in JSON");
	json_decref(j);
	other.n = 5;
	ok(state_save(&list_table, &other, "lists", blob, &why) == -1 && why.kind == FAIL_REFUSED &&
	   strcmp(why.what, "lists: not saved: index: 5 elements exceed the limit of 4") == 0,
	   "a list longer than its member is not saved");
	lists_built(&good);
	grow();
	fdt_setprop(blob, at, "index", "\0\0\0\1", 4);
	ok(lists_refused("dev: lists: index: 1 elements, expected 2") ||
	   lists_refused("dev: lists: value: 2 elements, expected 1"),
	   "lists of one number that differ in it are refused");
	lists_built(&good);
	grow();
	fdt_setprop(blob, at, "bytes", "1234567", 7);
	ok(lists_refused("dev: lists: bytes: invalid length: 7 bytes, expected 0 to 6, a multiple"
			 " of 1"), "a list that is too long is refused");
	lists_built(&good);
	grow();
	fdt_setprop(blob, at, "value", "123456789", 9);
	ok(lists_refused("dev: lists: value: invalid length: 9 bytes, expected 0 to 32, a multiple"
			 " of 8"), "half an element is refused");
	lists_built(&good);
	grow();
	fdt_setprop_inplace_u32(blob, at, "needs", 1);
	fdt_setprop(blob, at, "index", "\0\0\0\1\0\0\0\x64", 8);
	ok(lists_refused("dev: lists: index[1]: 0x64 out of range (valid: 0x0 to 0x63)"),
	   "each element has bounds");
}

int main(void)
{
	test_round_trip();
	test_save_refuses();
	test_load_refuses();
	test_versions();
	test_json();
	test_lists();
	test_tables();
	return done_testing();
}
