/* SPDX-License-Identifier: MIT */
#include "vmsnap/convert_report.h"

#include "libcommon/text.h"
#include "libcommon/units.h"

#include <inttypes.h>
#include <jansson.h>

static void report_json(FILE *out, const struct options *o, const struct convert_report *r)
{
	char snapshot[UUID_TEXT], memory[33], machine[33];

	uuid_text(&r->snapshot, snapshot);
	text_hex(r->digests.memory, 16, memory);
	text_hex(r->digests.machine, 16, machine);
	progress_json(out, json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, "
				     "s:i, s:I, s:I, s:f, s:{s:f, s:f}, s:b}",
				     "event", "report",
				     "vm", text_json(r->vm),
				     "input", o->in ? text_json(o->in) : json_null(),
				     "file", o->file ? text_json(o->file) : json_null(),
				     "layout", o->layout_name,
				     "snapshot", snapshot,
				     "memory_digest", memory,
				     "machine_digest", machine,
				     "pages", (json_int_t)(r->data + r->zero),
				     "zero_pages", (json_int_t)r->zero,
				     "bytes_in", (json_int_t)r->bytes_in,
				     "bytes", (json_int_t)r->bytes,
				     "images", (int)r->images,
				     "image_bytes", (json_int_t)r->image_bytes,
				     "left_out", (json_int_t)r->left_out,
				     "total_ms", progress_ms(r->total_ns),
				     "time_ms",
				     "compress", progress_ms(r->encode_ns),
				     "output", progress_ms(r->wait_ns),
				     "authenticated", (int)r->authenticated));
}

static void report_text(FILE *out, const struct options *o, const struct convert_report *r)
{
	char     in[UNITS_TEXT], bytes[UNITS_TEXT], images[UNITS_TEXT], total[UNITS_TEXT];
	char     memory[33], machine[33];
	uint64_t pages = r->data + r->zero;

	fprintf(out, "vmsnap: %s: %s, %" PRIu64 " page%s (%" PRIu64 " zero), ", r->vm,
		o->layout_name, pages, pages == 1 ? "" : "s", r->zero);
	if (r->images)
		fprintf(out, "%u image%s (%s), ", r->images, r->images == 1 ? "" : "s",
			units_bytes(r->image_bytes, images));
	fprintf(out, "%s read, %s written, total time %s, memory %s, machine %s\n",
		units_bytes(r->bytes_in, in), units_bytes(r->bytes, bytes),
		units_ms(r->total_ns, total), text_hex(r->digests.memory, 16, memory),
		text_hex(r->digests.machine, 16, machine));
}

void convert_report_print(FILE *out, const struct options *o, const struct convert_report *r)
{
	if (o->progress == PROGRESS_JSON)
		report_json(out, o, r);
	else
		report_text(out, o, r);
}
