/* SPDX-License-Identifier: MIT */
/* What programs read of a save or move under way: whole lines of JSON, keys in their order. */
#include "libcommon/client/progress.h"
#include "libcommon/text.h"
#include "tests/unit/tap.h"

#include <stdlib.h>
#include <string.h>

static bool prints(void (*line)(struct progress *p), const char *want)
{
	struct progress p;
	char           *text = NULL;
	size_t          len;
	FILE           *out = open_memstream(&text, &len);

	if (!out)
		return false;
	progress_open(&p, PROGRESS_JSON, out, "web");
	p.last_ns = 0;
	line(&p);
	fclose(out);
	bool same = !strcmp(text, want);

	if (!same)
		note("%s", text);
	free(text);
	return same;
}

static void line_round(struct progress *p)
{
	struct precopy_round r = { .number = 1, .pages = 2048, .zero_pages = 3, .dirty_after = 96,
				   .ns = 84200400 };

	progress_ops.round(p, &r);
}

/* Of a rate only that it is none: no time has passed. */
static void line_empty(struct progress *p)
{
	struct precopy_round r = { .number = 0 };

	progress_ops.round(p, &r);
}

static void line_names(struct progress *p)
{
	progress_json(p->out, json_pack("{s:o, s:b}", "vm", text_json("a\"b\xff"), "alive", 1));
}

static void line_no_memory(struct progress *p)
{
	progress_json(p->out, NULL);
}

int main(void)
{
	ok(prints(line_round,
		  "{\"event\": \"round\", \"round\": 1, \"pages\": 2048, \"zero_pages\": 3, "
		  "\"dirty\": 96, \"bytes\": 8388608, \"rate\": 99626700, \"ms\": 84.2}\n"),
	   "a round is one line, ms with a resolution of 1 us");
	ok(prints(line_empty,
		  "{\"event\": \"round\", \"round\": 0, \"pages\": 0, \"zero_pages\": 0, "
		  "\"dirty\": 0, \"bytes\": 0, \"rate\": 0, \"ms\": 0.0}\n"),
	   "so is an empty one");
	ok(prints(line_names, "{\"vm\": \"a\\\"b\\\\xff\", \"alive\": true}\n"),
	   "a name that is not UTF-8 is still JSON");
	ok(prints(line_no_memory, ""), "without memory there is no line");
	ok(progress_ms(1234567) == 1.235 && progress_ms(499) == 0 && progress_ms(500) == 0.001,
	   "milliseconds are rounded to 1 us");
	return done_testing();
}
