/* SPDX-License-Identifier: MIT */
#include "vmmigrate/message.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const message_type_names[MESSAGE_TYPES] = {
	[MSG_HELLO] = "HELLO",         [MSG_AGREE] = "AGREE",       [MSG_ROUND] = "ROUND",         [MSG_ROUND_ACK] = "ROUND-ACK",
	[MSG_RESEND] = "RESEND",       [MSG_RESENT] = "RESENT",     [MSG_AUDIT] = "AUDIT",         [MSG_AUDIT_END] = "AUDIT-END",
	[MSG_AUDITED] = "AUDITED",     [MSG_READY] = "READY",       [MSG_RELEASED] = "RELEASED",   [MSG_GO] = "GO",
	[MSG_RUNNING] = "RUNNING",     [MSG_RETURNED] = "RETURNED", [MSG_ABORT] = "ABORT",         [MSG_QUERY] = "QUERY",
	[MSG_ANSWER] = "ANSWER",       [MSG_STOPPED] = "STOPPED",
};

const char *const answer_state_names[ANSWER_STATES] = {
	[ANSWER_READY] = "ready",         [ANSWER_RELEASED] = "released",   [ANSWER_OWNED] = "owned",     [ANSWER_RETURNED] = "returned",
	[ANSWER_ABORTED] = "aborted",     [ANSWER_UNDECIDED] = "undecided", [ANSWER_UNKNOWN] = "unknown",
	[ANSWER_SUPERSEDED] = "superseded",
};

enum member_kind { MEMBER_UUID, MEMBER_TEXT, MEMBER_NUMBER, MEMBER_BOOL, MEMBER_OTHER };

struct member;
typedef int member_get(struct message *m, const json_t *v, const struct member *d, struct fail *why);
typedef json_t *member_put(const struct message *m);

struct member {
	const char      *name;
	enum member_kind kind;
	size_t           offset, size;
	uint64_t         in, optional;      /* sets of 1 << enum message_type that have it, and those that may leave it out */
	member_get      *get;               /* MEMBER_OTHER */
	member_put      *put;               /* NULL from it: left out */
};

static int member_bad(const struct member *d, const char *what, struct fail *why)
{
	return fail_set(why, FAIL_PEER, "message: %s: %s", d->name, what);
}

static int number_get(const json_t *v, uint64_t *out)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return -1;
	*out = (uint64_t)json_integer_value(v);
	return 0;
}

/* A row of `n` numbers, as [region, first, pages]. */
static int numbers_get(const json_t *v, uint64_t *out, size_t n)
{
	if (!json_is_array(v) || json_array_size(v) != n)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (number_get(json_array_get(v, i), &out[i]))
			return -1;
	return 0;
}

static int features_get(struct message *m, const json_t *v, const struct member *d, struct fail *why)
{
	if (!json_is_array(v) || json_array_size(v) > MESSAGE_FEATURES)
		return member_bad(d, "invalid array of strings", why);
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t *t = json_array_get(v, i);

		if (!json_is_string(t) || json_string_length(t) >= sizeof(m->features[0]))
			return member_bad(d, "invalid string", why);
		snprintf(m->features[m->nfeatures++], sizeof(m->features[0]), "%s", json_string_value(t));
	}
	return 0;
}

static json_t *features_put(const struct message *m)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < m->nfeatures; i++)
		json_array_append_new(a, json_string(m->features[i]));
	return a;
}

static int regions_get(struct message *m, const json_t *v, const struct member *d, struct fail *why)
{
	if (!json_is_array(v) || json_array_size(v) > MESSAGE_REGIONS)
		return member_bad(d, "invalid array of regions", why);
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t          *o = json_array_get(v, i);
		struct message_region *r = &m->regions[m->nregions++];

		if (number_get(json_object_get(o, "id"), &r->id) || number_get(json_object_get(o, "size"), &r->size) ||
		    number_get(json_object_get(o, "populated"), &r->populated))
			return member_bad(d, "invalid id, size or populated", why);
	}
	return 0;
}

