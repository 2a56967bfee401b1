/* SPDX-License-Identifier: MIT */
#include "libcommon/client/progress.h"

#include "libcommon/io.h"
#include "libcommon/units.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_EVERY_NS 200000000u

const char *const progress_mode_names[PROGRESS_MODES] = {
	[PROGRESS_NONE] = "none",
	[PROGRESS_LINE] = "line",
	[PROGRESS_JSON] = "json",
	[PROGRESS_AUTO] = "auto",
};

void progress_open(struct progress *p, enum progress_mode mode, FILE *out, const char *name)
{
	if (mode == PROGRESS_AUTO)
		mode = isatty(fileno(out)) ? PROGRESS_LINE : PROGRESS_NONE;
	*p = (struct progress){ .mode = mode, .out = out, .round = UINT64_MAX };
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->last_ns = io_now_ns();
}

void progress_clear(struct progress *p)
{
	if (p->line)
		fputs("\r\033[K", p->out);
	fflush(p->out);
	p->line = false;
}

void progress_json(FILE *out, json_t *line)
{
	char *text = line ? json_dumps(line, JSON_REAL_PRECISION(15)) : NULL;

	/* By one call: on an unbuffered stderr that is one write, so that lines of several
	 * processes which share it do not mix. */
	if (text)
		fprintf(out, "%s\n", text);
	fflush(out);
	free(text);
	json_decref(line);
}

double progress_ms(uint64_t ns)
{
	return (double)((ns + 500) / 1000) / 1000;
}

static uint64_t progress_rate(uint64_t pages, uint64_t ns)
{
	return ns ? (uint64_t)((double)pages * PAGE_SIZE_4K * 1e9 / (double)ns) : 0;
}

static void progress_copied(void *arg, uint32_t round, uint64_t done, uint64_t of)
{
	struct progress *p = arg;
	uint64_t         now = io_now_ns();
	char             rate[UNITS_TEXT];

	if (p->round != round) {
		p->round = round;
		p->round_begin_ns = now;
	}
	if (p->mode == PROGRESS_NONE || now - p->last_ns < PROGRESS_EVERY_NS)
		return;
	p->last_ns = now;

	uint64_t speed = progress_rate(done, now - p->round_begin_ns);

	if (p->mode == PROGRESS_JSON) {
		progress_json(p->out, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}",
						"event", "progress", "round", (json_int_t)round,
						"done", (json_int_t)done, "of", (json_int_t)of,
						"bytes", (json_int_t)(done * PAGE_SIZE_4K),
						"rate", (json_int_t)speed));
		return;
	}
	fprintf(p->out, "\r%s: round %" PRIu32 ": %" PRIu64 " of %" PRIu64 " pages, %s/s\033[K",
		p->name, round, done, of, units_bytes(speed, rate));
	fflush(p->out);
	p->line = true;
}

static void progress_round(void *arg, const struct precopy_round *r)
{
	struct progress *p = arg;
	char             rate[UNITS_TEXT], took[UNITS_TEXT];
	uint64_t         speed = progress_rate(r->pages, r->ns);

	switch (p->mode) {
	case PROGRESS_NONE:
	case PROGRESS_AUTO:
	case PROGRESS_MODES:
		break;
	case PROGRESS_JSON:
		progress_json(p->out,
			      json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f}",
					"event", "round", "round", (json_int_t)r->number,
					"pages", (json_int_t)r->pages,
					"zero_pages", (json_int_t)r->zero_pages,
					"dirty", (json_int_t)r->dirty_after,
					"bytes", (json_int_t)(r->pages * PAGE_SIZE_4K),
					"rate", (json_int_t)speed, "ms", progress_ms(r->ns)));
		break;
	case PROGRESS_LINE:
		fprintf(p->out,
			"\r%s: round %" PRIu32 ": %" PRIu64 " pages in %s, %s/s, %" PRIu64
			" dirty\033[K",
			p->name, r->number, r->pages, units_ms(r->ns, took),
			units_bytes(speed, rate), r->dirty_after);
		fflush(p->out);
		p->line = true;
		break;
	}
}

const struct precopy_progress_ops progress_ops = {
	.round  = progress_round,
	.copied = progress_copied,
};
