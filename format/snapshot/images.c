/* SPDX-License-Identifier: MIT */
#include "format/snapshot/images.h"

#include "format/snapshot/snapshot_internal.h"
#include "libcommon/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define IMAGE_PATH_BYTES 256u
#define IMAGE_PATH       "/host/"

struct images_reader {
	const struct machine *m;
	struct image_state {
		const struct machine_host *host;    /* NULL: nothing has come */
		uint64_t                   at;      /* bytes that have come */
		XXH3_state_t              *hash;    /* of them */
	} images[IMAGES_MAX];
};

/* Their names are as fixed as their classes: there is one of each. */
bool image_is(const struct machine_host *h)
{
	return (h->cls == HOST_KERNEL && !strcmp(h->name, "kernel")) ||
	       (h->cls == HOST_INITRD && !strcmp(h->name, "initrd"));
}

bool image_known(const struct machine_host *h)
{
	static const uint8_t nil[sizeof(h->digest)];

	return h->size > 0 && h->size <= LIMIT_IMAGE_BYTES && memcmp(h->digest, nil, sizeof(nil));
}

bool image_same(const struct machine_host *h, const void *data, uint64_t len)
{
	uint8_t digest[sizeof(h->digest)];

	if (!image_known(h) || h->size != len)
		return false;
	digest_put(digest, XXH3_128bits(data, len));
	return memcmp(h->digest, digest, sizeof(digest)) == 0;
}

uint64_t image_chunks_bytes(uint64_t len)
{
	uint64_t pieces = (len + IMAGE_PIECE_BYTES - 1) / IMAGE_PIECE_BYTES;

	return len + pieces * (CHUNK_HEADER_BYTES + IMAGE_HEAD_BYTES);
}

size_t image_piece_write(uint8_t *out, const struct machine_host *h, uint64_t at, const void *bytes,
			 size_t len)
{
	memset(out, 0, IMAGE_HEAD_BYTES);
	snprintf((char *)out, IMAGE_PATH_BYTES, IMAGE_PATH "%s", h->name);
	put_le64(out + IMAGE_PATH_BYTES, at);
	put_le64(out + IMAGE_PATH_BYTES + 8, h->size);
	memcpy(out + IMAGE_HEAD_BYTES, bytes, len);
	return IMAGE_HEAD_BYTES + len;
}

int images_reader_open(struct images_reader **out, const struct machine *m, struct fail *why)
{
	struct images_reader *r = calloc(1, sizeof(*r));

	if (!r) {
		errno = ENOMEM;
		return fail_sys(why, "images");
	}
	r->m = m;
	*out = r;
	return 0;
}

void images_reader_close(struct images_reader *r)
{
	for (unsigned i = 0; r && i < IMAGES_MAX; i++)
		XXH3_freeState(r->images[i].hash);
	free(r);
}

/* Which image a path names; NULL with *why. */
static const struct machine_host *images_host(const struct machine *m, const uint8_t *path,
					      struct fail *why)
{
	size_t prefix = sizeof(IMAGE_PATH) - 1;

	if (path[IMAGE_PATH_BYTES - 1] == '\0' && !memcmp(path, IMAGE_PATH, prefix)) {
		const char                *name = (const char *)path + prefix;
		size_t                     n    = strlen(name);
		const struct machine_host *h    = machine_host_find(m, name);

		for (size_t i = prefix + n; i < IMAGE_PATH_BYTES && h; i++)
			if (path[i])
				h = NULL;
		if (h && image_is(h) && image_known(h))
			return h;
	}
	fail_set(why, FAIL_CORRUPT, "blob chunk: path is not a kernel or initrd of this machine");
	return NULL;
}

static struct image_state *images_state(struct images_reader *r, const struct machine_host *h,
					struct fail *why)
{
	struct image_state *s = &r->images[h->cls == HOST_INITRD];

	if (s->host)
		return s;
	s->hash = XXH3_createState();
	if (!s->hash) {
		errno = ENOMEM;
		fail_sys(why, "images");
		return NULL;
	}
	XXH3_128bits_reset(s->hash);
	s->host = h;
	return s;
}

int images_reader_piece(struct images_reader *r, const uint8_t *payload, size_t len,
			struct image_piece *out, struct fail *why)
{
	const struct machine_host *h;
	struct image_state        *s;
	uint8_t                    digest[sizeof(h->digest)];
	uint64_t                   at, total;

	if (len <= IMAGE_HEAD_BYTES)
		return fail_set(why, FAIL_CORRUPT, "blob chunk: too short: %zu bytes", len);
	h = images_host(r->m, payload, why);
	s = h ? images_state(r, h, why) : NULL;
	if (!s)
		return -1;
	at    = get_le64(payload + IMAGE_PATH_BYTES);
	total = get_le64(payload + IMAGE_PATH_BYTES + 8);
	len -= IMAGE_HEAD_BYTES;
	if (total != h->size || at != s->at || len > total - at)
		return fail_set(why, FAIL_CORRUPT,
				"%s: bytes %" PRIu64 " to %" PRIu64 " of %" PRIu64
				", expected from %" PRIu64 " of %" PRIu64, h->name, at, at + len,
				total, s->at, h->size);
	s->at += len;
	XXH3_128bits_update(s->hash, payload + IMAGE_HEAD_BYTES, len);
	*out = (struct image_piece){ .host = h, .at = at, .bytes = payload + IMAGE_HEAD_BYTES,
				     .len = len, .last = s->at == total };
	if (!out->last)
		return 0;
	digest_put(digest, XXH3_128bits_digest(s->hash));
	if (digest_same(h->digest, digest))
		return 0;
	return fail_set(why, FAIL_CORRUPT, "%s: digest mismatch", h->name);
}

int images_reader_end(const struct images_reader *r, struct fail *why)
{
	for (unsigned i = 0; i < IMAGES_MAX; i++) {
		const struct image_state *s = &r->images[i];

		if (s->host && s->at < s->host->size)
			return fail_set(why, FAIL_CORRUPT,
					"%s: truncated: %" PRIu64 " of %" PRIu64 " bytes",
					s->host->name, s->at, s->host->size);
	}
	return 0;
}

bool images_reader_has(const struct images_reader *r, const char *name)
{
	for (unsigned i = 0; r && i < IMAGES_MAX; i++)
		if (r->images[i].host && !strcmp(r->images[i].host->name, name))
			return r->images[i].at == r->images[i].host->size;
	return false;
}

/* What the reader says, with the offset of the chunk. */
static int images_at(int rc, uint64_t at, struct fail *why)
{
	if (rc && why->kind != FAIL_SYSTEM)
		fail_locate(why, at);
	return rc;
}

int images_chunk(struct images_reader *r, const struct chunk *c, const uint8_t *payload,
		 uint64_t at, struct image_piece *out, struct fail *why)
{
	return images_at(images_reader_piece(r, payload, c->len, out, why), at, why);
}

int images_end(const struct images_reader *r, uint64_t at, struct fail *why)
{
	return images_at(images_reader_end(r, why), at, why);
}
