/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_SNAPSHOT_AUTH_H
#define FORMAT_SNAPSHOT_AUTH_H

#include "format/snapshot/snapshot.h"

/* The payload of an AUTH chunk (docs/format.md, section 9): who wrote the snapshot, as far as those
 * know who have the key. */

#define AUTH_BYTES       64u
#define AUTH_HMAC_SHA256 1u

enum auth_covers { AUTH_CONFIG = 1, AUTH_ALL = 2 };

/* What a MAC covers. state and memory: AUTH_ALL only. */
struct auth_text {
	const struct snap_header *header;
	const void               *config, *state;
	size_t                    config_len, state_len;
	const uint8_t            *memory; /* its digest, 16 bytes */
};

int auth_put(uint8_t out[AUTH_BYTES], enum auth_covers covers, const struct hostkey *k,
	     const struct auth_text *t, struct fail *why);
/* What can be checked without the key: FAIL_CORRUPT. *covers is 0 for an algorithm that this build
 * does not know. */
int auth_get(unsigned *covers, const uint8_t *in, size_t len, uint64_t at, struct fail *why);
int auth_check(enum snap_auth *out, const uint8_t in[AUTH_BYTES], enum auth_covers covers,
	       const struct hostkey *k, const struct auth_text *t, struct fail *why);

#endif