static json_t *regions_put(const struct message *m)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < m->nregions; i++)
		json_array_append_new(a, json_pack("{s:I, s:I, s:I}", "id", (json_int_t)m->regions[i].id, "size",
						   (json_int_t)m->regions[i].size, "populated", (json_int_t)m->regions[i].populated));
	return a;
}

static int extents_get(struct message *m, const json_t *v, const struct member *d, struct fail *why)
{
	if (!json_is_array(v) || json_array_size(v) > MESSAGE_EXTENTS)
		return member_bad(d, "invalid array (at most 1024 entries)", why);
	for (size_t i = 0; i < json_array_size(v); i++) {
		uint64_t n[3];

		if (numbers_get(json_array_get(v, i), n, 3))
			return member_bad(d, "invalid entry (expected [region, first, pages])",
					  why);
		m->extents[m->nextents++] = (struct message_extent){ .region = n[0], .first = n[1], .count = n[2] };
	}
	return 0;
}

static json_t *extents_put(const struct message *m)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < m->nextents; i++)
		json_array_append_new(a, json_pack("[I, I, I]", (json_int_t)m->extents[i].region, (json_int_t)m->extents[i].first,
						   (json_int_t)m->extents[i].count));
	return a;
}

static int list_get(struct message *m, const json_t *v, const struct member *d, struct fail *why)
{
	if (!json_is_array(v) || json_array_size(v) > MESSAGE_LIST)
		return member_bad(d, "invalid array (at most 64 entries)", why);
	for (size_t i = 0; i < json_array_size(v); i++) {
		uint64_t n[2];

		if (numbers_get(json_array_get(v, i), n, 2))
			return member_bad(d, "invalid entry (expected [region, page])", why);
		m->list[m->nlist++] = (struct message_page){ .region = n[0], .page = n[1] };
	}
	return 0;
}

static json_t *list_put(const struct message *m)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < m->nlist; i++)
		json_array_append_new(a, json_pack("[I, I]", (json_int_t)m->list[i].region, (json_int_t)m->list[i].page));
	return a;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int image_name_get(struct message_image *i, const json_t *v)
{
	if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v) || !paths_name_ok(json_string_value(v)))
		return -1;
	snprintf(i->name, sizeof(i->name), "%s", json_string_value(v));
	return 0;
}

/* SHA-256, two hex digits a byte. */
static int image_sha256_get(struct message_image *i, const json_t *v)
{
	const char *s = json_is_string(v) ? json_string_value(v) : "";

	if (strlen(s) != 2 * sizeof(i->sha256))
		return -1;
	for (size_t k = 0; k < sizeof(i->sha256); k++) {
		int hi = hex_digit(s[2 * k]), lo = hex_digit(s[2 * k + 1]);

		if (hi < 0 || lo < 0)
			return -1;
		i->sha256[k] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}

static int images_get(struct message *m, const json_t *v, const struct member *d, struct fail *why)
{
	if (!json_is_array(v) || json_array_size(v) > MESSAGE_IMAGES)
		return member_bad(d, "not an array of at most 2", why);
	for (size_t i = 0; i < json_array_size(v); i++) {
		const json_t         *o = json_array_get(v, i);
		struct message_image *image = &m->images[m->nimages++];

		memset(image, 0, sizeof(*image));
		if (image_name_get(image, json_object_get(o, "name")) || number_get(json_object_get(o, "size"), &image->size) ||
		    image_sha256_get(image, json_object_get(o, "sha256")))
			return member_bad(d, "invalid entry (expected name, size and sha256)", why);
	}
	return 0;
}

static json_t *images_put(const struct message *m)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < m->nimages; i++) {
		const struct message_image *image = &m->images[i];
		char                        hex[2 * MESSAGE_SHA256 + 1];

		for (size_t k = 0; k < sizeof(image->sha256); k++)
			sprintf(hex + 2 * k, "%02x", image->sha256[k]);
		json_array_append_new(a, json_pack("{s:s, s:I, s:s}", "name", image->name, "size", (json_int_t)image->size, "sha256", hex));
	}
	return a;
}

