/* SPDX-License-Identifier: MIT */
#include "libcommon/option_internal.h"

#include "libcommon/units.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct option_unit {
	uint64_t    size;
	const char *name;
};

static const struct option_unit size_units[] = {
	{ (uint64_t)1 << 40, "T" }, { 1 << 30, "G" }, { 1 << 20, "M" }, { 1 << 10, "K" }, { 1, "" },
};
static const struct option_unit time_units[] = {
	{ 3600 * OPTION_S, "h" }, { 60 * OPTION_S, "m" }, { OPTION_S, "s" },
	{ OPTION_MS, "ms" }, { 1000, "us" }, { 1, "ns" },
};

/* n in the largest unit that divides it. */
static void option_number(const struct option_row *r, uint64_t n, char *out, size_t capacity)
{
	const struct option_unit *u = r->kind == OPTION_SIZE ? size_units : time_units;

	switch (r->kind) {
	case OPTION_INT:
		snprintf(out, capacity, "%" PRId64, (int64_t)n);
		return;
	case OPTION_SIZE:
	case OPTION_TIME:
		while (n && n % u->size)
			u++;
		snprintf(out, capacity, "%" PRIu64 "%s", n ? n / u->size : 0, n ? u->name : "");
		return;
	default:
		snprintf(out, capacity, "%" PRIu64, n);
	}
}

static const char *option_words(const struct option_row *r, const char *between,
				char out[OPTION_TEXT])
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < r->nwords && at < OPTION_TEXT; i++)
		at += (size_t)snprintf(out + at, OPTION_TEXT - at, "%s%s", i ? between : "",
				r->words[i]);
	return out;
}

const char *option_arg(const struct option_row *r, char out[OPTION_TEXT])
{
	if (!r->arg)
		return option_words(r, "|", out);
	snprintf(out, OPTION_TEXT, "%s", r->arg);
	return out;
}

const char *option_range(const struct option_row *r, char out[OPTION_TEXT])
{
	char min[32], max[32], step[48] = "";

	out[0] = '\0';
	if (r->nwords && r->kind != OPTION_SET)
		return option_words(r, ", ", out);
	if (r->kind == OPTION_SET)
		snprintf(out, OPTION_TEXT, "%s", r->valid ? r->valid : "");
	if (r->kind < OPTION_INT || r->kind > OPTION_TIME)
		return out;
	option_number(r, r->min, min, sizeof(min));
	option_number(r, r->max, max, sizeof(max));
	if (r->step) {
		strcpy(step, " in steps of ");
		option_number(r, r->step, step + strlen(step), sizeof(step) - strlen(step));
	}
	if (r->max == UINT64_MAX && r->kind != OPTION_INT)
		snprintf(out, OPTION_TEXT, "%s or more%s", min, step);
	else
		snprintf(out, OPTION_TEXT, "%s to %s%s", min, max, step);
	return out;
}

static int option_invalid(const struct option_row *r, const char *text, struct fail *why)
{
	char        range[OPTION_TEXT];
	const char *between = r->implied ? "=" : " ", *shown = text[0] ? text : "''";

	if (!option_range(r, range)[0])
		return fail_set(why, FAIL_USAGE, "--%s%s%.80s: invalid value", r->name, between,
				shown);
	return fail_set(why, FAIL_USAGE, "--%s%s%.80s: invalid value (valid: %s)", r->name, between,
			shown, range);
}

static bool option_int(const struct option_row *r, const char *text, int *out)
{
	bool     minus = text[0] == '-';
	int64_t  value;
	uint64_t n;

	if (!units_number(&n, text + minus, 0, INT32_MAX))
		return false;
	value = minus ? -(int64_t)n : (int64_t)n;
	if (value < (int64_t)r->min || value > (int64_t)r->max)
		return false;
	*out = (int)value;
	return true;
}

static bool option_unsigned(const struct option_row *r, const char *text, uint64_t *out)
{
	uint64_t n;
	bool     good;

	if (r->kind == OPTION_SIZE)
		good = units_size(&n, text);
	else if (r->kind == OPTION_TIME)
		good = units_duration(&n, text);
	else
		good = units_number(&n, text, 0, UINT64_MAX);
	if (!good || n < r->min || n > r->max || (r->step && n % r->step))
		return false;
	*out = n;
	return true;
}

static bool option_word(const struct option_row *r, const char *text, unsigned *out)
{
	for (*out = 0; *out < r->nwords; ++*out)
		if (!strcmp(text, r->words[*out]))
			return true;
	return false;
}

/* Into a target of OPTION_WORD to OPTION_TIME. */
static bool option_scalar(const struct option_row *r, void *target, const char *text)
{
	unsigned word;
	uint64_t n;

	switch (r->kind) {
	case OPTION_INT:
		return option_int(r, text, target);
	case OPTION_WORD:
		if (!option_word(r, text, &word))
			return false;
		*(unsigned *)target = word;
		return true;
	case OPTION_U32:
		if (!option_unsigned(r, text, &n))
			return false;
		*(uint32_t *)target = (uint32_t)n;
		return true;
	default:
		return option_unsigned(r, text, target);
	}
}

static int option_string(const struct option_row *r, const char **target, const char *text,
			 struct fail *why)
{
	size_t   n = strlen(text);
	unsigned word;

	if (r->nwords && !option_word(r, text, &word))
		return option_invalid(r, text, why);
	if (n < r->min || n > r->max)
		return fail_set(why, FAIL_USAGE,
				"--%s: invalid length %zu (valid: %" PRIu64 " to %" PRIu64
				" characters)", r->name, n, r->min, r->max);
	*target = text;
	return 0;
}

int option_set(const struct option_row *r, void *o, const char *text, struct fail *why)
{
	void *target = (char *)o + r->offset;

	switch (r->kind) {
	case OPTION_FLAG:
		*(bool *)target = true;
		return 0;
	case OPTION_STRING:
		return option_string(r, target, text, why);
	case OPTION_SET:
		why->kind = FAIL_NONE;
		if (r->set(target, text, why) == 0)
			return 0;
		if (why->kind == FAIL_NONE)
			return option_invalid(r, text, why);
		return fail_prefix(why, "--%s: ", r->name);
	default:
		return option_scalar(r, target, text) ? 0 : option_invalid(r, text, why);
	}
}
