/* SPDX-License-Identifier: MIT */
#include "vmsnap/convert_in.h"

#include "libcommon/bytes.h"
#include "libcommon/io.h"
#include "vmsnap/convert_spool.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IN_AT_REWRITE 24u      /* docs/format.md 2 */

int convert_in_open(struct convert_in *in, const char *operand, struct fail *why)
{
	*in = (struct convert_in){ .fd = -1, .spool = -1 };
	snprintf(in->what, sizeof(in->what), "%s", operand ? operand : "standard input");
	if (!operand && isatty(STDIN_FILENO))
		return fail_set(why, FAIL_USAGE,
				"standard input is a terminal: specify IN, or redirect it");
	in->fd = operand ? open(operand, O_RDONLY | O_CLOEXEC | O_NOCTTY)
			 : fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (in->fd < 0 || fstat(in->fd, &in->st))
		return fail_sys(why, "%s", in->what);
	in->file = S_ISREG(in->st.st_mode) && lseek(in->fd, 0, SEEK_CUR) == 0;
	if (snap_header_load(in->fd, in->what, operand != NULL, "vmsnap convert - OUT",
			     in->bytes_of_header, why))
		return -1;
	if (snap_header_read(&in->header, in->bytes_of_header, why))
		return fail_prefix(why, "%s: ", in->what);
	if (in->header.rewrite)
		return fail_at(why, FAIL_VERSION, IN_AT_REWRITE,
			       "%s: unsupported rewrite features 0x%" PRIx64
			       ": this build must not convert the snapshot",
			       in->what, in->header.rewrite);
	return 0;
}

bool convert_in_leaves_out(uint16_t type)
{
	switch (type) {
	case CHUNK_AUTH:         /* written anew, or reported */
	case CHUNK_DIGESTS:      /* follows from memory */
	case CHUNK_PAD:
		return false;
	default:
		return !(chunk_type_flags(type) & CHUNK_REQUIRED);
	}
}

/* Do the pages of all chunks come in the order in which they are to be written? payload: head and
 * tables of a page chunk (docs/format.md 4), verified. */
static void in_note_pages(struct convert_in *in, const struct chunk *c, const uint8_t *payload)
{
	const uint8_t *run = payload + 16, *last = run + (get_le32(payload) - 1) * (size_t)16;
	uint64_t       first = get_le64(run), end = get_le64(last) + get_le32(last + 8);

	in->compressed |= c->encoding != CHUNK_RAW;
	in->disordered |= c->region < in->last_region ||
			  (c->region == in->last_region && first < in->last_page);
	in->last_region = c->region;
	in->last_page   = end;
}

static void in_note(void *arg, const struct chunk *c, const uint8_t *payload)
{
	struct convert_in *in = arg;

	in->left_out += convert_in_leaves_out(c->type);
	if (c->type == CHUNK_PAGES)
		in_note_pages(in, c, payload);
}

static int in_piece(void *arg, const struct image_piece *p, struct fail *why)
{
	return convert_images_piece(arg, p, why);
}

/* The file's index, once all of it has been checked. */
static int in_count(struct convert_in *in, struct fail *why)
{
	if (snap_image_index(in->image, why))
		return -1;
	for (uint32_t r = 0; r < LIMIT_REGIONS; r++) {
		in->data += snap_image_pages(in->image, r, PAGE_DATA);
		in->zero += snap_image_pages(in->image, r, PAGE_ZERO);
	}
	return 0;
}

static int in_read_file(struct convert_in *in, const struct hostkey *k, struct fail *why)
{
	if (k && snap_image_auth(in->image, k, &in->auth_config, &in->auth_all, why))
		return -1;
	in->digests = *snap_image_digests(in->image);
	in->bytes   = snap_image_bytes(in->image);
	return snap_image_pieces(in->image, in_piece, &in->images, why) ? -1 : in_count(in, why);
}

static int in_read_spool(struct convert_in *in, const struct destination *to,
			 const struct hostkey *k, struct fail *why)
{
	in->left_out = 0;
	if (convert_spool(in, to, k, why) ||
	    snap_image_open(&in->image, in->spool, in->spool_what, why))
		return -1;
	return in_count(in, why);
}

int convert_in_read(struct convert_in *in, const struct destination *to, const struct hostkey *k,
		    struct fail *why)
{
	convert_images_open(&in->images, to);
	in->keyed = k != NULL;
	if (!in->file)
		return in_read_spool(in, to, k, why);
	if (snap_image_open(&in->image, in->fd, in->what, why) ||
	    snap_image_walk(in->image, in_note, in, why))
		return -1;
	/* A page costs its chunk, which is decompressed as a whole and kept until one of another
	 * chunk is read: that must be once, however a hostile index goes to and fro. */
	if (!in->compressed || !in->disordered)
		return in_read_file(in, k, why);
	snap_image_close(in->image);
	in->image = NULL;
	return in_read_spool(in, to, k, why);
}

void convert_in_close(struct convert_in *in)
{
	snap_image_close(in->image);
	convert_images_close(&in->images);
	io_close(&in->spool);
	io_close(&in->fd);
}
