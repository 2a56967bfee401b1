/* SPDX-License-Identifier: MIT */
#include "vmmigrate/message_internal.h"

#include "libcommon/bytes.h"
#include "libcommon/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int message_invalid(const char *name, const char *what, struct fail *why)
{
	return fail_set(why, FAIL_PEER, "message: %s: %s", name, what);
}

int message_number(const json_t *v, uint64_t *out)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return -1;
	*out = (uint64_t)json_integer_value(v);
	return 0;
}

/* An array that fits struct message. Checked before any of it is stored. */
static int message_array(const json_t *v, size_t max, const char *name, struct fail *why)
{
	if (json_is_array(v) && json_array_size(v) <= max)
		return 0;
	return fail_set(why, FAIL_PEER, "message: %s: invalid array (at most %zu entries)", name,
			max);
}

/* An array of exactly n numbers, such as [region, first, pages]. */
static int message_numbers(const json_t *v, uint64_t *out, size_t n)
{
	if (!json_is_array(v) || json_array_size(v) != n)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (message_number(json_array_get(v, i), &out[i]))
			return -1;
	return 0;
}

/* ---- features, regions, extents, list ---- */

int message_features_get(struct message *m, const json_t *v, const char *name, struct fail *why)
{
	if (message_array(v, MESSAGE_FEATURES, name, why))
		return -1;
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *t = json_array_get(v, i);

		if (!json_is_string(t) || json_string_length(t) >= sizeof(m->features[0]))
			return message_invalid(name, "invalid string", why);
		snprintf(m->features[m->nfeatures++], sizeof(m->features[0]), "%s",
			 json_string_value(t));
	}
	return 0;
}

json_t *message_features_put(const struct message *m)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < m->nfeatures; i++)
		json_array_append_new(a, json_string(m->features[i]));
	return a;
}

int message_regions_get(struct message *m, const json_t *v, const char *name, struct fail *why)
{
	if (message_array(v, MESSAGE_REGIONS, name, why))
		return -1;
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t          *o = json_array_get(v, i);
		struct message_region *r = &m->regions[m->nregions++];

		if (message_number(json_object_get(o, "id"), &r->id) ||
		    message_number(json_object_get(o, "size"), &r->size) ||
		    message_number(json_object_get(o, "populated"), &r->populated))
			return message_invalid(name, "invalid id, size or populated", why);
	}
	return 0;
}

json_t *message_regions_put(const struct message *m)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < m->nregions; i++) {
		const struct message_region *r = &m->regions[i];

		json_array_append_new(a, json_pack("{s:I, s:I, s:I}", "id", (json_int_t)r->id,
						   "size", (json_int_t)r->size, "populated",
						   (json_int_t)r->populated));
	}
	return a;
}

int message_extents_get(struct message *m, const json_t *v, const char *name, struct fail *why)
{
	if (message_array(v, MESSAGE_EXTENTS, name, why))
		return -1;
	for (size_t i = 0; i < json_array_size(v); i++) {
		uint64_t n[3];

		if (message_numbers(json_array_get(v, i), n, 3))
			return message_invalid(name,
				"invalid entry (expected [region, first, pages])", why);
		m->extents[m->nextents++] = (struct message_extent){
			.region = n[0], .first = n[1], .count = n[2],
		};
	}
	return 0;
}

json_t *message_extents_put(const struct message *m)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < m->nextents; i++) {
		const struct message_extent *e = &m->extents[i];

		json_array_append_new(a, json_pack("[I, I, I]", (json_int_t)e->region,
						   (json_int_t)e->first, (json_int_t)e->count));
	}
	return a;
}

int message_list_get(struct message *m, const json_t *v, const char *name, struct fail *why)
{
	if (message_array(v, MESSAGE_LIST, name, why))
		return -1;
	for (size_t i = 0; i < json_array_size(v); i++) {
		uint64_t n[2];

		if (message_numbers(json_array_get(v, i), n, 2))
			return message_invalid(name, "invalid entry (expected [region, page])",
					       why);
		m->list[m->nlist++] = (struct message_page){ .region = n[0], .page = n[1] };
	}
	return 0;
}

json_t *message_list_put(const struct message *m)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < m->nlist; i++)
		json_array_append_new(a, json_pack("[I, I]", (json_int_t)m->list[i].region,
						   (json_int_t)m->list[i].page));
	return a;
}

/* ---- images, wants ---- */

/* -1 for anything but 0-9 and a-f: digests and hashes have one spelling. */
static int message_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int message_image_name(struct message_image *i, const json_t *v)
{
	if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v) ||
	    !paths_name_ok(json_string_value(v)))
		return -1;
	snprintf(i->name, sizeof(i->name), "%s", json_string_value(v));
	return 0;
}

