/* SPDX-License-Identifier: MIT */
/* QMP's framing and requests: vmrun/control/qmp.c. */
#include "tests/unit/tap.h"

#include "vmrun/control/qmp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char log_text[4096];

/* The frames of text, '|' between them; '#' for too deep. */
static const char *frames(const char *text, size_t len)
{
	struct qmp_scan s = { 0 };
	size_t          begin = 0, at = 0;

	log_text[0] = '\0';
	for (size_t i = 0; i < len; i++)
		switch (qmp_scan(&s, text[i])) {
		case QMP_BLANK:
		case QMP_RESET:
			begin = i + 1;
			break;
		case QMP_MORE:
			break;
		case QMP_VALUE:
			at += (size_t)snprintf(log_text + at, sizeof(log_text) - at,
					       "%.*s|", (int)(i + 1 - begin), text + begin);
			begin = i + 1;
			break;
		case QMP_BEFORE:
			at += (size_t)snprintf(log_text + at, sizeof(log_text) - at,
					       "%.*s|", (int)(i - begin), text + begin);
			begin = i--;
			break;
		case QMP_DEEP:
			snprintf(log_text + at, sizeof(log_text) - at, "#");
			return log_text;
		}
	return log_text;
}

static int framed(const char *text, const char *want)
{
	const char *got = frames(text, strlen(text));

	if (strcmp(got, want) == 0)
		return 1;
	printf("# got %s, want %s\n", got, want);
	return 0;
}

static int refused(const char *text, const char *word)
{
	struct qmp_request r;
	struct fail        why = { 0 };
	int                rc  = qmp_parse(&r, text, strlen(text), &why);

	if (rc == 0)
		printf("# accepted: %s\n", text);
	else if (!strstr(why.what, word))
		printf("# said %s\n", why.what);
	qmp_request_close(&r);
	return rc != 0 && strstr(why.what, word) != NULL;
}

static void test_frames(void)
{
	char deep[200];

	ok(framed("{\"a\":1}\n{\"b\":2}\n", "{\"a\":1}|{\"b\":2}|"), "two lines are two requests");
	ok(framed("{\"a\":1}{\"b\":2}", "{\"a\":1}|{\"b\":2}|"), "requests need no newline");
	ok(framed(" \r\n\t{\"a\":\n {\"b\": [1,2]}\n}", "{\"a\":\n {\"b\": [1,2]}\n}|"),
	   "a request may span lines");
	ok(framed("{\"a\":\"}]\\\"}{\"}", "{\"a\":\"}]\\\"}{\"}|"),
	   "brackets and quotes in strings do not count");
	ok(framed("nonsense } here\n{\"a\":1}", "nonsense |}|here\n|{\"a\":1}|"),
	   "what is no object ends with its word");
	ok(framed("nonsense{\"a\":1}", "nonsense|{\"a\":1}|") &&
	   framed("no \"a { b\"{\"a\":1}", "no |\"a { b\"|{\"a\":1}|") &&
	   framed("1,[2]:\"x\"\n", "1|,|[2]|:|\"x\"|"), "and leaves the next request alone");
	ok(framed("{\"a\":\"b\n{\"c\":1}", "{\"a\":\"b\n|{\"c\":1}|") &&
	   framed("{\"a\":\"b\\\n{\"c\":1}", "{\"a\":\"b\\\n|{\"c\":1}|"),
	   "a newline in a string, escaped or not, ends the request");
	ok(framed("{\"a\":\"b\tc\"\n{\"c\":1}", "{\"a\":\"b\t|{\"c\":1}|") &&
	   framed("{\"a\":\"b\x1f\tcc\" 1}{\"c\":1}", "{\"a\":\"b\x1f|}|{\"c\":1}|"),
	   "so does any control character; then input is dropped up to where a value may begin");
	ok(framed("{\"a\":\x01\n{\"c\":1}", "{\"a\":\x01|{\"c\":1}|") &&
	   framed("\x1b{\"c\":1}", "\x1b|{\"c\":1}|"),
	   "and one outside of a string that is no white space");
	ok(framed("{\"a\":\n\t1}", "{\"a\":\n\t1}|"), "white space outside of strings does not");
	ok(framed("{\"a\": \xff{\"b\":2}", "{\"b\":2}|"), "0xFF drops an unfinished request");
	ok(framed("{\"a\": ]", "{\"a\": ]|"),
	   "a wrong bracket ends a request: the parser refuses it");
	memset(deep, '[', sizeof(deep));
	ok(strcmp(frames(deep, QMP_DEPTH_MAX), "") == 0 &&
	   strcmp(frames(deep, QMP_DEPTH_MAX + 1), "#") == 0,
	   "nesting is bounded at 64");
}

static void test_requests(void)
{
	struct qmp_request r;
	struct fail        why;
	const char        *text =
		"{\"execute\":\"stop\",\"id\":{\"n\":[1]},\"arguments\":{\"x\":1}}";

	ok(qmp_parse(&r, text, strlen(text), &why) == 0 && !strcmp(r.command, "stop") &&
	   json_is_object(r.id) &&
	   json_integer_value(json_object_get(r.args, "x")) == 1, "a request is taken apart");
	json_t *m = qmp_return(r.id, NULL);
	char   *t = json_dumps(m, JSON_COMPACT);

	ok(t && !strcmp(t, "{\"return\":{},\"id\":{\"n\":[1]}}"),
	   "an answer carries the id, whatever its type");
	free(t);
	json_decref(m);
	qmp_request_close(&r);

	ok(refused("{\"execute\":\"stop\"", "JSON parse error") &&
	   refused("[1]", "must be a JSON object") &&
	   refused("{}", "lacks member 'execute'") &&
	   refused("{\"execute\":1}", "must be a string") &&
	   refused("{\"execute\":\"a\",\"arguments\":[]}", "must be an object") &&
	   refused("{\"execute\":\"a\",\"zzz\":1}", "'zzz' is unexpected") &&
	   refused("{\"execute\":\"a\",\"execute\":\"b\"}", "JSON parse error") &&
	   refused("{\"execute\":\"a\n", "JSON parse error") &&
	   refused("nonsense ", "JSON parse error") && refused("1", "JSON parse error"),
	   "wrong requests are named as QEMU names them");

	m = qmp_error(NULL, "GenericError", "half a character: \xc3");
	t = json_dumps(m, JSON_COMPACT);
	ok(t && strstr(t, "half a character: \\\\xc3\""),
	   "an error message that is not UTF-8 is still answered");
	free(t);
	json_decref(m);
}

int main(void)
{
	test_frames();
	test_requests();
	return done_testing();
}
