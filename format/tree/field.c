/* SPDX-License-Identifier: MIT */
#include "format/tree/field.h"

#include "format/tree/field_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t field_width(const struct field *f)
{
	switch (f->type) {
	case FIELD_BOOL:  return sizeof(bool);
	case FIELD_U8:
	case FIELD_BYTES:
	case FIELD_STR:   return 1;
	case FIELD_U16:   return 2;
	case FIELD_U32:   return 4;
	case FIELD_U64:   return 8;
	case FIELD_END:   break;
	}
	return 0;
}

size_t field_cell_bytes(const struct field *f)
{
	switch (f->type) {
	case FIELD_BOOL:
	case FIELD_U8:
	case FIELD_U16:
	case FIELD_U32:   return 4;
	case FIELD_U64:   return 8;
	case FIELD_BYTES:
	case FIELD_STR:   return 1;
	case FIELD_END:   break;
	}
	return 0;
}

/* Properties that mean something else in any device tree, so that dtc and other readers would
 * misread them. */
static bool field_name_reserved(const char *name)
{
	static const char *const reserved[] = {
		"status", "label", "model", "compatible", "device_type", "name", "reg", "ranges",
		"phandle", "interrupts", "version", "needs",
	};

	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
		if (strcmp(name, reserved[i]) == 0)
			return true;
	return false;
}

void field_property(const struct field *f, char out[FIELD_NAME_MAX])
{
	snprintf(out, FIELD_NAME_MAX, "%s%s", field_name_reserved(f->name) ? "saved-" : "",
		 f->name);
	for (char *c = out; *c; c++)
		if (*c == '_')
			*c = '-';
}

uint64_t state_value(const struct field *f, const void *s, uint32_t i)
{
	const uint8_t *p = (const uint8_t *)s + f->offset + i * field_width(f);
	uint64_t       v64;
	uint32_t       v32;
	uint16_t       v16;

	switch (f->type) {
	case FIELD_BOOL:
	case FIELD_U8:
	case FIELD_BYTES:
	case FIELD_STR:
		return *p;
	case FIELD_U16:
		memcpy(&v16, p, sizeof(v16));
		return v16;
	case FIELD_U32:
		memcpy(&v32, p, sizeof(v32));
		return v32;
	case FIELD_U64:
		memcpy(&v64, p, sizeof(v64));
		return v64;
	case FIELD_END:
		break;
	}
	return 0;
}

void field_put(const struct field *f, void *s, uint32_t i, uint64_t value)
{
	uint8_t *p   = (uint8_t *)s + f->offset + i * field_width(f);
	uint16_t v16 = (uint16_t)value;
	uint32_t v32 = (uint32_t)value;

	switch (f->type) {
	case FIELD_BOOL:
	case FIELD_U8:
	case FIELD_BYTES:
	case FIELD_STR:
		*p = (uint8_t)value;
		return;
	case FIELD_U16:
		memcpy(p, &v16, sizeof(v16));
		return;
	case FIELD_U32:
		memcpy(p, &v32, sizeof(v32));
		return;
	case FIELD_U64:
		memcpy(p, &value, sizeof(value));
		return;
	case FIELD_END:
		return;
	}
}

uint32_t field_used(const struct field *f, const void *s)
{
	const uint8_t *p = (const uint8_t *)s + f->used_offset;
	uint32_t       v32;

	if (f->used_width == 1)
		return *p;
	memcpy(&v32, p, sizeof(v32));
	return v32;
}

void field_use(const struct field *f, void *s, uint32_t n)
{
	uint8_t *p = (uint8_t *)s + f->used_offset;

	if (f->used_width == 1)
		*p = (uint8_t)n;
	else
		memcpy(p, &n, sizeof(n));
}

uint32_t state_elements(const struct field *f, const void *s)
{
	uint32_t n = f->used_width ? field_used(f, s) : f->count;

	return n < f->count ? n : f->count;
}

int field_bounds(const struct field *f, uint32_t i, uint64_t value, struct fail *why)
{
	char index[16] = "";

	if (value >= f->min && value <= f->max)
		return 0;
	if (f->count > 1)
		snprintf(index, sizeof(index), "[%" PRIu32 "]", i);
	return fail_set(why, FAIL_CORRUPT, "%s%s: 0x%" PRIx64 " out of range (valid: 0x%" PRIx64
			" to 0x%" PRIx64 ")", f->name, index, value, f->min, f->max);
}

bool field_unit(const char *node, bool *has_unit, uint32_t *unit)
{
	const char   *at = strchr(node, '@');
	char         *end;
	unsigned long v;
	char          again[16];

	*has_unit = at != NULL;
	*unit     = 0;
	if (!at)
		return true;
	v = strtoul(at + 1, &end, 16);
	if (v > UINT32_MAX || *end)
		return false;
	/* One spelling for each number: "@01" and "@0x1" would be second names for one section. */
	snprintf(again, sizeof(again), "%lx", v);
	if (strcmp(again, at + 1))
		return false;
	*unit = (uint32_t)v;
	return true;
}

const struct field *state_differs(const struct state_table *t, const void *a, const void *b,
				  uint32_t *element)
{
	for (const struct field *f = t->fields; f->type != FIELD_END; f++) {
		if (f->type == FIELD_STR) {
			/* What follows the NUL is not part of the value. */
			if (strncmp((const char *)a + f->offset, (const char *)b + f->offset,
				    f->count) == 0)
				continue;
			*element = 0;
			return f;
		}

		const uint32_t na = state_elements(f, a), nb = state_elements(f, b);

		for (uint32_t i = 0; i < na || i < nb; i++) {
			if (i == na || i == nb || state_value(f, a, i) != state_value(f, b, i)) {
				*element = i;
				return f;
			}
		}
	}
	return NULL;
}

const struct field *state_field_find(const struct state_table *t, const char *property)
{
	char name[FIELD_NAME_MAX];

	for (const struct field *f = t->fields; f->type != FIELD_END; f++) {
		field_property(f, name);
		if (strcmp(name, property) == 0)
			return f;
	}
	return NULL;
}

const struct state_table *state_table_find(const char *node)
{
	size_t len = strcspn(node, "@");

	for (const struct state_table *const *t = state_tables; *t; t++)
		if (strlen((*t)->name) == len && memcmp((*t)->name, node, len) == 0)
			return *t;
	return NULL;
}
