/* SPDX-License-Identifier: MIT */
/* MACs in snapshots: what a host knows as its own, and what it does not. */
#include "format/snapshot/auth.h"
#include "tests/unit/snapshot_guest.h"
#include "tests/unit/tap.h"

#include <libfdt.h>
#include <unistd.h>

static const struct hostkey key_a = { { 1, 2, 3 } }, key_b = { { 4, 5, 6 } };

struct make {
	const struct hostkey *key;      /* NULL: none */
	uint8_t               snapshot; /* byte of its uuid */
	uint8_t               page;     /* byte of page 3 */
	bool                  other_state;      /* of a disk that has grown */
	bool                  other_config;
};
static const struct make plain = {
	.key = &key_a, .snapshot = 0x22, .page = 7
};

/* The configuration with another disk path: one character of it. The state with another size. */
static _Alignas(8) uint8_t config_changed[LIMIT_TREE_BYTES], state_changed[LIMIT_TREE_BYTES];

static const uint8_t *make_state(const struct make *m)
{
	return m->other_state ? state_changed : state;
}

static size_t make(uint8_t **out, const struct make *m, struct snap_digests *digests)
{
	struct snap_header  h = guest_header();
	struct snap_writer *w;
	struct fail         why;
	int                 fd = temp_file();

	memset(h.snapshot.b, m->snapshot, 16);
	if (snap_writer_open(&w, fd, &h, NULL, "auth", &why))
		DIE("open: %s", why.what);
	if (m->key)
		snap_writer_key(w, m->key);
	page_batch_begin(batch, 0);
	memset(page_batch_slot(batch), m->page, 4096);
	page_batch_add_slot(batch, 3);
	if (snap_writer_config(w, m->other_config ? config_changed : config, config_len, &why) ||
	    snap_writer_pages(w, batch, &why) ||
	    snap_writer_state(w, make_state(m), state_len, &why) ||
	    snap_writer_end(w, digests, &why))
		DIE("write: %s", why.what);

	size_t len = snap_writer_bytes(w);

	snap_writer_close(w);
	*out = malloc(len);
	if (!*out || pread(fd, *out, len, 0) != (ssize_t)len)
		DIE("read");
	close(fd);
	return len;
}

/* The first and the second AUTH chunk. */
static size_t auth_at(const uint8_t *f, int which)
{
	size_t at = guest_find(f, CHUNK_AUTH);

	while (which--)
		do
			at = guest_next(f, at);
		while (get_le16(f + at + 4) != CHUNK_AUTH);
	return at;
}

struct verdict {
	int            rc;
	enum snap_auth config, all;
	struct fail    why;
};

static struct verdict judge(const uint8_t *f, size_t len, const struct hostkey *k)
{
	struct verdict      v = { .rc = -1 };
	struct snap_stream *s;
	struct chunk        c;
	const uint8_t      *payload;
	uint64_t            at;
	int                 fd = memfd_of(f, len);

	if (snap_stream_open(&s, fd, "auth", &v.why) == 0) {
		if (k)
			snap_stream_key(s, k);
		while ((v.rc = snap_stream_next(s, &c, &payload, &at, &v.why)) > 0)
			;
		v.config = snap_stream_auth_config(s);
		v.all    = snap_stream_auth_all(s);
		snap_stream_close(s);
	}
	close(fd);
	return v;
}

static bool judged(const uint8_t *f, size_t len, const struct hostkey *k, enum snap_auth config_is,
		   enum snap_auth all_is)
{
	struct verdict v = judge(f, len, k);

	if (v.rc)
		printf("#   %s\n", v.why.what);
	return v.rc == 0 && v.config == config_is && v.all == all_is;
}

