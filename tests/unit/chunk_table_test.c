/* SPDX-License-Identifier: MIT */
/* The table of chunk types against docs/format.md, and the order that it gives to readers. */
#include "format/snapshot/chunk_info.h"
#include "tests/unit/tap.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPES 65536u

/* "round-end" is ROUND_END in the document. */
static bool name_same(const char *name, const char *doc)
{
	for (; *name && *doc; name++, doc++)
		if (*doc != (*name == '-' ? '_' : (char)toupper((unsigned char)*name)))
			return false;
	return *name == *doc;
}

static bool type_agrees(unsigned type, const char *name, const char *required, bool seen[TYPES])
{
	const struct chunk_info *info = chunk_info_find((uint16_t)type);

	if (type >= TYPES || seen[type]) {
		note("%u is out of range, or in the document twice", type);
		return false;
	}
	seen[type] = true;
	if (!info || !name_same(info->name, name)) {
		note("%u is %s here, %s there", type, info ? info->name : "nothing", name);
		return false;
	}
	/* "-": it does not come in a snapshot. */
	if (strcmp(required, "-") == 0 ? info->after != 0
				       : info->required != (strcmp(required, "yes") == 0)) {
		note("%s is not as required here as there: %s", name, required);
		return false;
	}
	return true;
}

/* A row of the table of section 3: "| 5 | ROUND_END | no | section 5 |". One may stand for several
 * types: "| 17, 18 | REQUEST, DISCARD | - |". */
static bool row_agrees(const char *line, bool seen[TYPES], unsigned *n)
{
	char  types[80], names[80], required[8];
	char *type, *name, *next_type = NULL, *next_name = NULL;
	bool  good = true;

	if (sscanf(line, "| %79[0-9, ] | %79[A-Z_, ] | %7[a-z-] |", types, names, required) != 3) {
		note("not a row: %s", line);
		return false;
	}
	type = strtok_r(types, ", ", &next_type);
	name = strtok_r(names, ", ", &next_name);
	for (; type && name; (*n)++) {
		good &= type_agrees((unsigned)strtoul(type, NULL, 10), name, required, seen);
		type = strtok_r(NULL, ", ", &next_type);
		name = strtok_r(NULL, ", ", &next_name);
	}
	return good && !type && !name;
}

static void test_document(void)
{
	static bool seen[TYPES];
	FILE       *f    = fopen("docs/format.md", "re");
	char       *line = NULL;
	size_t      capacity = 0;
	unsigned    types = 0, known = 0;
	bool        inside = false, good = true;

	while (f && getline(&line, &capacity, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "| type | name | required |", 26) == 0)
			inside = true;
		else if (inside && line[0] != '|')
			break;
		else if (inside && strncmp(line, "| --- |", 7)) {
			good &= row_agrees(line, seen, &types);
		}
	}
	ok(types > 0, "docs/format.md has a table of chunk types");
	ok(good, "each of its rows is a row of ours: number, name, required");
	for (unsigned t = 0; t < TYPES; t++) {
		known += chunk_info_find((uint16_t)t) != NULL;
		if (chunk_info_find((uint16_t)t) && !seen[t])
			note("%u is not in the document", t);
	}
	ok(known == types, "and each of ours one of the document's");
	free(line);
	if (f)
		fclose(f);
}

static bool order_is(const uint16_t *types, size_t n)
{
	enum chunk_phase phase = AFTER_HEADER;
	struct fail      why;

	for (size_t i = 0; i < n; i++) {
		const struct chunk c = { .type = types[i] };

		if (chunk_check(&c, phase, 0, &why))
			return false;
		phase = chunk_phase_after(types[i], phase);
	}
	return phase == AFTER_END;
}
#define ORDER(...) order_is((const uint16_t[]){ __VA_ARGS__ }, \
			    sizeof((const uint16_t[]){ __VA_ARGS__ }) / sizeof(uint16_t))

static void test_order(void)
{
	ok(ORDER(CHUNK_CONFIG, CHUNK_STATE, CHUNK_INDEX, CHUNK_END), "the shortest snapshot");
	ok(ORDER(CHUNK_CONFIG, CHUNK_AUTH, CHUNK_BLOB, 999, CHUNK_PAGES, CHUNK_ROUND_END,
		 CHUNK_PAGES, CHUNK_AUTH, CHUNK_STATE, CHUNK_WORKINGSET, CHUNK_INDEX, CHUNK_INDEX,
		 CHUNK_END),
	   "all that may come, and a type that is not known");
	ok(!ORDER(CHUNK_STATE, CHUNK_INDEX, CHUNK_END), "without a configuration nothing comes");
	ok(!ORDER(CHUNK_CONFIG, CHUNK_CONFIG, CHUNK_STATE, CHUNK_INDEX, CHUNK_END),
	   "nor a second one");
	ok(!ORDER(CHUNK_CONFIG, CHUNK_INDEX, CHUNK_END), "without the state no index");
	ok(!ORDER(CHUNK_CONFIG, CHUNK_STATE, CHUNK_PAGES, CHUNK_INDEX, CHUNK_END),
	   "behind the state no pages");
	ok(!ORDER(CHUNK_CONFIG, CHUNK_STATE, 999, CHUNK_INDEX, CHUNK_END),
	   "nor what is not known");
	ok(!ORDER(CHUNK_CONFIG, CHUNK_STATE, CHUNK_INDEX, CHUNK_WORKINGSET, CHUNK_END),
	   "behind the index no working set");
	ok(!ORDER(CHUNK_CONFIG, CHUNK_STATE, CHUNK_END), "without an index no end");
}

static void test_rules(void)
{
	struct fail  why;
	struct chunk c = { .type = CHUNK_PAGES, .region = 3, .encoding = 1 };

	ok(chunk_check(&c, AFTER_CONFIG, 7, &why) == 0, "pages have a region and an encoding");
	c.type = CHUNK_BLOB;
	ok(chunk_check(&c, AFTER_CONFIG, 7, &why) == -1 && why.kind == FAIL_CORRUPT && why.at == 7,
	   "images have none");
	c = (struct chunk){ .type = CHUNK_CONTROL, .flags = CHUNK_REQUIRED };
	ok(chunk_check(&c, AFTER_CONFIG, 7, &why) == -1 && why.kind == FAIL_VERSION,
	   "a required chunk of a move is refused in a snapshot");
	c.flags = 0;
	ok(chunk_check(&c, AFTER_CONFIG, 7, &why) == 0, "one that is not required is skipped");
	ok(chunk_type_moves(CHUNK_CONFIG) && chunk_type_moves(CHUNK_PAGES) &&
		   chunk_type_moves(CHUNK_BLOB) && chunk_type_moves(CHUNK_STATE) &&
		   chunk_type_moves(CHUNK_CONTROL) && !chunk_type_moves(CHUNK_INDEX) &&
		   !chunk_type_moves(CHUNK_END) && !chunk_type_moves(999),
	   "a move sends configuration, pages, images, state and messages");
	ok(chunk_type_flags(CHUNK_INDEX) == CHUNK_REQUIRED && chunk_type_flags(CHUNK_AUTH) == 0 &&
		   chunk_type_flags(999) == 0,
	   "a writer sets the flag of the table");
}

int main(void)
{
	test_document();
	test_order();
	test_rules();
	return done_testing();
}
