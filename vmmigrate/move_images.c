/* SPDX-License-Identifier: MIT */
#include "vmmigrate/move_images.h"

#include "libcommon/io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void move_images_close(struct move_images *i)
{
	for (unsigned k = 0; k < i->n; k++)
		io_close(&i->of[k].fd);
	images_reader_close(i->reader);
	*i = (struct move_images){ 0 };
}

/* ---- the source ---- */

int move_images_offer(struct move_images *i, struct lease *l, const struct machine *m,
		      struct fail *why)
{
	*i = (struct move_images){ 0 };
	for (uint32_t k = 0; k < m->nhosts && i->n < IMAGES_MAX; k++) {
		const struct machine_host *h     = &m->hosts[k];
		struct move_image         *image = &i->of[i->n];
		uint64_t                   len;

		if (!image_is(h) || !image_known(h))
			continue;
		*image = (struct move_image){ .host = h, .fd = -1 };
		if (lease_image(l, h->name, &image->fd, &len, why)) {
			/* Removed, replaced or unreadable: no reason not to move. At the target
			 * vmrun reports that it is missing, and a reboot waits for it. */
			if (l->lost == FAIL_NONE)
				continue;
			return -1;
		}
		i->n++;
		if (len != h->size)
			return fail_set(why, FAIL_PEER,
					"%s: size mismatch: vmrun sent %llu of %llu bytes", h->name,
					(unsigned long long)len, (unsigned long long)h->size);
		if (image_cache_sha256(image->fd, len, image->sha256, why))
			return -1;
	}
	return 0;
}

void move_images_to_hello(const struct move_images *i, struct message *hello)
{
	hello->nimages = i->n;
	for (unsigned k = 0; k < i->n; k++) {
		struct message_image *image = &hello->images[k];

		*image = (struct message_image){ .size = i->of[k].host->size };
		snprintf(image->name, sizeof(image->name), "%s", i->of[k].host->name);
		memcpy(image->sha256, i->of[k].sha256, sizeof(image->sha256));
	}
}

static struct move_image *move_images_named(struct move_images *i, const char *name)
{
	for (unsigned k = 0; k < i->n; k++)
		if (!strcmp(i->of[k].host->name, name))
			return &i->of[k];
	return NULL;
}

int move_images_from_agree(struct move_images *i, const struct message *agree, struct fail *why)
{
	for (uint32_t k = 0; k < agree->nimages; k++) {
		struct move_image *image = move_images_named(i, agree->images[k].name);

		if (!image || image->wanted)
			return fail_set(why, FAIL_PEER,
					"AGREE: requested image '%s' was not offered",
					agree->images[k].name);
		image->wanted = true;
	}
	return 0;
}

/* One image as BLOB chunks. buf holds one payload, and behind it the piece that is read. */
static int move_image_send(const struct move_image *image, struct wire *w, uint8_t *buf,
			   int (*tick)(void *arg, struct fail *why), void *arg, struct fail *why)
{
	uint8_t *bytes = buf + IMAGE_PIECE_MAX;
	uint64_t size  = image->host->size;

	for (uint64_t at = 0; at < size; at += IMAGE_PIECE_BYTES) {
		size_t n = size - at < IMAGE_PIECE_BYTES ? (size_t)(size - at) : IMAGE_PIECE_BYTES;

		if (io_pread(image->fd, bytes, n, at, image->host->name, why))
			return -1;
		size_t len = image_piece_write(buf, image->host, at, bytes, n);

		if (wire_send(w, CHUNK_BLOB, buf, len, true, why) || tick(arg, why))
			return -1;
	}
	return 0;
}

int move_images_send(const struct move_images *i, struct wire *w,
		     int (*tick)(void *arg, struct fail *why), void *arg, struct fail *why)
{
	uint8_t *buf = malloc(IMAGE_PIECE_MAX + IMAGE_PIECE_BYTES);
	int      rc  = 0;

	if (!buf) {
		errno = ENOMEM;
		return fail_sys(why, "images");
	}
	for (unsigned k = 0; k < i->n && rc == 0; k++)
		if (i->of[k].wanted)
			rc = move_image_send(&i->of[k], w, buf, tick, arg, why);
	free(buf);
	return rc;
}

/* ---- the target ---- */