static void test_own(void)
{
	struct make m = plain;
	struct snap_digests with, without;
	uint8_t    *keyed, *bare;
	size_t      keyed_len = make(&keyed, &m, &with), bare_len;

	m.key    = NULL;
	bare_len = make(&bare, &m, &without);
	ok(judged(keyed, keyed_len, &key_a, SNAP_AUTH_OK, SNAP_AUTH_OK),
	   "who has the key knows the snapshot as its own");
	ok(judged(keyed, keyed_len, &key_b, SNAP_AUTH_OTHER, SNAP_AUTH_OTHER),
	   "another key does not");
	ok(judged(keyed, keyed_len, NULL, SNAP_AUTH_NONE, SNAP_AUTH_NONE),
	   "without a key it is read and nothing is said of its writer");
	ok(judged(bare, bare_len, &key_a, SNAP_AUTH_NONE, SNAP_AUTH_NONE),
	   "one without MACs is read and is nobody's");
	/* Data of pages are aligned, so that the lengths tell nothing. */
	ok(get_le64(keyed + keyed_len - SNAP_END_PAYLOAD + 96) ==
			   get_le64(bare + bare_len - SNAP_END_PAYLOAD + 96) + 2 &&
		   !memcmp(with.memory, without.memory, 16) &&
		   !memcmp(with.machine, without.machine, 16),
	   "two chunks more, and the same memory and machine");
	for (size_t i = 0; i + HOSTKEY_BYTES <= keyed_len; i++)
		if (!memcmp(keyed + i, key_a.b, HOSTKEY_BYTES))
			DIE("the key is in the file");
	free(keyed);
	free(bare);
}

/* A forger has a snapshot of ours and its MACs, puts them into one of his making, and gets every
 * hash right. */
static void test_forged(void)
{
	static const struct {
		const char    *claim;
		struct make    forged;
		enum snap_auth config;
	} cases[] = {
		{ "another state under our MACs is found",
		  { &key_b, 0x22, 7, true, false },
		  SNAP_AUTH_OK },
		{ "another page under our MACs is found",
		  { &key_b, 0x22, 8, false, false },
		  SNAP_AUTH_OK },
		{ "another configuration under our MACs is found before a path is used",
		  { &key_b, 0x22, 7, false, true },
		  SNAP_AUTH_ALTERED },
		{ "another snapshot id under our MACs is found before a path is used",
		  { &key_b, 0x23, 7, false, false },
		  SNAP_AUTH_ALTERED },
	};
	struct snap_digests digests;
	uint8_t *ours;
	size_t   len = make(&ours, &plain, &digests);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *f;

		if (make(&f, &cases[i].forged, &digests) != len)
			DIE("lengths differ");
		for (int which = 0; which < 2; which++)
			memcpy(f + auth_at(f, which) + CHUNK_HEADER_BYTES,
			       ours + auth_at(ours, which) + CHUNK_HEADER_BYTES, AUTH_BYTES);
		guest_rehash(f, len);
		ok(judged(f, len, &key_a, cases[i].config, SNAP_AUTH_ALTERED), cases[i].claim);
		free(f);
	}
	free(ours);
}

/* A forger leaves MACs out: a chunk of no meaning in their place. */
static void test_stripped(void)
{
	struct snap_digests digests;
	uint8_t *f;
	size_t   len = make(&f, &plain, &digests);

	guest_type(&f, &len, auth_at(f, 1), 77, 0);
	ok(judged(f, len, &key_a, SNAP_AUTH_OK, SNAP_AUTH_NONE),
	   "without the second MAC the whole is not known as ours");
	guest_type(&f, &len, auth_at(f, 0), 77, 0);
	ok(judged(f, len, &key_a, SNAP_AUTH_NONE, SNAP_AUTH_NONE),
	   "without the first the paths are not");
	free(f);
}

