/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_IMAGES_H
#define FORMAT_SNAPSHOT_IMAGES_H

#include "format/tree/machine.h"
#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Kernel and initrd in BLOB chunks, of a snapshot or of a move: docs/format.md 9, "Images". An
 * image comes in pieces, in order; its size and digest are those of its host resource in the VM
 * tree. */

#define IMAGE_HEAD_BYTES  272u                    /* of a BLOB's payload, before the bytes */
#define IMAGE_PIECE_BYTES (1u << 20)              /* what a writer puts into one chunk, at most */
#define IMAGE_PIECE_MAX   (IMAGE_HEAD_BYTES + IMAGE_PIECE_BYTES)
#define IMAGES_MAX        2u                      /* kernel, initrd */

/* Whether a host resource is an image; whether its size and digest are known, so that its bytes
 * can be told from others. */
bool image_is(const struct machine_host *h);
bool image_known(const struct machine_host *h);

/* Are these bytes what the host resource records? */
bool image_same(const struct machine_host *h, const void *data, uint64_t len);
/* Bytes of a snapshot that an image of this length takes, in pieces of IMAGE_PIECE_BYTES, chunk
 * headers included. */
uint64_t image_chunks_bytes(uint64_t len);

/* A BLOB's payload for bytes `at` to at + len of the image; out holds IMAGE_HEAD_BYTES +
 * len. Returns its length. */
size_t image_piece_write(uint8_t *out, const struct machine_host *h, uint64_t at, const void *bytes,
			 size_t len);

struct image_piece {
	const struct machine_host *host;
	uint64_t                   at;
	const uint8_t             *bytes;
	size_t                     len;
	bool                       last;      /* the image is whole, and what its digest says */
};

/* Reads the pieces of m's images; m must outlive it. Constant memory. */
struct images_reader;
int images_reader_open(struct images_reader **out, const struct machine *m, struct fail *why);
void images_reader_close(struct images_reader *r);      /* NULL is fine */
/* One BLOB payload, hostile. FAIL_CORRUPT: not an image of m, not the piece that is due, or
 * another digest than m's. */
int images_reader_piece(struct images_reader *r, const uint8_t *payload, size_t len,
			struct image_piece *out, struct fail *why);
/* No more of them: FAIL_CORRUPT when one has begun and is not whole. */
int images_reader_end(const struct images_reader *r, struct fail *why);
/* Has all of the image of this name come, and was it right? */
bool images_reader_has(const struct images_reader *r, const char *name);

#endif
