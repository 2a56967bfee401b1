/* SPDX-License-Identifier: MIT */
#include "vminspect/info.h"

#include "format/state/state_clock.h"
#include "libcommon/text.h"
#include "libcommon/units.h"
#include "vminspect/properties.h"
#include "vminspect/options.h"
#include "vminspect/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROW "%-12s"

const char *info_arch(uint32_t arch)
{
	return machine_arch_name(arch);
}

const char *info_layout(unsigned layout)
{
	return layout == SNAP_CHUNKED ? "chunked" : layout == SNAP_FLAT ? "flat" : "unknown";
}

static void info_header(const struct snapshot_view *v)
{
	const struct snap_header *h = &v->in.h;
	char                      uuid[UUID_TEXT], hex[33], time[40];

	printf(ROW "version %" PRIu32 ", %s%s%s\n", "format", h->version,
	       info_layout((unsigned)h->layout),
	       h->required & SNAP_STATE_ONLY ? ", state only" : "",
	       h->incomplete ? ", written as a stream" : "");
	if (h->required & ~(uint64_t)SNAP_STATE_ONLY || h->rewrite || h->optional)
		printf(ROW "required 0x%" PRIx64 ", rewrite 0x%" PRIx64 ", optional 0x%" PRIx64
		       "\n", "features", h->required, h->rewrite, h->optional);
	uuid_text(&h->vm, uuid);
	printf(ROW "%s, %s\n", "vm", h->name[0] ? h->name : "(no name)", uuid);
	uuid_text(&h->snapshot, uuid);
	printf(ROW "%s\n", "snapshot", uuid);
	if (!uuid_is_nil(&h->parent)) {
		uuid_text(&h->parent, uuid);
		printf(ROW "%s, memory %s\n", "parent", uuid,
		       text_hex(h->parent_memory, 16, hex));
	}
	printf(ROW "%s by %s\n", "created", show_time(h->created_ns, time),
	       h->creator[0] ? h->creator : "(unknown)");
}

static void info_machine(const struct snapshot_view *v)
{
	const struct machine *m = &v->state;
	char                  text[sizeof(m->append) + 64], size[UNITS_TEXT];
	uint64_t              ram = 0;

	for (uint32_t i = 0; i < m->nregions; i++)
		ram += m->regions[i].kind == REGION_RAM ? m->regions[i].size : 0;
	printf(ROW "%s, %" PRIu32 " CPU%s, %s memory, timebase %" PRIu64 " Hz, on reboot %s\n",
	       "machine", machine_type_name(m->type), m->ncpus, m->ncpus == 1 ? "" : "s",
	       units_bytes(ram, size), m->timebase_hz, reboot_policy_names[m->on_reboot]);
	if (m->stopped)
		printf(ROW "%s\n", "status",
		       m->reset_pending ? "stopped, guest reset pending" : "stopped by the user");
	if (m->cpu_model[0])
		printf(ROW "%s\n", "isa", show_text(m->cpu_model, text, sizeof(text)));
	printf(ROW "%s\n", "append",
	       m->append[0] ? show_text(m->append, text, sizeof(text)) : "(none)");
}

static void info_devices(const struct machine *m)
{
	for (uint32_t i = 0; i < m->ndevices; i++) {
		const struct machine_device *d = &m->devices[i];
		char                         node[MACHINE_NODE_MAX];

		machine_device_node(d, node);
		printf(ROW "%s", "device", node);
		if (d->irq)
			printf(", interrupt %" PRIu32, d->irq);
		if (d->slot != SLOT_NONE)
			printf(", slot %" PRIu32, d->slot);
		if (d->host[0])
			printf(", host %s", d->host);
		putchar('\n');
	}
}

