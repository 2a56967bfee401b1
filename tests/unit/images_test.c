/* SPDX-License-Identifier: MIT */
/* Kernel and initrd in BLOB chunks: the pieces by themselves, and in snapshots. */
#include "format/tree/machine.h"
#include "tests/unit/snapshot_guest.h"
#include "tests/unit/tap.h"

#include <unistd.h>

static struct machine *machine;

static struct images_reader *reader(void)
{
	struct images_reader *r;
	struct fail           why;

	if (images_reader_open(&r, machine, &why))
		DIE("reader: %s", why.what);
	return r;
}

static const struct machine_host *host(const char *name)
{
	return machine_host_find(machine, name);
}

/* --- the pieces --- */

#define STEP_BYTES 1000u

/* A payload for bytes at to at + len of the image. */
static size_t payload_of(uint8_t *out, const char *name, uint64_t at, size_t len)
{
	return image_piece_write(out, host(name), at, (name[0] == 'k' ? kernel : initrd) + at, len);
}

static void test_order(void)
{
	static uint8_t        payload[IMAGE_HEAD_BYTES + KERNEL_BYTES];
	struct images_reader *r = reader();
	struct image_piece    piece;
	struct fail           why;
	uint64_t              at[2] = { 0, 0 };
	bool                  good  = true;

	ok(images_reader_end(r, &why) == 0 && !images_reader_has(r, "kernel") &&
		   !images_reader_has(r, "initrd"),
	   "no image need come");
	/* Of two lengths, in turn. */
	while (at[0] < KERNEL_BYTES || at[1] < INITRD_BYTES) {
		for (unsigned i = 0; i < 2; i++) {
			const char *name = i ? "initrd" : "kernel";
			uint64_t    size = i ? INITRD_BYTES : KERNEL_BYTES, step = i ? 7 : 65537;
			uint64_t    n = size - at[i] < step ? size - at[i] : step;
			size_t      len;

			if (n == 0)
				continue;
			len  = payload_of(payload, name, at[i], (size_t)n);
			good = good && images_reader_piece(r, payload, len, &piece, &why) == 0 &&
			       piece.host == host(name) && piece.at == at[i] && piece.len == n &&
			       piece.bytes == payload + IMAGE_HEAD_BYTES &&
			       piece.last == (at[i] + n == size);
			at[i] += n;
			good = good && images_reader_has(r, name) == (at[i] == size);
		}
	}
	ok(good && images_reader_end(r, &why) == 0,
	   "pieces in order are taken, those of two images in turn");
	ok(images_reader_piece(r, payload, payload_of(payload, "initrd", 0, INITRD_BYTES), &piece,
			       &why) == -1 &&
		   why.kind == FAIL_CORRUPT,
	   "an image that is whole is refused when it comes again");
	images_reader_close(r);
	r = reader();
	ok(images_reader_piece(r, payload, payload_of(payload, "kernel", 0, KERNEL_BYTES), &piece,
			       &why) == 0 &&
		   piece.last,
	   "an image in one piece is taken");
	images_reader_close(r);
}

