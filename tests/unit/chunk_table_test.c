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
	if (info->required != (strcmp(required, "yes") == 0)) {
		note("%s is not as required here as there: %s", name, required);
		return false;
	}
	return true;
}

/* A row of the table of section 3: "| 5 | ROUND_END | yes | section 5 |". One may stand for several
 * types: "| 17, 18 | REQUEST, DISCARD | no |". */
static bool row_agrees(const char *line, bool seen[TYPES], unsigned *n)
{
	char  types[80], names[80], required[8];
	char *type, *name, *next_type = NULL, *next_name = NULL;
	bool  good = true;

	/* The private types, which nobody here knows. */
	if (strncmp(line, "| 32768 and above | - |", 23) == 0)
		return chunk_info_find(32768) == NULL && chunk_info_find(UINT16_MAX) == NULL;
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

#define PRIVATE 0x8000

static bool order_is(enum snap_layout layout, const uint16_t *types, size_t n)
{
	enum chunk_phase phase = AFTER_HEADER;
	struct fail      why;

	for (size_t i = 0; i < n; i++) {
		const struct chunk c = chunk_of(types[i], i, 0);

		if (chunk_check(&c, layout, phase, 0, &why))
			return false;
		phase = chunk_phase_after(types[i], phase);
	}
	return phase == AFTER_END;
}
#define ORDER_IN(layout, ...)                                       \
	order_is(layout, (const uint16_t[]){ __VA_ARGS__ },         \
		 sizeof((const uint16_t[]){ __VA_ARGS__ }) / sizeof(uint16_t))
#define ORDER(...) ORDER_IN(SNAP_CHUNKED, __VA_ARGS__)
#define FLAT(...)  ORDER_IN(SNAP_FLAT, CHUNK_CONFIG, __VA_ARGS__, CHUNK_DIRECTORY, CHUNK_END)
#define TABLES CHUNK_INDEX, CHUNK_DIRECTORY

static void test_flat_order(void)
{
	ok(FLAT(CHUNK_AUTH, CHUNK_BLOB, CHUNK_MAP, CHUNK_BLOB, CHUNK_AUTH, CHUNK_STATE, CHUNK_STATE,
		CHUNK_DIGESTS, CHUNK_INDEX, CHUNK_INDEX_LEVEL, CHUNK_HASHES, CHUNK_HASHES,
		CHUNK_PAD),
	   "flat: all that may come");
	ok(FLAT(CHUNK_PAD, CHUNK_MAP, CHUNK_PAD, CHUNK_STATE, CHUNK_INDEX, CHUNK_HASHES),
	   "optional ones before and behind the memory, no level");
	ok(!FLAT(CHUNK_STATE, CHUNK_INDEX), "without MAP no state");
	ok(!FLAT(CHUNK_MAP, CHUNK_MAP, CHUNK_STATE, CHUNK_INDEX), "no second MAP");
	ok(!FLAT(CHUNK_PAGES, CHUNK_MAP, CHUNK_STATE, CHUNK_INDEX) &&
	   !FLAT(CHUNK_MAP, CHUNK_PAGES, CHUNK_STATE, CHUNK_INDEX) &&
	   !FLAT(CHUNK_MAP, CHUNK_ROUND_END, CHUNK_STATE, CHUNK_INDEX),
	   "no pages and no ends of rounds");
	ok(!FLAT(CHUNK_MAP, CHUNK_STATE, CHUNK_HASHES, CHUNK_INDEX) &&
	   !FLAT(CHUNK_MAP, CHUNK_STATE, CHUNK_INDEX, CHUNK_PAD, CHUNK_HASHES) &&
	   !FLAT(CHUNK_MAP, CHUNK_STATE, CHUNK_INDEX, CHUNK_HASHES, CHUNK_PAD, CHUNK_HASHES),
	   "hashes directly behind the index and each other");
	ok(!ORDER(CHUNK_CONFIG, CHUNK_MAP, CHUNK_STATE, TABLES, CHUNK_END) &&
	   !ORDER(CHUNK_CONFIG, CHUNK_STATE, CHUNK_INDEX, CHUNK_HASHES, CHUNK_DIRECTORY,
		  CHUNK_END),
	   "chunked: no MAP and no hashes");
}

static void test_order(void)
{
	ok(ORDER(CHUNK_CONFIG, CHUNK_STATE, TABLES, CHUNK_END), "the shortest snapshot");
	ok(ORDER(CHUNK_CONFIG, CHUNK_AUTH, CHUNK_BLOB, CHUNK_PAGES, CHUNK_ROUND_END, CHUNK_PAGES,
		 CHUNK_BLOB, CHUNK_AUTH, CHUNK_STATE, CHUNK_STATE, CHUNK_DIGESTS, CHUNK_DIGESTS,
		 CHUNK_INDEX, CHUNK_INDEX, CHUNK_INDEX_LEVEL, CHUNK_INDEX_LEVEL, CHUNK_DIRECTORY,
		 CHUNK_DIRECTORY, CHUNK_END),
	   "all that may come");
	ok(!ORDER(CHUNK_STATE, TABLES, CHUNK_END), "without a configuration nothing comes");
	ok(!ORDER(CHUNK_CONFIG, CHUNK_CONFIG, CHUNK_STATE, TABLES, CHUNK_END),
	   "nor a second one");
	ok(!ORDER(CHUNK_CONFIG, TABLES, CHUNK_END), "without the state no index");
	ok(!ORDER(CHUNK_CONFIG, CHUNK_STATE, CHUNK_DIRECTORY, CHUNK_END),
	   "without an index no directory");
	ok(!ORDER(CHUNK_CONFIG, CHUNK_STATE, CHUNK_INDEX, CHUNK_END),
	   "without a directory no end");
	ok(!ORDER(CHUNK_CONFIG, CHUNK_STATE, TABLES), "without an end no snapshot");
	ok(!ORDER(CHUNK_CONFIG, CHUNK_STATE, TABLES, CHUNK_END, CHUNK_END), "nor with two");
	ok(!ORDER(CHUNK_CONFIG, CHUNK_DIGESTS, CHUNK_STATE, TABLES, CHUNK_END) &&
		   !ORDER(CHUNK_CONFIG, CHUNK_STATE, CHUNK_INDEX, CHUNK_DIGESTS, CHUNK_DIRECTORY,
			  CHUNK_END),
	   "digests are between state and index");
	ok(!ORDER(CHUNK_CONFIG, CHUNK_STATE, CHUNK_INDEX_LEVEL, CHUNK_INDEX, CHUNK_DIRECTORY,
		  CHUNK_END) &&
		   !ORDER(CHUNK_CONFIG, CHUNK_STATE, CHUNK_INDEX, CHUNK_INDEX_LEVEL, CHUNK_INDEX,
			  CHUNK_DIRECTORY, CHUNK_END) &&
		   !ORDER(CHUNK_CONFIG, CHUNK_STATE, TABLES, CHUNK_INDEX_LEVEL, CHUNK_END),
	   "levels are between index and directory");
	ok(!ORDER(CHUNK_CONFIG, CHUNK_STATE, TABLES, CHUNK_INDEX, CHUNK_END),
	   "behind the directory no index");
	static const uint16_t body[] = { CHUNK_PAGES, CHUNK_BLOB, CHUNK_ROUND_END, CHUNK_AUTH };

	for (size_t i = 0; i < sizeof(body) / sizeof(body[0]); i++) {
		bool right = !(ORDER(body[i], CHUNK_CONFIG, CHUNK_STATE, TABLES, CHUNK_END) ||
		    !ORDER(CHUNK_CONFIG, body[i], CHUNK_STATE, TABLES, CHUNK_END) ||
		    ORDER(CHUNK_CONFIG, CHUNK_STATE, body[i], TABLES, CHUNK_END) ||
		    ORDER(CHUNK_CONFIG, CHUNK_STATE, CHUNK_INDEX, body[i], CHUNK_DIRECTORY,
			  CHUNK_END));

		ok(right, "a chunk of the body is between configuration and state");
		if (!right)
			note("%s", chunk_type_name(body[i]));
	}
}

/* What a reader may skip, at every place: PAD, unknown types, and those that are reserved or of
 * moves. */
static void test_optional(void)
{
	static const uint16_t types[] = { CHUNK_PAD, CHUNK_WORKINGSET, CHUNK_REQUEST,
					  CHUNK_DISCARD, CHUNK_SIGNATURE, 999, PRIVATE,
					  UINT16_MAX };
	bool                  taken = true, refused = true;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		const uint16_t x = types[i];

		taken &= ORDER(CHUNK_CONFIG, x, CHUNK_PAGES, x, CHUNK_ROUND_END, x, x,
			       CHUNK_STATE, x, CHUNK_DIGESTS, x, CHUNK_DIGESTS, x, CHUNK_INDEX,
			       x, CHUNK_DIRECTORY, CHUNK_END) &&
			 ORDER(CHUNK_CONFIG, CHUNK_STATE, CHUNK_INDEX, CHUNK_INDEX,
			       CHUNK_INDEX_LEVEL, x, x, CHUNK_DIRECTORY, CHUNK_END);
		refused &= !ORDER(x, CHUNK_CONFIG, CHUNK_STATE, TABLES, CHUNK_END) &&
			   !ORDER(CHUNK_CONFIG, CHUNK_STATE, CHUNK_INDEX, x, CHUNK_INDEX,
				  CHUNK_DIRECTORY, CHUNK_END) &&
			   !ORDER(CHUNK_CONFIG, CHUNK_STATE, CHUNK_INDEX, x, CHUNK_INDEX_LEVEL,
				  CHUNK_DIRECTORY, CHUNK_END) &&
			   !ORDER(CHUNK_CONFIG, CHUNK_STATE, CHUNK_INDEX, CHUNK_INDEX_LEVEL, x,
				  CHUNK_INDEX_LEVEL, CHUNK_DIRECTORY, CHUNK_END) &&
			   !ORDER(CHUNK_CONFIG, CHUNK_STATE, TABLES, x, CHUNK_END) &&
			   !ORDER(CHUNK_CONFIG, CHUNK_STATE, TABLES, x, CHUNK_DIRECTORY,
				  CHUNK_END);
	}
	ok(taken, "what is not required may come between configuration and directory");
	ok(refused, "but not before, not behind, and not within the index and its levels");
}

