/* SPDX-License-Identifier: MIT */
#include "libcommon/units.h"
#include "libcommon/text.h"
#include "vminspect/properties.h"
#include "vminspect/open_snapshot.h"
#include "vminspect/options.h"
#include "vminspect/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The hashes hold and the trees agree; now each state section as a restore would load it. */
static int verify_state(const struct snapshot_view *v, struct fail *why)
{
	if (machine_check_state(&v->state, v->trees[1], v->lens[1], why))
		return fail_prefix(why, "%s: ", v->in.what);
	return 0;
}

static uint64_t verify_pages(const struct snapshot_view *v)
{
	uint64_t n = 0;

	for (uint32_t r = 0; r < LIMIT_REGIONS; r++)
		n += v->finals[r][PAGE_DATA] + v->finals[r][PAGE_ZERO];
	return n;
}

static int verify_sound_text(const struct snapshot_view *v, json_t *unknown)
{
	char    size[UNITS_TEXT], hex[33];
	json_t *s;
	size_t  i;

	printf("%s: valid: %" PRIu64 " page%s in %" PRIu64 " chunk%s, %s\n", v->in.what,
	       verify_pages(v), verify_pages(v) == 1 ? "" : "s", v->rounds.chunks,
	       v->rounds.chunks == 1 ? "" : "s", units_bytes(v->bytes, size));
	printf("file    %s\n", text_hex(v->digests.file, 16, hex));
	printf("memory  %s\n", text_hex(v->digests.memory, 16, hex));
	printf("machine %s\n", text_hex(v->digests.machine, 16, hex));
	json_array_foreach(unknown, i, s)
		printf("unknown %s\n", json_string_value(s));
	return 0;
}

static json_t *verify_sound_json(const struct snapshot_view *v, json_t *unknown)
{
	return json_pack("{s:b,s:o,s:o,s:o,s:o,s:o,s:o,s:O}", "sound", 1, "bytes",
			 show_json_u64(v->bytes), "chunks", show_json_u64(v->rounds.chunks),
			 "pages", show_json_u64(verify_pages(v)), "file",
			 show_json_hex(v->digests.file, 16), "memory",
			 show_json_hex(v->digests.memory, 16), "machine",
			 show_json_hex(v->digests.machine, 16), "unknown", unknown);
}

static json_t *verify_damage_json(const struct fail *why)
{
	static const char *const kinds[FAIL_KINDS] = {
		[FAIL_CORRUPT] = "corrupt", [FAIL_VERSION] = "version", [FAIL_LIMIT] = "limit",
	};
	const char *kind = kinds[why->kind] ? kinds[why->kind] : "other";

	return json_pack("{s:b,s:s,s:o,s:o}", "sound", 0, "kind", kind, "at",
			 why->has_at ? show_json_u64(why->at) : json_null(), "what",
			 show_json_text(why->what));
}

int verify_run(const struct args *a, struct fail *why)
{
	const struct view_want want    = { .verify = true };
	struct snapshot_view  *v       = NULL;
	json_t                *unknown = NULL;
	int                    rc      = -1;

	if (view_open(&v, a->file, &want, why) || verify_state(v, why)) {
		if (a->json && fail_status(why->kind) == 3)
			show_json(verify_damage_json(why));
		goto out;
	}
	unknown = properties_unknown(v->trees);
	if (!unknown)
		fail_set(why, FAIL_SYSTEM, "out of memory");
	else if (a->json ? show_json(verify_sound_json(v, unknown)) : verify_sound_text(v, unknown))
		fail_sys(why, "standard output");
	else
		rc = 0;
out:
	json_decref(unknown);
	view_close(v);
	return rc;
}