static void test_structure(void)
{
	static const struct {
		const char *claim;
		int         which;
		size_t      at, width;
		uint64_t    value;
		bool        accepted;
	} cases[] = {
		{ "an algorithm this build does not know is passed over", 0, 64, 4, 2, true },
		{ "a MAC that covers an unknown part is refused", 0, 68, 4, 3, false },
		{ "reserved bytes of a MAC must be zero", 1, 72, 8, 1, false },
		{ "a MAC over all that the state does not follow is refused", 0, 68, 4, AUTH_ALL,
		  false },
		{ "a MAC over the configuration elsewhere is refused", 1, 68, 4, AUTH_CONFIG,
		  false },
		{ "a MAC chunk with a region is refused", 0, 12, 2, 1, false },
	};
	struct snap_digests digests;
	uint8_t *f;
	size_t   len = make(&f, &plain, &digests);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *g = malloc(len);

		memcpy(g, f, len);
		for (size_t b = 0; b < cases[i].width; b++)
			g[auth_at(f, cases[i].which) + cases[i].at + b] =
				(uint8_t)(cases[i].value >> (8 * b));
		guest_rehash(g, len);

		struct verdict v = judge(g, len, &key_a);

		ok(cases[i].accepted ? v.rc == 0 && v.config == SNAP_AUTH_NONE
				     : v.rc < 0 && v.why.kind == FAIL_CORRUPT,
		   cases[i].claim);
		printf("#   %s\n", v.rc ? v.why.what : "accepted");
		free(g);
	}
	free(f);
}

/* Each at its place, and nowhere else. */
static void test_places(void)
{
	static const uint8_t zeroes[AUTH_BYTES + 8];
	struct chunk         pad = chunk_of(CHUNK_PAD, 0, 0),
			     too_long = chunk_of(CHUNK_AUTH, 0, AUTH_BYTES + 8),
			     too_short = chunk_of(CHUNK_AUTH, 0, AUTH_BYTES - 8), c;
	struct snap_digests  digests;
	struct verdict       v;
	struct fail          why;

	for (unsigned i = 0; i < 7; i++) {
		static const char *const claims[] = {
			"a MAC over the configuration behind something else is refused",
			"a MAC over all before something else than the state is refused",
			"a second MAC over all is refused",
			"a MAC over all among the pages is refused",
			"a longer one is refused", "a shorter one is refused",
			"a MAC behind the state is refused",
		};
		uint8_t *f;
		size_t   len = make(&f, &plain, &digests), all = auth_at(f, 1);
		size_t   at  = i == 0 ? auth_at(f, 0) : i == 1 ? guest_next(f, all)
			     : i == 6 ? guest_next(f, guest_find(f, CHUNK_STATE))
			     : i == 3 ? guest_find(f, CHUNK_PAGES) : all;
		uint8_t  payload[AUTH_BYTES];

		memcpy(payload, f + all + CHUNK_HEADER_BYTES, AUTH_BYTES);
		if (chunk_header_get(&c, f + all, 0, &why))
			DIE("%s", why.what);
		guest_insert(&f, &len, at, i < 2 ? &pad : i == 4 ? &too_long
					   : i == 5 ? &too_short : &c,
			     i == 4 || i == 5 ? zeroes : payload);
		v = judge(f, len, &key_a);
		ok(v.rc < 0 && v.why.kind == FAIL_CORRUPT &&
			   strstr(v.why.what, i == 0 ? "not directly" : i == 4 || i == 5 ?
				  "length" : "unexpected"),
		   claims[i]);
		printf("#   %s\n", v.rc ? v.why.what : "accepted");
		free(f);
	}
}

/* Another disk path: one character of it. */
static void change(uint8_t *to, const uint8_t *from)
{
	memcpy(to, from, config_len);
	for (size_t i = 0; i + 9 <= config_len; i++)
		if (!memcmp(to + i, "root.img", 9)) {
			to[i] = 'R';
			return;
		}
	DIE("no path in the tree");
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	guest_make();
	change(config_changed, config);
	memcpy(state_changed, state, state_len);
	if (fdt_setprop_inplace_u64(state_changed, fdt_path_offset(state, "/host/root"), "size",
				    8192))
		DIE("no size in the state");
	test_own();
	test_forged();
	test_stripped();
	test_structure();
	test_places();
	free(batch);
	return done_testing();
}