static int wants_get(struct message *m, const json_t *v, const struct member *d, struct fail *why)
{
	if (!json_is_array(v) || json_array_size(v) > MESSAGE_IMAGES)
		return member_bad(d, "not an array of at most 2", why);
	for (size_t i = 0; i < json_array_size(v); i++) {
		struct message_image *image = &m->images[m->nimages++];

		memset(image, 0, sizeof(*image));
		if (image_name_get(image, json_array_get(v, i)))
			return member_bad(d, "invalid name", why);
	}
	return 0;
}

static json_t *wants_put(const struct message *m)
{
	json_t *a = json_array();

	for (uint32_t i = 0; i < m->nimages; i++)
		json_array_append_new(a, json_string(m->images[i].name));
	return a;
}

static int hashes_get(struct message *m, const json_t *v, const struct member *d, struct fail *why)
{
	const char *s = json_string_value(v);
	size_t      n = json_string_length(v) / 16;

	if (!s || json_string_length(v) % 16 || n > MESSAGE_AUDIT_PAGES || n != m->pages)
		return member_bad(d, "invalid length (expected 16 hex digits a page)", why);
	for (size_t i = 0; i < n; i++) {
		uint64_t h = 0;

		for (size_t k = 0; k < 16; k++) {
			int digit = hex_digit(s[i * 16 + k]);

			if (digit < 0)
				return member_bad(d, "invalid hex digit", why);
			h = h << 4 | (unsigned)digit;
		}
		m->hashes[i] = h;
	}
	return 0;
}

static json_t *hashes_put(const struct message *m)
{
	static const char digits[] = "0123456789abcdef";
	size_t            n        = m->pages <= MESSAGE_AUDIT_PAGES ? (size_t)m->pages : 0;
	char             *s;

	if (m->zero)
		return NULL;
	s = malloc(n * 16 + 1);
	if (!s)
		return NULL;
	for (size_t i = 0; i < n * 16; i++)
		s[i] = digits[m->hashes[i / 16] >> (60 - 4 * (i % 16)) & 15];
	json_t *v = json_stringn(s, n * 16);

	free(s);
	return v;
}

static int state_get(struct message *m, const json_t *v, const struct member *d, struct fail *why)
{
	for (unsigned i = 0; json_is_string(v) && i < ANSWER_STATES; i++) {
		if (!strcmp(json_string_value(v), answer_state_names[i])) {
			m->state = (enum answer_state)i;
			return 0;
		}
	}
	return member_bad(d, "invalid state", why);
}

static json_t *state_put(const struct message *m)
{
	return json_string(answer_state_names[m->state]);
}

static int from_get(struct message *m, const json_t *v, const struct member *d, struct fail *why)
{
	const char *s = json_is_string(v) ? json_string_value(v) : "";

	m->from_target = !strcmp(s, "target");
	if (m->from_target || !strcmp(s, "source"))
		return 0;
	return member_bad(d, "invalid value (valid: source, target)", why);
}

static json_t *from_put(const struct message *m)
{
	return json_string(m->from_target ? "target" : "source");
}

#define IN(t)         ((uint64_t)1 << MSG_##t)
#define AT(m)         offsetof(struct message, m), sizeof(((struct message *)0)->m)
#define OF_MOVE       (IN(HELLO) | IN(READY) | IN(RELEASED) | IN(GO) | IN(RUNNING) | IN(RETURNED) | IN(ABORT) | IN(QUERY) | IN(ANSWER))
#define NUMBER(m, in) { #m, MEMBER_NUMBER, AT(m), (in), 0, NULL, NULL }
#define BOOL(m, in)   { #m, MEMBER_BOOL, AT(m), (in), 0, NULL, NULL }
#define TEXT(m, in)   { #m, MEMBER_TEXT, AT(m), (in), 0, NULL, NULL }