/* The second piece of the kernel, spoilt. */
static void test_refused(void)
{
	static const struct {
		const char *claim;
		const char *path; /* NULL: as it was */
		size_t      at, width; /* bytes of the payload that are replaced */
		uint64_t    value;
		size_t      len; /* of the payload; 0: as it was */
	} cases[] = {
		{ "a piece of another host resource is refused", "/host/root", 0, 0, 0, 0 },
		{ "a piece of a host resource that the machine lacks is refused", "/host/kernels",
		  0, 0, 0, 0 },
		{ "a piece of another node is refused", "/cpus", 0, 0, 0, 0 },
		{ "a path without a slash is refused", "host/kernel", 0, 0, 0, 0 },
		{ "an empty path is refused", "", 0, 0, 0, 0 },
		{ "bytes behind the path's NUL are refused", NULL, 13, 1, 'x', 0 },
		{ "the last byte of the path is not NUL: refused", NULL, 255, 1, 'x', 0 },
		{ "a path that fills all its bytes is refused", "*", 0, 0, 0, 0 },
		{ "another total is refused", NULL, 264, 8, KERNEL_BYTES + 1, 0 },
		{ "a total of 2^64-1 is refused", NULL, 264, 8, UINT64_MAX, 0 },
		{ "a gap is refused", NULL, 256, 8, STEP_BYTES + 1, 0 },
		{ "a repeat is refused", NULL, 256, 8, 0, 0 },
		{ "an offset of 2^64-1 is refused", NULL, 256, 8, UINT64_MAX, 0 },
		{ "a piece that ends behind the image is refused", NULL, 0, 0, 0,
		  IMAGE_HEAD_BYTES + KERNEL_BYTES },
		{ "a piece without bytes is refused", NULL, 0, 0, 0, IMAGE_HEAD_BYTES },
		{ "a payload that ends in its head is refused", NULL, 0, 0, 0,
		  IMAGE_HEAD_BYTES - 1 },
	};
	static uint8_t     payload[IMAGE_HEAD_BYTES + KERNEL_BYTES];
	struct image_piece piece;
	struct fail        why;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct images_reader *r = reader();
		size_t                len;
		int                   rc;

		if (images_reader_piece(r, payload, payload_of(payload, "kernel", 0, STEP_BYTES),
					&piece, &why))
			DIE("first piece: %s", why.what);
		len = payload_of(payload, "kernel", STEP_BYTES, STEP_BYTES);
		if (cases[i].path && cases[i].path[0] == '*')
			memset(payload + 6, 'k', 250);
		else if (cases[i].path)
			strncpy((char *)payload, cases[i].path, 256);
		for (size_t b = 0; b < cases[i].width; b++)
			payload[cases[i].at + b] = (uint8_t)(cases[i].value >> (8 * b));
		rc = images_reader_piece(r, payload, cases[i].len ? cases[i].len : len, &piece,
					 &why);
		ok(rc == -1 && why.kind == FAIL_CORRUPT && why.what[0], cases[i].claim);
		printf("#   %s\n", rc ? why.what : "accepted");
		images_reader_close(r);
	}

	struct images_reader *r = reader();

	if (images_reader_piece(r, payload, payload_of(payload, "kernel", 0, STEP_BYTES), &piece,
				&why))
		DIE("first piece: %s", why.what);
	ok(images_reader_end(r, &why) == -1 && why.kind == FAIL_CORRUPT &&
		   !images_reader_has(r, "kernel"),
	   "an image that is not whole at the end is refused");
	printf("#   %s\n", why.what);
	images_reader_close(r);
}

/* The machine does not say which bytes they are, or they are others. */
static void test_digest(void)
{
	static uint8_t       payload[IMAGE_HEAD_BYTES + INITRD_BYTES];
	struct machine_host *h = machine_host_find(machine, "initrd"), was = *h;
	struct image_piece   piece;
	struct fail          why;
	size_t               len = payload_of(payload, "initrd", 0, INITRD_BYTES);

	for (unsigned i = 0; i < 5; i++) {
		static const char *const claims[] = {
			"a digest that is not known is refused",
			"a size that is not known is refused",
			"a size above the limit is refused",
			"a host resource of another class is refused",
			"other bytes of the right length are refused",
		};
		struct images_reader *r = reader();
		int                   rc;

		*h = was;
		switch (i) {
		case 0: memset(h->digest, 0, sizeof(h->digest)); break;
		case 1: h->size = 0; break;
		case 2: h->size = LIMIT_IMAGE_BYTES + 1; break;
		case 3: h->cls = HOST_DISK; break;
		default: payload[len - 1] ^= 1;
		}
		put_le64(payload + 264, h->size);
		rc = images_reader_piece(r, payload, len, &piece, &why);
		ok(rc == -1 && why.kind == FAIL_CORRUPT && (i < 4 || strstr(why.what, "digest")),
		   claims[i]);
		printf("#   %s\n", rc ? why.what : "accepted");
		if (i < 3)
			ok(!image_same(h, initrd, INITRD_BYTES),
			   "and no bytes are taken for the image");
		images_reader_close(r);
	}
	*h = was;
	ok(image_same(h, initrd, INITRD_BYTES) && !image_same(h, initrd, INITRD_BYTES - 1) &&
		   !image_same(h, kernel, INITRD_BYTES),
	   "an image is told from others by its size and digest");
}

/* --- in snapshots --- */

struct reading {
	int         rc; /* 0: whole */
	bool        kernel, initrd;
	size_t      got; /* bytes of images, which were the right ones */
	struct fail why;
};

static struct reading as_stream(const uint8_t *f, size_t len)
{
	struct reading      v = { .rc = -1 };
	struct snap_stream *s;
	struct chunk        c;
	const uint8_t      *payload;
	uint64_t            at;
	int                 fd = memfd_of(f, len);

	if (snap_stream_open(&s, fd, "test", &v.why) == 0) {
		while ((v.rc = snap_stream_next(s, &c, &payload, &at, &v.why)) > 0) {
			const struct image_piece *p = snap_stream_piece(s);

			if ((p != NULL) != (c.type == CHUNK_BLOB))
				DIE("a piece that is no blob");
			if (p && !memcmp(p->bytes,
					 (p->host->cls == HOST_KERNEL ? kernel : initrd) + p->at,
					 p->len))
				v.got += p->len;
		}
		v.kernel = snap_stream_has_image(s, "kernel");
		v.initrd = snap_stream_has_image(s, "initrd");
		snap_stream_close(s);
	}
	close(fd);
	return v;
}

