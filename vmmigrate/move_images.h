/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_MOVE_IMAGES_H
#define VMMIGRATE_MOVE_IMAGES_H

#include "format/snapshot/images.h"
#include "libcommon/client/lease.h"
#include "vmmigrate/image_cache.h"
#include "vmmigrate/wire.h"

#include <stdbool.h>

/* Kernel and initrd travel with their VM, so that it can reboot where their files are not
 * (docs/protocol.md 5, "Images"). HELLO names what the source has, AGREE what the target wants
 * of it, BLOB chunks carry that. */

struct move_images {
	unsigned n;
	struct move_image {
		const struct machine_host *host;
		int                        fd;          /* source: vmrun's; target: what was
							 * received so far; -1 */
		uint8_t                    sha256[IMAGE_SHA256_BYTES];
		bool                       wanted;      /* to be sent; target: not complete */
	} of[IMAGES_MAX];
	struct images_reader *reader;                   /* target */
};

void move_images_close(struct move_images *i);

/* ---- the source ---- */

/* The images that vmrun has, from a logging lease; m must outlive i. */
int move_images_offer(struct move_images *i, struct lease *l, const struct machine *m,
		      struct fail *why);
void move_images_to_hello(const struct move_images *i, struct message *hello);
/* FAIL_PEER: the target wants what was not offered. */
int move_images_from_agree(struct move_images *i, const struct message *agree, struct fail *why);
/* Sends what is wanted, within the bandwidth cap. tick is called between two pieces: it handles
 * what the target has sent. */
int move_images_send(const struct move_images *i, struct wire *w,
		     int (*tick)(void *arg, struct fail *why), void *arg, struct fail *why);

/* ---- the target ---- */

/* The images of HELLO, checked against the tree m, which must outlive i. Those for which given() is
 * true are not needed. Of the others the incoming vmrun gets what is in the cache, the rest becomes
 * wanted. */
int move_images_expect(struct move_images *i, const struct message *hello, const struct machine *m,
		       struct lease *l, bool (*given)(void *arg, const char *name), void *arg,
		       struct fail *why);
/* Bytes that HELLO announces, for a check of the free memory. */
uint64_t move_images_bytes(const struct message *hello);
void move_images_to_agree(const struct move_images *i, struct message *agree);
/* One BLOB chunk. A complete image is checked, given to the incoming vmrun and added to the
 * cache of at most cache_max bytes. *cache: why it could not be added, which fails no move; else
 * untouched. */
int move_images_piece(struct move_images *i, const uint8_t *payload, size_t len, struct lease *l,
		      uint64_t cache_max, struct fail *cache, struct fail *why);
/* Nothing is wanted any more. */
bool move_images_whole(const struct move_images *i);

#endif
