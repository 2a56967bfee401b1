/* SPDX-License-Identifier: MIT */
#ifndef VMSNAP_CONVERT_IN_H
#define VMSNAP_CONVERT_IN_H

#include "format/snapshot/snapshot.h"
#include "libcommon/hostkey.h"
#include "vmsnap/convert_images.h"

#include <sys/stat.h>

/* The snapshot that is converted. It ends as a file whose pages can be read in any order. That is
 * the operand itself, or a temporary file that holds each page once, with its last contents: of
 * what can be read only once, and of a file where that would decompress chunks again and again. */
struct convert_in {
	char                   what[256];             /* for messages */
	int                    fd;
	struct stat            st;
	bool                   file;                  /* regular, and at its beginning */
	uint8_t                bytes_of_header[SNAP_HEADER_BYTES];
	struct snap_header     header;

	/* convert_in_read */
	struct snap_image     *image;                 /* what to read pages from */
	struct convert_images  images;
	struct snap_digests    digests;               /* as its END says */
	uint64_t               bytes;
	uint64_t               data, zero;            /* pages, by the index */
	uint64_t               left_out;              /* chunks that are not converted */
	bool                   keyed;                 /* there is a key to check its MACs by */
	enum snap_auth         auth_config, auth_all;

	/* private */
	int                    spool;                 /* -1: none */
	char                   spool_what[TEMPORARY_WHAT];
	bool                   compressed, disordered;
	uint32_t               last_region;
	uint64_t               last_page;             /* end of the last chunk's pages */
};

/* operand NULL: standard input. Reads the header. FAIL_VERSION: it may not be rewritten. */
int convert_in_open(struct convert_in *in, const char *operand, struct fail *why);
/* The rest, and verifies all but pages that are read from the file later; those are verified then.
 * to: temporary files go there. k: NULL for none. */
int convert_in_read(struct convert_in *in, const struct destination *to, const struct hostkey *k,
		    struct fail *why);
void convert_in_close(struct convert_in *in);

#endif