static void no_chunk(void *arg, const struct chunk *c, const uint8_t *payload)
{
	(void)arg, (void)c, (void)payload;
}

static struct reading as_file(const uint8_t *f, size_t len)
{
	struct reading     v = { .rc = -1 };
	struct snap_image *s;
	int                fd = memfd_of(f, len);

	if (snap_image_open(&s, fd, "test", &v.why) == 0) {
		/* Twice: a walk begins anew. */
		v.rc = snap_image_walk(s, no_chunk, NULL, &v.why);
		if (v.rc == 0)
			v.rc = snap_image_walk(s, no_chunk, NULL, &v.why);
		v.kernel = snap_image_has_image(s, "kernel");
		v.initrd = snap_image_has_image(s, "initrd");
		snap_image_close(s);
	}
	close(fd);
	return v;
}

static void test_written(void)
{
	struct snap_digests digests;
	uint8_t            *f;
	size_t              len   = guest_images(&f, &digests);
	struct reading      v     = as_stream(f, len);
	size_t              first = guest_next(f, SNAP_HEADER_BYTES), at = first;

	ok(v.rc == 0 && v.kernel && v.initrd && v.got == KERNEL_BYTES + INITRD_BYTES,
	   "a stream gives the images that were written");
	v = as_file(f, len);
	ok(v.rc == 0 && v.kernel && v.initrd, "a file has them");
	while (get_le16(f + at + 4) == CHUNK_BLOB && get_le16(f + at + 6) == CHUNK_REQUIRED)
		at = guest_next(f, at);
	ok(at - first >= image_chunks_bytes(KERNEL_BYTES) + image_chunks_bytes(INITRD_BYTES) &&
		   at - first < image_chunks_bytes(KERNEL_BYTES) +
					image_chunks_bytes(INITRD_BYTES) + 4 * 8 &&
		   get_le16(f + at + 4) == CHUNK_PAGES,
	   "they are between configuration and pages, and as long as foretold");

	/* The same without them. */
	struct snap_stream *s;
	struct chunk        c;
	const uint8_t      *payload;
	uint64_t            place;
	struct fail         why;
	int                 fd;

	while (get_le16(f + first + 4) == CHUNK_BLOB)
		guest_remove(&f, &len, first);
	v = as_stream(f, len);
	ok(v.rc == 0 && !v.kernel && !v.initrd, "without them the snapshot is sound, and has none");
	if (v.rc)
		printf("#   %s\n", v.why.what);
	fd = memfd_of(f, len);
	if (snap_stream_open(&s, fd, "bare", &why))
		DIE("bare: %s", why.what);
	while (snap_stream_next(s, &c, &payload, &place, &why) > 0)
		;
	ok(!memcmp(snap_stream_digests(s)->memory, digests.memory, 16) &&
		   !memcmp(snap_stream_digests(s)->machine, digests.machine, 16) &&
		   memcmp(snap_stream_digests(s)->file, digests.file, 16),
	   "and has the same memory and machine, in another file");
	snap_stream_close(s);
	close(fd);
	free(f);
}

static void test_writer(void)
{
	struct snap_header  h = guest_header();
	struct snap_writer *w;
	struct fail         why;
	uint64_t            before;
	int                 fd = temp_file();

	if (snap_writer_open(&w, fd, &h, NULL, "writer", &why))
		DIE("writer: %s", why.what);
	ok(snap_writer_image(w, "kernel", kernel, KERNEL_BYTES, &why) == -1,
	   "an image before the configuration is not written");
	if (snap_writer_config(w, config, config_len, &why))
		DIE("writer: %s", why.what);
	before = snap_writer_bytes(w);
	ok(snap_writer_image(w, "initrd", kernel, INITRD_BYTES, &why) == -1 &&
		   why.kind == FAIL_REFUSED &&
		   snap_writer_image(w, "initrd", initrd, INITRD_BYTES - 1, &why) == -1 &&
		   why.kind == FAIL_REFUSED &&
		   snap_writer_image(w, "root", initrd, INITRD_BYTES, &why) == -1 &&
		   why.kind == FAIL_REFUSED &&
		   snap_writer_image(w, "nobody", initrd, INITRD_BYTES, &why) == -1 &&
		   why.kind == FAIL_REFUSED && snap_writer_bytes(w) == before,
	   "nor is one that the configuration does not record");
	ok(snap_writer_image(w, "initrd", initrd, INITRD_BYTES, &why) == 0 &&
		   snap_writer_image(w, "initrd", initrd, INITRD_BYTES, &why) == -1 &&
		   why.kind == FAIL_REFUSED,
	   "nor one that has been");
	snap_writer_close(w);
	close(fd);
}

