/* SPDX-License-Identifier: MIT */
#include "vmmigrate/message_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const message_type_names[MESSAGE_TYPES] = {
	[MSG_HELLO] = "HELLO",         [MSG_AGREE] = "AGREE",         [MSG_ROUND] = "ROUND",
	[MSG_ROUND_ACK] = "ROUND-ACK", [MSG_RESEND] = "RESEND",       [MSG_RESENT] = "RESENT",
	[MSG_AUDIT] = "AUDIT",         [MSG_AUDIT_END] = "AUDIT-END", [MSG_AUDITED] = "AUDITED",
	[MSG_STOPPED] = "STOPPED",     [MSG_READY] = "READY",         [MSG_RELEASED] = "RELEASED",
	[MSG_GO] = "GO",               [MSG_RUNNING] = "RUNNING",     [MSG_RETURNED] = "RETURNED",
	[MSG_ABORT] = "ABORT",         [MSG_QUERY] = "QUERY",         [MSG_ANSWER] = "ANSWER",
};

const char *const answer_state_names[ANSWER_STATES] = {
	[ANSWER_READY] = "ready",       [ANSWER_RELEASED] = "released",
	[ANSWER_OWNED] = "owned",       [ANSWER_RETURNED] = "returned",
	[ANSWER_ABORTED] = "aborted",   [ANSWER_UNDECIDED] = "undecided",
	[ANSWER_UNKNOWN] = "unknown",   [ANSWER_SUPERSEDED] = "superseded",
};

enum member_kind { MEMBER_UUID, MEMBER_TEXT, MEMBER_NUMBER, MEMBER_BOOL, MEMBER_OTHER };

struct member {
	const char      *name;
	enum member_kind kind;
	size_t           offset, size;      /* in struct message; not of MEMBER_OTHER */
	uint64_t         in, optional;      /* sets of 1 << message_type: has it; may omit it */
	message_get     *get;               /* of MEMBER_OTHER alone */
	message_put     *put;
};

#define IN(t)          ((uint64_t)1 << MSG_##t)
#define AT(m)          offsetof(struct message, m), sizeof(((struct message *)0)->m)
#define NUMBER(m, set) { #m, MEMBER_NUMBER, AT(m), (set), 0, NULL, NULL }
#define BOOL(m, set)   { #m, MEMBER_BOOL, AT(m), (set), 0, NULL, NULL }
#define TEXT(m, set)   { #m, MEMBER_TEXT, AT(m), (set), 0, NULL, NULL }
#define OTHER(name, set, optional, m) \
	{ name, MEMBER_OTHER, 0, 0, (set), (optional), message_##m##_get, message_##m##_put }

/* Those that are about one move and name it. */
#define OF_MOVE (IN(HELLO) | IN(READY) | IN(RELEASED) | IN(GO) | IN(RUNNING) | IN(RETURNED) | \
		 IN(ABORT) | IN(QUERY) | IN(ANSWER))

/* In the order of writing, and of reading: hashes come after pages, which bounds them. */
static const struct member members[] = {
	{ "vm",   MEMBER_UUID, AT(vm),   OF_MOVE, IN(ABORT), NULL, NULL },
	{ "move", MEMBER_UUID, AT(move), OF_MOVE, IN(ABORT), NULL, NULL },
	TEXT(name,        IN(HELLO) | IN(QUERY)),
	{ "generation", MEMBER_NUMBER, AT(generation),
	  IN(HELLO) | IN(RUNNING) | IN(GO) | IN(ABORT) | IN(QUERY), IN(ABORT), NULL, NULL },
	TEXT(creator,     IN(HELLO) | IN(AGREE)),
	TEXT(ask,         IN(HELLO)),
	NUMBER(page_size, IN(HELLO)),
	BOOL(audit,       IN(HELLO)),
	BOOL(accept,      IN(AGREE)),
	OTHER("needs",    IN(HELLO),   0,         features),
	OTHER("features", IN(AGREE),   0,         features),
	OTHER("regions",  IN(HELLO),   0,         regions),
	OTHER("extents",  IN(HELLO),   0,         extents),
	OTHER("images",   IN(HELLO),   IN(HELLO), images),
	OTHER("wants",    IN(AGREE),   IN(AGREE), wants),
	NUMBER(round,     IN(ROUND) | IN(ROUND_ACK)),
	NUMBER(chunk,     IN(ROUND) | IN(ROUND_ACK) | IN(RESEND) | IN(RESENT)),
	NUMBER(region,    IN(AUDIT)),
	NUMBER(first,     IN(AUDIT)),
	NUMBER(pages,     IN(AUDIT) | IN(AUDITED)),
	BOOL(zero,        IN(AUDIT)),
	OTHER("hashes",   IN(AUDIT),   IN(AUDIT), hashes),
	NUMBER(differ,    IN(AUDITED)),
	OTHER("list",     IN(AUDITED), 0,         list),
	OTHER("from",     IN(QUERY),   0,         from),
	OTHER("state",    IN(ANSWER),  0,         state),
	BOOL(alive,       IN(RUNNING) | IN(ANSWER)),
	{ "reason", MEMBER_TEXT, AT(reason),
	  IN(AGREE) | IN(RETURNED) | IN(ABORT) | IN(ANSWER), IN(AGREE), NULL, NULL },
};
#define NMEMBERS (sizeof(members) / sizeof(members[0]))

/* A reason may quote another program's message, which need not be UTF-8, as JSON must be: better
 * question marks than no reason at all. */
static json_t *member_text(const char *text)
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
		return member_text(at);
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
	json_t  *o    = json_object();
	uint64_t in   = (uint64_t)1 << m->type;
	json_t  *type = json_string(message_type_names[m->type]);
	int      rc   = json_object_set_new(o, "type", type);

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
			return message_invalid(d->name, "invalid UUID", why);
		m->has_move = true;
		return 0;
	case MEMBER_TEXT:
		/* A JSON string may contain NUL, which would cut the text off. */
		if (!json_is_string(v) || json_string_length(v) >= d->size ||
		    strlen(json_string_value(v)) != json_string_length(v))
			return message_invalid(d->name, "invalid string", why);
		memcpy(at, json_string_value(v), json_string_length(v) + 1);
		return 0;
	case MEMBER_NUMBER:
		if (message_number(v, &n))
			return message_invalid(d->name, "invalid number (valid: 0 or more)", why);
		memcpy(at, &n, sizeof(n));
		return 0;
	case MEMBER_BOOL:
		if (!json_is_boolean(v))
			return message_invalid(d->name, "invalid value (valid: true, false)", why);
		*(bool *)at = json_is_true(v);
		return 0;
	case MEMBER_OTHER:
		return d->get(m, v, d->name, why);
	}
	return -1;
}

/* What depends on more than one member. */
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
