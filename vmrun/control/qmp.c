/* SPDX-License-Identifier: MIT */
#include "vmrun/control/qmp.h"

#include "libcommon/io.h"
#include "libcommon/text.h"
#include "libcommon/version.h"

#include <string.h>

static bool qmp_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Control characters are not valid in strings, and outside of them only white space is (RFC 8259, 2
 * and 7). */
static bool qmp_control(char c)
{
	return (unsigned char)c < 0x20;
}

static bool qmp_structural(char c)
{
	return c != '\0' && strchr("{}[]:,", c);
}

static enum qmp_step qmp_end(struct qmp_scan *s, enum qmp_step step)
{
	*s = (struct qmp_scan){ 0 };
	return step;
}

static enum qmp_step qmp_string(struct qmp_scan *s, char c)
{
	if (s->escape)
		s->escape = false;
	else if (c == '\\')
		s->escape = true;
	else if (c == '"')
		s->string = false;
	return s->string || s->depth ? QMP_MORE : qmp_end(s, QMP_VALUE);
}

/* A value that is no object, array or string: at its first byte, and after it. */
static enum qmp_step qmp_bare(struct qmp_scan *s, char c)
{
	bool first = !s->bare;

	s->bare = true;
	if (qmp_space(c) || (first && qmp_structural(c)))
		return qmp_end(s, QMP_VALUE);
	return !first && (qmp_structural(c) || c == '"') ? qmp_end(s, QMP_BEFORE) : QMP_MORE;
}

enum qmp_step qmp_scan(struct qmp_scan *s, char c)
{
	if ((unsigned char)c == 0xff)
		return qmp_end(s, QMP_RESET);
	if (s->recover) {
		if (!qmp_structural(c) && (c == '\t' || !qmp_control(c)))
			return QMP_BLANK;
		s->recover = false;
	}
	if (!s->begun && qmp_space(c))
		return QMP_BLANK;
	s->begun = true;
	if (qmp_control(c) && (s->string || !qmp_space(c))) {
		*s = (struct qmp_scan){ .recover = true };
		return QMP_VALUE;
	}
	if (s->string)
		return qmp_string(s, c);
	if (s->bare || (!s->depth && !strchr("{[\"", c)))
		return qmp_bare(s, c);
	if (c == '"') {
		s->string = true;
	} else if (c == '{' || c == '[') {
		if (s->depth == QMP_DEPTH_MAX)
			return QMP_DEEP;
		s->depth++;
	} else if ((c == '}' || c == ']') && --s->depth == 0) {
		return qmp_end(s, QMP_VALUE);
	}
	return QMP_MORE;
}

int qmp_parse(struct qmp_request *r, const char *text, size_t len, struct fail *why)
{
	json_error_t err;
	const char  *key;
	json_t      *value;

	*r = (struct qmp_request){ 0 };
	r->root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &err);
	if (!r->root)
		return fail_set(why, FAIL_PEER, "JSON parse error, %s", err.text);
	if (!json_is_object(r->root))
		return fail_set(why, FAIL_PEER, "QMP input must be a JSON object");
	r->id = json_object_get(r->root, "id");
	json_object_foreach(r->root, key, value) {
		if (!strcmp(key, "id"))
			continue;
		if (!strcmp(key, "execute")) {
			if (!json_is_string(value))
				return fail_set(why, FAIL_PEER,
						"QMP input member 'execute' must be a string");
			r->command = json_string_value(value);
		} else if (!strcmp(key, "arguments")) {
			if (!json_is_object(value))
				return fail_set(why, FAIL_PEER,
						"QMP input member 'arguments' must be an object");
			r->args = value;
		} else {
			return fail_set(why, FAIL_PEER, "QMP input member '%.60s' is unexpected",
					key);
		}
	}
	if (!r->command)
		return fail_set(why, FAIL_PEER, "QMP input lacks member 'execute'");
	return 0;
}

void qmp_request_close(struct qmp_request *r)
{
	json_decref(r->root);
	*r = (struct qmp_request){ 0 };
}

/* Clients decide by "qemu" which commands to use: it names the QEMU whose documentation is
 * followed. */
json_t *qmp_version(void)
{
	return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "major", 7, "minor", 2, "micro", 0,
			 "package", "vmferry " VMFERRY_VERSION);
}

json_t *qmp_greeting(void)
{
	return json_pack("{s:{s:o, s:[]}}", "QMP", "version", qmp_version(), "capabilities");
}

static json_t *qmp_with_id(json_t *m, json_t *id)
{
	if (m && id)
		json_object_set(m, "id", id);
	return m;
}

json_t *qmp_return(json_t *id, json_t *value)
{
	return qmp_with_id(json_pack("{s:o}", "return", value ? value : json_object()), id);
}

/* A message may quote a truncated UTF-8 character of what a client sent or a file contains. */
json_t *qmp_error(json_t *id, const char *class, const char *desc)
{
	return qmp_with_id(json_pack("{s:{s:s, s:o}}", "error", "class", class,
				     "desc", text_json(desc)), id);
}

json_t *qmp_event(const char *name, json_t *data, uint64_t seq)
{
	uint64_t now = io_realtime_ns();
	json_t  *m   = json_pack("{s:{s:I, s:I}, s:s}", "timestamp",
				 "seconds", (json_int_t)(now / 1000000000u),
				 "microseconds", (json_int_t)(now / 1000u % 1000000u),
				 "event", name);

	if (m && data)
		json_object_set(m, "data", data);
	if (m)
		json_object_set_new(m, "vmferry-seq", json_integer((json_int_t)seq));
	json_decref(data);
	return m;
}
