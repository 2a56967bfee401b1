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
	uint8_t       *f, *without, content[16];
	size_t         len   = guest_images(&f, content), bare;
	struct reading v     = as_stream(f, len);
	uint64_t       first = SNAP_HEADER_BYTES + CHUNK_HEADER_BYTES + config_len, at = first;

	ok(v.rc == 0 && v.kernel && v.initrd && v.got == KERNEL_BYTES + INITRD_BYTES,
	   "a stream gives the images that were written");
	v = as_file(f, len);
	ok(v.rc == 0 && v.kernel && v.initrd, "a file has them");
	while (get_le16(f + at + 4) == CHUNK_BLOB && get_le16(f + at + 6) == CHUNK_REQUIRED)
		at += CHUNK_HEADER_BYTES + get_le64(f + at + 16);
	ok(at - first == image_chunks_bytes(KERNEL_BYTES) + image_chunks_bytes(INITRD_BYTES) &&
		   get_le16(f + at + 4) == CHUNK_PAGES,
	   "they are between configuration and pages, and as long as foretold");

	/* The same without them. */
	struct snap_stream *s;
	struct chunk        c;
	const uint8_t      *payload;
	uint8_t             file[16], same[16];
	struct fail         why;
	int                 fd;

	bare    = len - (size_t)(at - first);
	without = malloc(bare);
	memcpy(without, f, first);
	memcpy(without + first, f + at, len - at);
	put_le64(without + guest_find(without, CHUNK_INDEX) + 48 + 24,
		 first); /* the place of the pages */
	uint8_t *end = without + bare - SNAP_END_PAYLOAD;

	put_le64(end + 48, get_le64(end + 48) - (at - first));
	put_le64(end + 64, get_le64(end + 64) - 4);
	put_le64(end + 72, bare);
	put_le64(end + 80, get_le64(end + 80) - (at - first));
	guest_rehash(without, bare);
	v = as_stream(without, bare);
	ok(v.rc == 0 && !v.kernel && !v.initrd, "without them the snapshot is sound, and has none");
	if (v.rc)
		printf("#   %s\n", v.why.what);
	fd = memfd_of(without, bare);
	if (snap_stream_open(&s, fd, "bare", &why))
		DIE("bare: %s", why.what);
	while (snap_stream_next(s, &c, &payload, &at, &why) > 0)
		;
	snap_stream_digests(s, file, same);
	ok(!memcmp(same, content, 16), "and has the same content digest");
	snap_stream_close(s);
	close(fd);
	free(f);
	free(without);
}

static void test_writer(void)
{
	struct snap_header  h = guest_header();
	struct snap_writer *w;
	struct fail         why;
	uint64_t            before;
	int                 fd = temp_file();

	if (snap_writer_open(&w, fd, &h, 0, "writer", &why))
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
		at += CHUNK_HEADER_BYTES + get_le64(f + at + 16);
	return at;
}

/* Pieces: 0, 1, 2 the kernel, 3 the initrd. All hashes of chunks are right. */
static void test_damaged(void)
{
	static const struct {
		const char *claim, *says;
		unsigned    piece;
		size_t      at, width; /* from the chunk's header */
		uint64_t    value;
		bool     at_state; /* it shows at the state, else at the next piece or this one */
		unsigned shows;
	} cases[] = {
		{ "a byte of an image that is another is found at the image's last piece",
		  "kernel: digest mismatch", 0, 48 + 272 + 5000, 1, 0xee, false, 2 },
		{ "a piece that is left out shows at the next one", "kernel: bytes", 1, 4, 4, 77,
		  false, 2 },
		{ "a last piece that is left out shows at the state", "kernel: truncated", 2, 4, 4,
		  77, true, 0 },
		{ "a piece of another node is refused in a snapshot", "not a kernel", 3, 48 + 6,
		  1, 'I', false, 3 },
		{ "a piece with a region is refused", "region or encoding not zero", 3, 12, 4, 1,
		  false, 3 },
		{ "a piece with an encoding is refused", "region or encoding not zero", 3, 8, 2, 1,
		  false, 3 },
		{ "a piece without bytes is refused in a snapshot", "too short", 3, 0, 0, 0, false,
		  3 },
	};
	uint8_t *f;
	size_t   len = guest_images(&f, NULL);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t         n = len, at = blob_at(f, cases[i].piece), shows;
		uint8_t       *g = malloc(len);
		struct reading v[2];

		memcpy(g, f, len);
		for (size_t b = 0; b < cases[i].width; b++)
			g[at + cases[i].at + b] = (uint8_t)(cases[i].value >> (8 * b));
		if (cases[i].width == 0) {
			size_t to   = at + CHUNK_HEADER_BYTES + IMAGE_HEAD_BYTES,
			       from = to + INITRD_BYTES;

			put_le64(g + at + 16, IMAGE_HEAD_BYTES);
			memmove(g + to, g + from, len - from);
			n -= INITRD_BYTES;
			put_le64(g + n - SNAP_END_PAYLOAD + 48,
				 get_le64(g + n - SNAP_END_PAYLOAD + 48) - INITRD_BYTES);
			put_le64(g + n - SNAP_END_PAYLOAD + 72, n);
			put_le64(g + n - SNAP_END_PAYLOAD + 80,
				 get_le64(g + n - SNAP_END_PAYLOAD + 80) - INITRD_BYTES);
		}
		guest_rehash(g, n);
		shows = cases[i].at_state ? guest_find(g, CHUNK_STATE) : blob_at(f, cases[i].shows);
		v[0]  = as_stream(g, n);
		v[1]  = as_file(g, n);
		for (unsigned k = 0; k < 2; k++) {
			bool good = v[k].rc == -1 && v[k].why.kind == FAIL_CORRUPT &&
				    v[k].why.at == shows && strstr(v[k].why.what, cases[i].says);

			printf("#   %s: %s\n", k ? "file" : "stream",
			       v[k].rc ? v[k].why.what : "accepted");
			ok(good, cases[i].claim);
		}
		free(g);
	}

	/* The initrd behind the state. */
	size_t   at = blob_at(f, 3), blob = CHUNK_HEADER_BYTES + IMAGE_HEAD_BYTES + INITRD_BYTES;
	size_t   st = guest_find(f, CHUNK_STATE), end = st + CHUNK_HEADER_BYTES + state_len;
	uint8_t *g = malloc(len);

	memcpy(g, f, len);
	memmove(g + at, f + at + blob, end - at - blob);
	memcpy(g + end - blob, f + at, blob);
	put_le64(g + len - SNAP_END_PAYLOAD + 80, st - blob);
	put_le64(g + guest_find(g, CHUNK_INDEX) + 48 + 24, at);
	guest_rehash(g, len);

	struct reading v = as_stream(g, len);

	ok(v.rc == -1 && v.why.kind == FAIL_CORRUPT && v.why.at == end - blob &&
		   strstr(v.why.what, "unexpected at this point"),
	   "a piece behind the state is refused in a stream");
	v = as_file(g, len);
	ok(v.rc == -1 && v.why.kind == FAIL_CORRUPT && v.why.at == end - blob &&
		   strstr(v.why.what, "unexpected at this point"),
	   "and in a file");
	printf("#   %s\n", v.why.what);
	free(g);
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