static void info_regions(const struct snapshot_view *v)
{
	char size[UNITS_TEXT];

	for (uint32_t i = 0; i < v->config.nregions; i++) {
		const struct machine_region *r = &v->config.regions[i];
		const uint64_t              *n = v->finals[r->id];

		printf(ROW "%" PRIu32 " %s %s", "region", r->id, region_kind_names[r->kind],
		       r->name);
		if (r->kind != REGION_DISK)
			printf(" at 0x%" PRIx64, r->gpa);
		printf(", %s", units_bytes(r->size, size));
		if (view_state_only(v))
			printf(": not saved\n");
		else
			printf(": pages %" PRIu64 " data, %" PRIu64 " zero, %" PRIu64
			       " untouched\n", n[PAGE_DATA], n[PAGE_ZERO], view_untouched(v, i));
	}
}

static void info_hosts(const struct snapshot_view *v)
{
	const struct machine *m = &v->state;

	for (uint32_t i = 0; i < m->nhosts; i++) {
		const struct machine_host *h = &m->hosts[i];
		char                       path[sizeof(h->path) + 64], size[UNITS_TEXT], time[40];

		printf(ROW "%s (%s) %s%s", "host", h->name, host_class_names[h->cls],
		       h->path[0] ? show_text(h->path, path, sizeof(path)) : "-",
		       h->readonly ? ", read-only" : "");
		if (h->size)
			printf(", %s", units_bytes(h->size, size));
		if (h->mtime_ns)
			printf(", modified %s", show_time((int64_t)h->mtime_ns, time));
		if (v->included[i])
			printf(", included");
		putchar('\n');
	}
}

static void info_round(const char *name, const struct round *r)
{
	char size[UNITS_TEXT];

	printf(ROW "%s: %" PRIu64 " data page%s, %s in %" PRIu64 " chunk%s\n", "round", name,
	       r->data_pages, r->data_pages == 1 ? "" : "s", units_bytes(r->bytes, size), r->chunks,
	       r->chunks == 1 ? "" : "s");
}

static void info_rounds(const struct rounds *r)
{
	char name[16];

	for (uint32_t i = 0; i < r->n; i++) {
		snprintf(name, sizeof(name), "%" PRIu32, r->v[i].number);
		info_round(name, &r->v[i]);
	}
	if (r->rest.chunks)
		info_round("rest", &r->rest);
}

static int info_unknown(const struct snapshot_view *v, struct fail *why)
{
	json_t *unknown = properties_unknown(v->trees), *s;
	size_t  i;

	if (!unknown)
		return fail_sys(why, "tree");
	json_array_foreach(unknown, i, s)
		printf(ROW "%s\n", "unknown", json_string_value(s));
	json_decref(unknown);
	return 0;
}

static int info_text(const struct snapshot_view *v, struct fail *why)
{
	char size[UNITS_TEXT], hex[33];

	info_header(v);
	info_machine(v);
	info_devices(&v->state);
	info_regions(v);
	info_hosts(v);
	info_rounds(&v->rounds);
	printf(ROW "%s, %" PRIu64 " chunk%s\n", "size", units_bytes(v->bytes, size),
	       v->rounds.chunks, v->rounds.chunks == 1 ? "" : "s");
	printf(ROW "%s\n", "file", text_hex(v->digests.file, 16, hex));
	printf(ROW "%s\n", "memory", text_hex(v->digests.memory, 16, hex));
	printf(ROW "%s\n", "machine", text_hex(v->digests.machine, 16, hex));
	return info_unknown(v, why);
}

int info_run(const struct args *a, struct fail *why)
{
	const struct view_want want = { .rounds = true };
	struct snapshot_view  *v    = NULL;
	int                    rc   = -1;

	if (view_open(&v, a->file, &want, why)) {
		/* Of a later version the header can be shown, and is, before the refusal. */
		if (v && v->in.fd >= 0 && why->kind == FAIL_VERSION) {
			if (a->json)
				show_json(info_json(v, true));
			else
				info_header(v);
		}
		goto out;
	}
	if (!a->json)
		rc = info_text(v, why);
	else if (show_json(info_json(v, false)))
		fail_sys(why, "standard output");
	else
		rc = 0;
out:
	view_close(v);
	return rc;
}
