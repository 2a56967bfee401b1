#include "format/images.h"

#include "libcommon/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define IMAGE_PATH_BYTES 256u
#define IMAGE_PATH       "/host/"

struct images_reader {
	const struct machine *m;
	unsigned              n;
	struct image_state {
		const struct machine_host *host;
		uint64_t                   at;      /* bytes that have come */
		XXH3_state_t              *hash;    /* of them */
	} images[IMAGES_MAX];
};

bool image_is(const struct machine_host *h)
{
	return h->cls == HOST_KERNEL || h->cls == HOST_INITRD;
}

bool image_known(const struct machine_host *h)
{
	static const uint8_t nil[sizeof(h->digest)];

	return h->size > 0 && h->size <= LIMIT_IMAGE_BYTES && memcmp(h->digest, nil, sizeof(nil));
}

size_t image_piece_write(uint8_t *out, const struct machine_host *h, uint64_t at, const void *bytes, size_t len)
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
	for (unsigned i = 0; r && i < r->n; i++)
		XXH3_freeState(r->images[i].hash);
	free(r);
}

/* Which image a path names; NULL with *why. */
static const struct machine_host *images_host(const struct machine *m, const uint8_t *path, struct fail *why)
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
	fail_set(why, FAIL_CORRUPT, "BLOB chunk: not of a kernel or initrd of this machine");
	return NULL;
}

static struct image_state *images_state(struct images_reader *r, const struct machine_host *h, struct fail *why)
{
	for (unsigned i = 0; i < r->n; i++)
		if (r->images[i].host == h)
			return &r->images[i];
	if (r->n == IMAGES_MAX) {
		fail_set(why, FAIL_CORRUPT, "more than %u images", IMAGES_MAX);
		return NULL;
	}

	struct image_state *s = &r->images[r->n];

	*s = (struct image_state){ .host = h, .hash = XXH3_createState() };
	if (!s->hash) {
		errno = ENOMEM;
		fail_sys(why, "images");
		return NULL;
	}
	XXH3_128bits_reset(s->hash);
	r->n++;
	return s;
}

int images_reader_piece(struct images_reader *r, const uint8_t *payload, size_t len, struct image_piece *out, struct fail *why)
{
	const struct machine_host *h;
	struct image_state        *s;
	XXH128_canonical_t         digest;
	uint64_t                   at, total;

	if (len <= IMAGE_HEAD_BYTES)
		return fail_set(why, FAIL_CORRUPT, "BLOB chunk: %zu bytes are too short", len);
	h = images_host(r->m, payload, why);
	s = h ? images_state(r, h, why) : NULL;
	if (!s)
		return -1;
	at    = get_le64(payload + IMAGE_PATH_BYTES);
	total = get_le64(payload + IMAGE_PATH_BYTES + 8);
	len -= IMAGE_HEAD_BYTES;
	if (total != h->size || at != s->at || len > total - at)
		return fail_set(why, FAIL_CORRUPT, "%s: bytes %" PRIu64 " to %" PRIu64 " of %" PRIu64 ", expected from %" PRIu64 " of %" PRIu64,
				h->name, at, at + len, total, s->at, h->size);
	s->at += len;
	XXH3_128bits_update(s->hash, payload + IMAGE_HEAD_BYTES, len);
	*out = (struct image_piece){ .host = h, .at = at, .bytes = payload + IMAGE_HEAD_BYTES, .len = len, .last = s->at == total };
	if (!out->last)
		return 0;
	XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(s->hash));
	return memcmp(digest.digest, h->digest, sizeof(h->digest)) ? fail_set(why, FAIL_CORRUPT, "%s: digest mismatch", h->name) : 0;
}

int images_reader_end(const struct images_reader *r, struct fail *why)
{
	for (unsigned i = 0; i < r->n; i++)
		if (r->images[i].at < r->images[i].host->size)
			return fail_set(why, FAIL_CORRUPT, "%s: ends after %" PRIu64 " of %" PRIu64 " bytes", r->images[i].host->name,
					r->images[i].at, r->images[i].host->size);
	return 0;
}