/* In the order of writing, and of reading: hashes come after pages and zero, which bound them. */
static const struct member members[] = {
	{ "vm",   MEMBER_UUID, AT(vm),   OF_MOVE, IN(ABORT), NULL, NULL },
	{ "move", MEMBER_UUID, AT(move), OF_MOVE, IN(ABORT), NULL, NULL },
	TEXT(name,         IN(HELLO) | IN(QUERY)),
	{ "generation", MEMBER_NUMBER, AT(generation), IN(HELLO) | IN(RUNNING) | IN(GO) | IN(ABORT) | IN(QUERY),
	  IN(ABORT), NULL, NULL },
	TEXT(creator,      IN(HELLO) | IN(AGREE)),
	TEXT(ask,          IN(HELLO)),
	NUMBER(page_size,  IN(HELLO)),
	BOOL(audit,        IN(HELLO)),
	BOOL(accept,       IN(AGREE)),
	{ "needs",    MEMBER_OTHER, 0, 0, IN(HELLO), 0, features_get, features_put },
	{ "features", MEMBER_OTHER, 0, 0, IN(AGREE), 0, features_get, features_put },
	{ "regions",  MEMBER_OTHER, 0, 0, IN(HELLO), 0, regions_get, regions_put },
	{ "extents",  MEMBER_OTHER, 0, 0, IN(HELLO), 0, extents_get, extents_put },
	{ "images",   MEMBER_OTHER, 0, 0, IN(HELLO), IN(HELLO), images_get, images_put },
	{ "wants",    MEMBER_OTHER, 0, 0, IN(AGREE), IN(AGREE), wants_get, wants_put },
	NUMBER(round,      IN(ROUND) | IN(ROUND_ACK)),
	NUMBER(chunk,      IN(ROUND) | IN(ROUND_ACK) | IN(RESEND) | IN(RESENT)),
	NUMBER(region,     IN(AUDIT)),
	NUMBER(first,      IN(AUDIT)),
	NUMBER(pages,      IN(AUDIT) | IN(AUDITED)),
	BOOL(zero,         IN(AUDIT)),
	{ "hashes",   MEMBER_OTHER, 0, 0, IN(AUDIT), IN(AUDIT), hashes_get, hashes_put },
	NUMBER(differ,     IN(AUDITED)),
	{ "list",     MEMBER_OTHER, 0, 0, IN(AUDITED), 0, list_get, list_put },
	{ "from",     MEMBER_OTHER, 0, 0, IN(QUERY), 0, from_get, from_put },
	{ "state",    MEMBER_OTHER, 0, 0, IN(ANSWER), 0, state_get, state_put },
	BOOL(alive,        IN(RUNNING) | IN(ANSWER)),
	{ "reason",   MEMBER_TEXT, AT(reason), IN(AGREE) | IN(RETURNED) | IN(ABORT) | IN(ANSWER), IN(AGREE), NULL, NULL },
};
#define NMEMBERS (sizeof(members) / sizeof(members[0]))

/* Another program's last words may not be UTF-8: better question marks than no reason at all. */
static json_t *text_put(const char *text)
{
	json_t *v = json_string(text);
	char    plain[1024];
	size_t  n = 0;

	if (v)
		return v;
	for (; text[n] && n < sizeof(plain) - 1; n++)
		plain[n] = (unsigned char)text[n] < 0x80 ? text[n] : '?';
	plain[n] = '\0';
	return json_string(plain);
}

static json_t *member_write(const struct message *m, const struct member *d)
{
	const char *at = (const char *)m + d->offset;
	char        text[UUID_TEXT];
	uint64_t    n;

	switch (d->kind) {
	case MEMBER_UUID:
		uuid_text((const struct uuid *)at, text);
		return json_string(text);
	case MEMBER_TEXT:
		return text_put(at);
	case MEMBER_NUMBER:
		memcpy(&n, at, sizeof(n));
		return json_integer((json_int_t)n);
	case MEMBER_BOOL:
		return json_boolean(*(const bool *)at);
	case MEMBER_OTHER:
		return d->put(m);
	}
	return NULL;
}

int message_write(const struct message *m, char **text, size_t *len, struct fail *why)
{
	json_t  *o  = json_object();
	uint64_t in = (uint64_t)1 << m->type;
	int      rc = o ? json_object_set_new(o, "type", json_string(message_type_names[m->type])) : -1;

	for (size_t i = 0; i < NMEMBERS && rc == 0; i++) {
		const struct member *d = &members[i];

		if (!(d->in & in) || (d->kind == MEMBER_UUID && (d->optional & in) && !m->has_move))
			continue;
		json_t *v = member_write(m, d);

		if (v)
			rc = json_object_set_new(o, d->name, v);
		else if (!(d->optional & in))
			rc = -1;
	}
	*text = rc ? NULL : json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!*text) {
		errno = ENOMEM;
		return fail_sys(why, "message %s", message_type_names[m->type]);
	}
	*len = strlen(*text);
	if (*len <= MESSAGE_BYTES_MAX)
		return 0;
	free(*text);
	*text = NULL;
	return fail_set(why, FAIL_LIMIT, "message %s too long", message_type_names[m->type]);
}