uint64_t move_images_bytes(const struct message *hello)
{
	uint64_t sum = 0;

	/* Not checked yet: a size that is out of range counts as the limit and is refused later. */
	for (uint32_t k = 0; k < hello->nimages; k++) {
		uint64_t size = hello->images[k].size;

		sum += size < LIMIT_IMAGE_BYTES ? size : LIMIT_IMAGE_BYTES;
	}
	return sum;
}

static const struct machine_host *move_images_host(const struct machine *m,
						   const struct message_image *image,
						   struct fail *why)
{
	const struct machine_host *h = machine_host_find(m, image->name);

	if (h && image_is(h) && image_known(h) && h->size == image->size)
		return h;
	fail_set(why, FAIL_CORRUPT, "HELLO: image '%s' differs from the VM tree", image->name);
	return NULL;
}

int move_images_expect(struct move_images *i, const struct message *hello, const struct machine *m,
		       struct lease *l, bool (*given)(void *arg, const char *name), void *arg,
		       struct fail *why)
{
	*i = (struct move_images){ 0 };
	if (images_reader_open(&i->reader, m, why))
		return -1;
	for (uint32_t k = 0; k < hello->nimages; k++) {
		const struct machine_host *h     = move_images_host(m, &hello->images[k], why);
		struct move_image         *image = &i->of[i->n];

		if (!h)
			return -1;
		if (move_images_named(i, h->name))
			return fail_set(why, FAIL_CORRUPT, "HELLO: duplicate image '%s'", h->name);
		*image = (struct move_image){ .host = h, .fd = -1 };
		memcpy(image->sha256, hello->images[k].sha256, sizeof(image->sha256));
		i->n++;
		if (given(arg, h->name))
			continue;
		image->fd     = image_cache_find(image->sha256, h->size);
		image->wanted = image->fd < 0;
		if (!image->wanted && lease_image_put(l, h->name, image->fd, h->size, why))
			return -1;
		io_close(&image->fd);
	}
	return 0;
}

void move_images_to_agree(const struct move_images *i, struct message *agree)
{
	for (unsigned k = 0; k < i->n; k++)
		if (i->of[k].wanted)
			snprintf(agree->images[agree->nimages++].name,
				 sizeof(agree->images[0].name), "%s", i->of[k].host->name);
}

/* All of it was received: is it what HELLO announced? */
static int move_image_whole(struct move_image *image, struct lease *l, uint64_t cache_max,
			    struct fail *cache, struct fail *why)
{
	uint8_t sha256[IMAGE_SHA256_BYTES];

	if (image_cache_sha256(image->fd, image->host->size, sha256, why))
		return -1;
	/* images_reader_piece() has compared XXH3-128, by which damage shows; the cache needs
	 * more. */
	if (memcmp(sha256, image->sha256, sizeof(sha256)))
		return fail_set(why, FAIL_CORRUPT, "%s: SHA-256 mismatch", image->host->name);
	if (lease_image_put(l, image->host->name, image->fd, image->host->size, why))
		return -1;
	image->wanted = false;
	if (image_cache_keep(image->fd, image->host->size, sha256, cache_max, cache))
		fail_prefix(cache, "%s: not added to the image cache: ", image->host->name);
	io_close(&image->fd);
	return 0;
}

int move_images_piece(struct move_images *i, const uint8_t *payload, size_t len, struct lease *l,
		      uint64_t cache_max, struct fail *cache, struct fail *why)
{
	struct image_piece p;
	struct move_image *image;

	if (images_reader_piece(i->reader, payload, len, &p, why))
		return -1;
	image = move_images_named(i, p.host->name);
	if (!image || !image->wanted)
		return fail_set(why, FAIL_PEER, "%s: unexpected image, not requested",
				p.host->name);
	if (image->fd < 0) {
		image->fd = memfd_create("vmferry-image", MFD_CLOEXEC);
		if (image->fd < 0)
			return fail_sys(why, "memfd_create");
	}
	if (io_pwrite(image->fd, p.bytes, p.len, p.at, p.host->name, why))
		return -1;
	return p.last ? move_image_whole(image, l, cache_max, cache, why) : 0;
}

bool move_images_whole(const struct move_images *i)
{
	for (unsigned k = 0; k < i->n; k++)
		if (i->of[k].wanted)
			return false;
	return true;
}