static int message_image_sha256(struct message_image *i, const json_t *v)
{
	const char *s = json_is_string(v) ? json_string_value(v) : "";

	if (strlen(s) != 2 * sizeof(i->sha256))
		return -1;
	for (size_t k = 0; k < sizeof(i->sha256); k++) {
		int hi = message_hex_digit(s[2 * k]), lo = message_hex_digit(s[2 * k + 1]);

		if (hi < 0 || lo < 0)
			return -1;
		i->sha256[k] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

int message_images_get(struct message *m, const json_t *v, const char *name, struct fail *why)
{
	if (message_array(v, MESSAGE_IMAGES, name, why))
		return -1;
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t         *o     = json_array_get(v, i);
		struct message_image *image = &m->images[m->nimages++];

		memset(image, 0, sizeof(*image));
		if (message_image_name(image, json_object_get(o, "name")) ||
		    message_number(json_object_get(o, "size"), &image->size) ||
		    message_image_sha256(image, json_object_get(o, "sha256")))
			return message_invalid(name,
				"invalid entry (expected name, size and sha256)", why);
	}
	return 0;
}

json_t *message_images_put(const struct message *m)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < m->nimages; i++) {
		const struct message_image *image = &m->images[i];
		char                        hex[2 * MESSAGE_SHA256 + 1];

		json_array_append_new(a, json_pack("{s:s, s:I, s:s}", "name", image->name, "size",
						   (json_int_t)image->size, "sha256",
						   text_hex(image->sha256, MESSAGE_SHA256, hex)));
	}
	return a;
}

int message_wants_get(struct message *m, const json_t *v, const char *name, struct fail *why)
{
	if (message_array(v, MESSAGE_IMAGES, name, why))
		return -1;
	for (size_t i = 0; i < json_array_size(v); i++) {
		struct message_image *image = &m->images[m->nimages++];

		memset(image, 0, sizeof(*image));
		if (message_image_name(image, json_array_get(v, i)))
			return message_invalid(name, "invalid name", why);
	}
	return 0;
}

json_t *message_wants_put(const struct message *m)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < m->nimages; i++)
		json_array_append_new(a, json_string(m->images[i].name));
	return a;
}

/* ---- hashes ---- */

/* One string with 16 digits a page: smaller than an array and faster to parse, since all this
 * happens during the pause. Read after `pages`, which says how many there must be. */
int message_hashes_get(struct message *m, const json_t *v, const char *name, struct fail *why)
{
	const char *s = json_string_value(v);
	size_t      n = json_string_length(v) / 16;

	if (!s || json_string_length(v) % 16 || n > MESSAGE_AUDIT_PAGES || n != m->pages)
		return message_invalid(name, "invalid length (expected 16 hex digits a page)", why);
	for (size_t i = 0; i < n; i++) {
		uint64_t h = 0;

		for (size_t k = 0; k < 16; k++) {
			int digit = message_hex_digit(s[i * 16 + k]);

			if (digit < 0)
				return message_invalid(name, "invalid hex digit", why);
			h = h << 4 | (unsigned)digit;
		}
		m->hashes[i] = h;
	}
	return 0;
}

json_t *message_hashes_put(const struct message *m)
{
	size_t  n = m->pages <= MESSAGE_AUDIT_PAGES ? (size_t)m->pages : 0;
	char   *s;
	json_t *v;
	uint8_t be[8];

	if (m->zero)
		return NULL;
	s = malloc(n * 16 + 1);
	if (!s)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		put_be64(be, m->hashes[i]);
		text_hex(be, sizeof(be), s + i * 16);
	}
	v = json_stringn(s, n * 16);
	free(s);
	return v;
}

/* ---- state, from ---- */

int message_state_get(struct message *m, const json_t *v, const char *name, struct fail *why)
{
	for (unsigned i = 0; json_is_string(v) && i < ANSWER_STATES; i++) {
		if (!strcmp(json_string_value(v), answer_state_names[i])) {
			m->state = (enum answer_state)i;
			return 0;
		}
	}
	return message_invalid(name, "invalid state", why);
}

json_t *message_state_put(const struct message *m)
{
	return json_string(answer_state_names[m->state]);
}

int message_from_get(struct message *m, const json_t *v, const char *name, struct fail *why)
{
	const char *s = json_is_string(v) ? json_string_value(v) : "";

	m->from_target = !strcmp(s, "target");
	if (m->from_target || !strcmp(s, "source"))
		return 0;
	return message_invalid(name, "invalid value (valid: source, target)", why);
}

json_t *message_from_put(const struct message *m)
{
	return json_string(m->from_target ? "target" : "source");
}