static bool check_is(const struct chunk *c, enum chunk_phase phase, enum fail_kind kind)
{
	struct fail why = { 0 };

	return chunk_check(c, SNAP_CHUNKED, phase, 7, &why) == -1 && why.kind == kind &&
	       why.at == 7;
}

static void test_fields(void)
{
	static const struct { uint16_t type; unsigned phase; } rows[] = {
		{ CHUNK_CONFIG, AFTER_HEADER },   { CHUNK_BLOB, AFTER_CONFIG },
		{ CHUNK_STATE, AFTER_CONFIG },    { CHUNK_AUTH, AFTER_CONFIG },
		{ CHUNK_ROUND_END, AFTER_CONFIG }, { CHUNK_DIGESTS, AFTER_STATE },
		{ CHUNK_INDEX, AFTER_STATE },     { CHUNK_INDEX_LEVEL, AFTER_INDEX },
		{ CHUNK_DIRECTORY, AFTER_INDEX }, { CHUNK_END, AFTER_DIRECTORY },
		{ CHUNK_PAD, AFTER_CONFIG },      { CHUNK_SIGNATURE, AFTER_CONFIG },
	};
	bool        region = true, encoding = true, round = true, hashed = true, flags = true;
	struct fail why;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct chunk         was   = chunk_of(rows[i].type, 0, 16), c;
		enum chunk_phase     phase = (enum chunk_phase)rows[i].phase;
		const bool           pad   = rows[i].type == CHUNK_PAD;

		was.hashed = pad ? 0 : 16;
		if (chunk_check(&was, SNAP_CHUNKED, phase, 0, &why))
			note("%s: %s", chunk_type_name(was.type), why.what);
		c = was, c.region = 1, region &= check_is(&c, phase, FAIL_CORRUPT);
		c = was, c.encoding = 1, encoding &= check_is(&c, phase, FAIL_CORRUPT);
		c = was, c.hashed = pad ? 16 : 8, hashed &= check_is(&c, phase, FAIL_CORRUPT);
		c = was, c.round = 1;
		round &= rows[i].type == CHUNK_ROUND_END
				 ? chunk_check(&c, SNAP_CHUNKED, phase, 0, &why) == 0
				 : check_is(&c, phase, FAIL_CORRUPT);
		c = was, c.flags ^= CHUNK_REQUIRED;
		flags &= check_is(&c, phase, c.flags && (pad || was.type == CHUNK_SIGNATURE) ?
				  FAIL_VERSION : FAIL_CORRUPT);
	}
	ok(region && encoding, "a region or an encoding have pages alone");
	ok(round, "a round have pages and the ends of rounds alone");
	ok(hashed, "a payload is hashed as a whole, of PAD nothing");
	ok(flags, "the flag is as the table says");

	struct chunk c = chunk_of(CHUNK_PAGES, 0, 16);

	c.region = 3, c.encoding = 1, c.round = 9, c.hashed = 8;
	ok(chunk_check(&c, SNAP_CHUNKED, AFTER_CONFIG, 7, &why) == 0, "pages have all of these");
	c = (struct chunk){ .type = PRIVATE, .len = 16, .hashed = 3 };
	ok(chunk_check(&c, SNAP_CHUNKED, AFTER_CONFIG, 7, &why) == 0,
	   "of a private type any part is hashed");
}

static void test_rules(void)
{
	static const uint16_t unsupported[] = { CHUNK_DISK, CHUNK_CONTROL, CHUNK_KEYS,
						CHUNK_WORKINGSET, CHUNK_REQUEST, CHUNK_PAD,
						999, PRIVATE, UINT16_MAX };
	bool                  refused = true;

	for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++) {
		const struct chunk c = { .type = unsupported[i], .flags = CHUNK_REQUIRED };

		refused &= check_is(&c, AFTER_CONFIG, FAIL_VERSION);
	}
	ok(refused, "what is required, and unknown or of no meaning in a snapshot, is refused");
	ok(chunk_type_moves(CHUNK_CONFIG) && chunk_type_moves(CHUNK_PAGES) &&
		   chunk_type_moves(CHUNK_BLOB) && chunk_type_moves(CHUNK_STATE) &&
		   chunk_type_moves(CHUNK_CONTROL) && !chunk_type_moves(CHUNK_INDEX) &&
		   !chunk_type_moves(CHUNK_ROUND_END) && !chunk_type_moves(CHUNK_PAD) &&
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
	test_flat_order();
	test_optional();
	test_fields();
	test_rules();
	return done_testing();
}