static int member_read(struct message *m, const json_t *v, const struct member *d, struct fail *why)
{
	char    *at = (char *)m + d->offset;
	uint64_t n;

	switch (d->kind) {
	case MEMBER_UUID:
		if (!json_is_string(v) || !uuid_parse((struct uuid *)at, json_string_value(v)))
			return member_bad(d, "invalid UUID", why);
		m->has_move = true;
		return 0;
	case MEMBER_TEXT:
		if (!json_is_string(v) || json_string_length(v) >= d->size || strlen(json_string_value(v)) != json_string_length(v))
			return member_bad(d, "invalid string", why);
		memcpy(at, json_string_value(v), json_string_length(v) + 1);
		return 0;
	case MEMBER_NUMBER:
		if (number_get(v, &n))
			return member_bad(d, "invalid number (valid: 0 or more)", why);
		memcpy(at, &n, sizeof(n));
		return 0;
	case MEMBER_BOOL:
		if (!json_is_boolean(v))
			return member_bad(d, "invalid value (valid: true, false)", why);
		*(bool *)at = json_is_true(v);
		return 0;
	case MEMBER_OTHER:
		return d->get(m, v, d, why);
	}
	return -1;
}

/* What no single member can say. */
static int message_check(const struct message *m, bool has_vm, bool has_hashes, struct fail *why)
{
	if ((m->type == MSG_HELLO || m->type == MSG_QUERY) && !paths_name_ok(m->name))
		return fail_set(why, FAIL_PEER, "message: invalid VM name '%.64s'", m->name);
	if (m->type == MSG_AUDIT && (has_hashes == m->zero || m->pages == 0))
		return fail_set(why, FAIL_PEER,
				"message: AUDIT: expected pages, and either hashes or zero");
	if (m->type == MSG_ABORT && m->has_move && !has_vm)
		return fail_set(why, FAIL_PEER,
				"message: ABORT: expected both vm and move, or neither");
	return 0;
}

static int message_members(struct message *m, const json_t *o, struct fail *why)
{
	const char *type = json_string_value(json_object_get(o, "type"));
	unsigned    t    = 0;

	while (type && t < MESSAGE_TYPES && strcmp(type, message_type_names[t]))
		t++;
	if (!type || t == MESSAGE_TYPES)
		return fail_set(why, FAIL_PEER, "message: unsupported type '%.32s'",
				type ? type : "");
	m->type = (enum message_type)t;
	for (size_t i = 0; i < NMEMBERS; i++) {
		const struct member *d  = &members[i];
		const json_t        *v  = json_object_get(o, d->name);
		uint64_t             in = (uint64_t)1 << t;

		if (!(d->in & in) || (!v && (d->optional & in)))
			continue;
		if (!v)
			return fail_set(why, FAIL_PEER, "message: %s: missing %s", type, d->name);
		if (member_read(m, v, d, why))
			return -1;
	}
	bool has_vm = json_object_get(o, "vm") && json_object_get(o, "move");

	return message_check(m, has_vm, json_object_get(o, "hashes") != NULL, why);
}

int message_read(struct message *m, const void *text, size_t len, struct fail *why)
{
	json_error_t e;
	json_t      *o;
	int          rc;

	memset(m, 0, offsetof(struct message, regions));
	if (len > MESSAGE_BYTES_MAX)
		return fail_set(why, FAIL_PEER, "message: invalid length: %zu bytes", len);
	o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);
	if (!json_is_object(o)) {
		json_decref(o);
		return fail_set(why, FAIL_PEER, "message: not a JSON object");
	}
	rc = message_members(m, o, why);
	json_decref(o);
	return rc;
}
