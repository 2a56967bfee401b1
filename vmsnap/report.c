/* SPDX-License-Identifier: MIT */
#include "vmsnap/report.h"

#include "libcommon/text.h"
#include "libcommon/units.h"

#include <inttypes.h>
#include <jansson.h>
#include <sys/resource.h>

/* An object for each level. */
static json_t *report_levels(const struct save_report *r)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < r->nlevels; i++)
		json_array_append_new(list, json_pack("{s:i, s:I}", "level", r->levels[i].level,
						      "pages", (json_int_t)r->levels[i].pages));
	return list;
}

/* "level 3"; "levels -5 to 9, average 4.5, 20 % raw": by pages, the average of those that are not
 * raw. */
static void report_levels_text(FILE *out, const struct save_report *r)
{
	double sum = 0, pages = 0, raw = 0;
	int    low = 0, high = 0;

	for (unsigned i = 0; i < r->nlevels; i++) {
		int level = r->levels[i].level;

		if (level == 0) {
			raw = (double)r->levels[i].pages;
			continue;
		}
		low  = low ? low : level;
		high = level;
		sum += (double)level * (double)r->levels[i].pages;
		pages += (double)r->levels[i].pages;
	}
	if (high != low)
		fprintf(out, ", levels %d to %d, average %.1f", low, high,
			pages > 0 ? sum / pages : 0);
	else if (low)
		fprintf(out, ", level %d", low);
	if (raw > 0)
		fprintf(out, ", %.0f %% raw", 100 * raw / (raw + pages));
}

/* Resident, in bytes. */
static json_int_t report_peak_memory(void)
{
	struct rusage u;

	return getrusage(RUSAGE_SELF, &u) ? 0 : (json_int_t)u.ru_maxrss * 1024;
}

static void report_json(FILE *out, const struct options *o, const struct save_report *r)
{
	char snapshot[UUID_TEXT], memory[33], machine[33];

	uuid_text(&r->snapshot, snapshot);
	text_hex(r->digests.memory, 16, memory);
	text_hex(r->digests.machine, 16, machine);

	json_t *j = json_pack("{s:s, s:o, s:o, s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:i, s:I, "
			      "s:f, s:f, s:{s:f, s:f, s:f, s:f}, s:o, s:I, s:b, s:b, s:b, s:b}",
			      "event", "report",
			      "vm", text_json(r->vm),
			      "file", o->file ? text_json(o->file) : json_null(),
			      "snapshot", snapshot,
			      "memory_digest", memory,
			      "machine_digest", machine,
			      "rounds", (int)r->copy.nrounds,
			      "pages", (json_int_t)r->copy.pages_total,
			      "pages_paused", (json_int_t)r->copy.pages_paused,
			      "present_pages", (json_int_t)r->copy.present_pages,
			      "bytes", (json_int_t)r->bytes,
			      "images", (int)r->images,
			      "image_bytes", (json_int_t)r->image_bytes,
			      "pause_ms", progress_ms(r->pause_ns),
			      "total_ms", progress_ms(r->total_ns),
			      "time_ms",
			      "read", progress_ms(r->copy.read_ns),
			      "hash", progress_ms(r->copy.hash_ns),
			      "compress", progress_ms(r->encode_ns),
			      "output", progress_ms(r->wait_ns),
			      "levels", report_levels(r),
			      "peak_memory", report_peak_memory(),
			      "converged", (int)r->copy.converged,
			      "committed", (int)r->committed,
			      "stopped", (int)r->stopped,
			      "authenticated", (int)r->authenticated);

	progress_json(out, j);
}

static void report_text(FILE *out, const struct options *o, const struct save_report *r)
{
	char snapshot[UUID_TEXT], bytes[UNITS_TEXT], images[UNITS_TEXT];
	char pause[UNITS_TEXT], total[UNITS_TEXT], read[UNITS_TEXT], hash[UNITS_TEXT];
	char encode[UNITS_TEXT], wait[UNITS_TEXT];

	uuid_text(&r->snapshot, snapshot);
	fprintf(out, "vmsnap: %s: ", r->vm);
	if (o->state_only)
		fputs("state only, ", out);
	else
		fprintf(out, "%" PRIu32 " round%s, %" PRIu64 " page%s (%" PRIu64 " paused), ",
			r->copy.nrounds, r->copy.nrounds == 1 ? "" : "s", r->copy.pages_total,
			r->copy.pages_total == 1 ? "" : "s", r->copy.pages_paused);
	if (r->images)
		fprintf(out, "%u image%s (%s), ", r->images, r->images == 1 ? "" : "s",
			units_bytes(r->image_bytes, images));
	fprintf(out, "%s written, %s %s, %s, total time %s (read %s, hash %s, ",
		units_bytes(r->bytes, bytes), r->stopped ? "stopped in" : "downtime",
		units_ms(r->pause_ns, pause), r->copy.converged ? "converged" : "not converged",
		units_ms(r->total_ns, total), units_ms(r->copy.read_ns, read),
		units_ms(r->copy.hash_ns, hash));
	if (o->level) {
		fprintf(out, "compress %s", units_ms(r->encode_ns, encode));
		report_levels_text(out, r);
		fputs(", ", out);
	}
	fprintf(out, "output %s), snapshot %s\n", units_ms(r->wait_ns, wait), snapshot);
}

void report_print(FILE *out, const struct options *o, const struct save_report *r)
{
	if (o->progress == PROGRESS_JSON)
		report_json(out, o, r);
	else
		report_text(out, o, r);
}
