/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_HOSTKEY_H
#define LIBCOMMON_HOSTKEY_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The key by which this user's tools on this host recognise what they wrote themselves: 32 random
 * bytes in `snapshot.key` of the state folder (paths_state()), mode 0600, created at first use. It
 * is never printed, logged or sent. Whoever has it can write snapshots whose recorded paths vmrun
 * opens; hosts that share the folder trust each other. */

#define HOSTKEY_BYTES    32u
#define HOSTKEY_ID_BYTES 16u
#define HOSTKEY_MAC_BYTES        32u

struct hostkey {
	uint8_t b[HOSTKEY_BYTES];
};

/* Reads the key. create: creates it when there is none, fsynced with its folder; of several
 * processes that do so at once all read the same one. FAIL_SYSTEM when there is none and create is
 * not set, and when folder or file belong to another user, can be written by others (the file: or
 * read), or are of another type or size. */
int  hostkey_open(struct hostkey *k, bool create, struct fail *why);
void hostkey_clear(struct hostkey *k);

/* HMAC-SHA-256 under the key over the parts, each preceded by its length as 8 bytes, little-endian.
 * The first part should be a text that names the purpose. */
struct hostkey_part {
	const void *data;
	size_t      len;
};
int hostkey_mac(const struct hostkey *k, const struct hostkey_part *parts, size_t n,
		uint8_t out[HOSTKEY_MAC_BYTES], struct fail *why);

/* Identifies a key without revealing it. */
int hostkey_id(const struct hostkey *k, uint8_t out[HOSTKEY_ID_BYTES], struct fail *why);

/* In constant time. */
bool hostkey_mac_same(const uint8_t a[HOSTKEY_MAC_BYTES], const uint8_t b[HOSTKEY_MAC_BYTES]);

#endif
