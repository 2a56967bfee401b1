/* SPDX-License-Identifier: MIT */
#include "format/snapshot/auth.h"

#include "format/snapshot/snapshot_internal.h"
#include "libcommon/bytes.h"

enum { AT_ALGORITHM = 0, AT_COVERS = 4, AT_RESERVED = 8, AT_KEY = 16, AT_MAC = 32 };

static int auth_mac(uint8_t out[HOSTKEY_MAC_BYTES], enum auth_covers covers,
		    const struct hostkey *k,
		    const struct auth_text *t, struct fail *why)
{
	static const char  config[] = "vmferry snapshot configuration", all[] = "vmferry snapshot";
	uint8_t            header[SNAP_HEADER_BYTES];
	struct snap_header complete = *t->header;

	/* INCOMPLETE is cleared, and the hash changed with it, after this has been written. */
	complete.incomplete = false;
	snap_header_put(header, &complete);

	const struct hostkey_part parts[] = {
		{ covers == AUTH_ALL ? all : config,
		  covers == AUTH_ALL ? sizeof(all) - 1 : sizeof(config) - 1 },
		{ header, sizeof(header) },
		{ t->config, t->config_len },
		{ t->state, t->state_len },
		{ t->memory, 16 },
	};

	return hostkey_mac(k, parts, covers == AUTH_ALL ? 5 : 3, out, why);
}

int auth_put(uint8_t out[AUTH_BYTES], enum auth_covers covers, const struct hostkey *k,
	     const struct auth_text *t, struct fail *why)
{
	memset(out, 0, AUTH_BYTES);
	put_le32(out + AT_ALGORITHM, AUTH_HMAC_SHA256);
	put_le32(out + AT_COVERS, covers);
	if (hostkey_id(k, out + AT_KEY, why))
		return -1;
	return auth_mac(out + AT_MAC, covers, k, t, why);
}

int auth_get(unsigned *covers, const uint8_t *in, size_t len, uint64_t at, struct fail *why)
{
	if (len != AUTH_BYTES)
		return fail_at(why, FAIL_CORRUPT, at,
			       "auth chunk: invalid length: %zu bytes, expected %u", len,
			       AUTH_BYTES);
	*covers = get_le32(in + AT_COVERS);
	if ((*covers != AUTH_CONFIG && *covers != AUTH_ALL) ||
	    !bytes_all_zero(in + AT_RESERVED, AT_KEY - AT_RESERVED))
		return fail_at(why, FAIL_CORRUPT, at,
			       "auth chunk: invalid coverage, or reserved bytes not zero");
	if (get_le32(in + AT_ALGORITHM) != AUTH_HMAC_SHA256)
		*covers = 0;
	return 0;
}

int auth_check(enum snap_auth *out, const uint8_t in[AUTH_BYTES], enum auth_covers covers,
	       const struct hostkey *k, const struct auth_text *t, struct fail *why)
{
	uint8_t id[HOSTKEY_ID_BYTES], mac[HOSTKEY_MAC_BYTES];

	if (hostkey_id(k, id, why) || auth_mac(mac, covers, k, t, why))
		return -1;
	*out = hostkey_mac_same(in + AT_MAC, mac)               ? SNAP_AUTH_OK
	     : memcmp(in + AT_KEY, id, sizeof(id)) == 0 ? SNAP_AUTH_ALTERED
							: SNAP_AUTH_OTHER;
	return 0;
}
