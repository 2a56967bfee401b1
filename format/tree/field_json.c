/* SPDX-License-Identifier: MIT */
#include "format/tree/field.h"
#include "format/tree/field_internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* JSON readers keep 53 bits, jansson 63: what is shown in hex, and decimals beyond, travel as
 * text. */
static json_t *field_json_number(const struct field *f, uint64_t v)
{
	char text[24];

	if (f->type == FIELD_BOOL)
		return json_boolean(v);
	if (f->show == SHOW_HEX) {
		snprintf(text, sizeof(text), "0x%" PRIx64, v);
		return json_string(text);
	}
	if (v > INT64_MAX) {
		snprintf(text, sizeof(text), "%" PRIu64, v);
		return json_string(text);
	}
	return json_integer((json_int_t)v);
}

static json_t *field_json_bytes(const struct field *f, const void *s)
{
	uint32_t n    = state_elements(f, s);
	char    *text = malloc(2 * (size_t)n + 1);
	json_t  *j;

	if (!text)
		return NULL;
	text[0] = '\0';
	for (uint32_t i = 0; i < n; i++)
		snprintf(text + 2 * (size_t)i, 3, "%02x", (unsigned)state_value(f, s, i));
	j = json_string(text);
	free(text);
	return j;
}

static json_t *field_json_text(const struct field *f, const void *s)
{
	const char *p   = (const char *)s + f->offset;
	size_t      len = strnlen(p, f->count);
	json_t     *j   = json_stringn(p, len);
	char       *latin;

	if (j)
		return j;
	/* Not UTF-8: each odd byte as '?', rather than no object at all. */
	latin = malloc(len + 1);
	if (!latin)
		return NULL;
	for (size_t i = 0; i < len; i++)
		latin[i] = (char)((unsigned char)p[i] < 0x80 ? p[i] : '?');
	j = json_stringn(latin, len);
	free(latin);
	return j;
}

static json_t *field_json_array(const struct field *f, const void *s)
{
	uint32_t n = state_elements(f, s);
	json_t  *j = json_array();

	for (uint32_t i = 0; j && i < n; i++) {
		if (json_array_append_new(j, field_json_number(f, state_value(f, s, i)))) {
			json_decref(j);
			return NULL;
		}
	}
	return j;
}

struct json_t *state_json(const struct state_table *t, const void *s)
{
	json_t *j = json_object();

	for (const struct field *f = t->fields; j && f->type != FIELD_END; f++) {
		json_t *v;

		if (f->type == FIELD_BYTES)
			v = field_json_bytes(f, s);
		else if (f->type == FIELD_STR)
			v = field_json_text(f, s);
		else if (f->count > 1 || f->used_width)
			v = field_json_array(f, s);
		else
			v = field_json_number(f, state_value(f, s, 0));
		if (json_object_set_new(j, f->name, v)) {      /* fails on NULL too */
			json_decref(j);
			return NULL;
		}
	}
	return j;
}