/* The nth BLOB chunk; behind the last one nothing of use. */
static size_t blob_at(const uint8_t *f, unsigned n)
{
	size_t at = guest_find(f, CHUNK_BLOB);

	while (n--)
		at = guest_next(f, at);
	return at;
}

/* Both readers refuse it at this place. */
static void damaged(const uint8_t *f, size_t len, size_t at, const char *says, const char *claim)
{
	struct reading v[2] = { as_stream(f, len), as_file(f, len) };

	for (unsigned k = 0; k < 2; k++) {
		printf("#   %s: %s\n", k ? "file" : "stream",
		       v[k].rc ? v[k].why.what : "accepted");
		ok(v[k].rc == -1 && v[k].why.kind == FAIL_CORRUPT && v[k].why.at == at &&
			   strstr(v[k].why.what, says),
		   claim);
	}
}

/* Pieces: 0, 1, 2 the kernel, 3 the initrd. All hashes of chunks are right. */
static void test_damaged(void)
{
	enum { HERE, NEXT, STATE, LAST };      /* where it shows: LAST: the kernel's last piece */
	static const struct {
		const char *claim, *says;
		unsigned    piece;
		size_t      at, width; /* from the chunk's header */
		uint64_t    value;
		int         shows;
	} cases[] = {
		{ "a byte of an image that is another is found at the image's last piece",
		  "kernel: digest mismatch", 0, 64 + 272 + 5000, 1, 0xee, LAST },
		{ "a piece that is left out shows at the next one", "kernel: bytes", 1, 4, 4, 77,
		  NEXT },
		{ "a last piece that is left out shows at the state", "kernel: truncated", 2, 4, 4,
		  77, STATE },
		{ "a piece of another node is refused in a snapshot", "not a kernel", 3, 64 + 6,
		  1, 'I', HERE },
		{ "a piece with a region is refused", "region or encoding not zero", 3, 12, 2, 1,
		  HERE },
		{ "a piece with an encoding is refused", "region or encoding not zero", 3, 8, 2, 1,
		  HERE },
		{ "a piece with a round is refused", "round not zero", 3, 16, 4, 1, HERE },
		{ "a piece that is not required is refused", "invalid flags", 3, 6, 2, 0, HERE },
		{ "a piece whose hash covers half of it is refused", "hash covers", 3, 32, 4, 100,
		  HERE },
	};
	struct chunk c = chunk_of(CHUNK_BLOB, 0, IMAGE_HEAD_BYTES);
	uint8_t     *f, *g, *piece;
	size_t       len = guest_images(&f, NULL), n, at;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		n  = len;
		g  = malloc(len);
		at = blob_at(f, cases[i].piece);
		memcpy(g, f, len);
		for (size_t b = 0; b < cases[i].width; b++)
			g[at + cases[i].at + b] = (uint8_t)(cases[i].value >> (8 * b));
		guest_rebuild(&g, &n);
		damaged(g, n, cases[i].shows == HERE ? at
			      : cases[i].shows == NEXT ? guest_next(g, at)
			      : cases[i].shows == LAST ? blob_at(f, 2) : guest_find(g, CHUNK_STATE),
			cases[i].says, cases[i].claim);
		free(g);
	}

	/* The initrd's piece, without bytes; behind the state. */
	at    = blob_at(f, 3);
	piece = malloc(IMAGE_HEAD_BYTES + INITRD_BYTES);
	memcpy(piece, f + at + CHUNK_HEADER_BYTES, IMAGE_HEAD_BYTES + INITRD_BYTES);
	guest_remove(&f, &len, at);
	n = len;
	g = malloc(len);
	memcpy(g, f, len);
	guest_insert(&g, &n, at, &c, piece);
	damaged(g, n, at, "too short", "a piece without bytes is refused in a snapshot");
	free(g);
	c  = chunk_of(CHUNK_BLOB, 0, IMAGE_HEAD_BYTES + INITRD_BYTES);
	at = guest_next(f, guest_find(f, CHUNK_STATE));
	guest_insert(&f, &len, at, &c, piece);
	damaged(f, len, at, "unexpected at this point", "a piece behind the state is refused");
	free(piece);
	free(f);
}

int main(void)
{
	struct fail why;

	setvbuf(stdout, NULL, _IOLBF, 0);
	guest_make();
	machine = malloc(sizeof(*machine));
	if (!machine || machine_read(machine, config, config_len, &why))
		DIE("configuration");
	test_order();
	test_refused();
	test_digest();
	test_written();
	test_writer();
	test_damaged();
	free(machine);
	free(batch);
	return done_testing();
}
