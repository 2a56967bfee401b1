/* SPDX-License-Identifier: MIT */
#include "vminspect/info.h"

#include "vminspect/properties.h"
#include "vminspect/show.h"

#include <inttypes.h>
#include <string.h>

/* Out of memory shows once, at the end: jansson's *_new calls take NULL and fail. */
static bool info_failed;

static void put(json_t *o, const char *key, json_t *v)
{
	if (json_object_set_new(o, key, v))
		info_failed = true;
}

static void add(json_t *list, json_t *v)
{
	if (json_array_append_new(list, v))
		info_failed = true;
}

static json_t *info_uuid(const struct uuid *u)
{
	char text[UUID_TEXT];

	uuid_text(u, text);
	return json_string(text);
}

static json_t *info_json_features(uint64_t required)
{
	static const struct { uint64_t bit; const char *name; } names[] = {
		{ SNAP_STATE_ONLY, "state-only" }, { SNAP_CHAIN, "chain" }, { SNAP_DISKS, "disks" },
	};
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (required & names[i].bit)
			add(list, json_string(names[i].name));
		required &= ~names[i].bit;
	}
	if (required)
		add(list, show_json_x64(required));
	return list;
}

static void info_json_header(json_t *o, const struct snap_header *h)
{
	bool   has_parent = !uuid_is_nil(&h->parent);
	json_t *vm = json_object();
	char   time[40];

	put(o, "version", json_integer(h->version));
	put(o, "layout", json_string(info_layout((unsigned)h->layout)));
	put(o, "required", info_json_features(h->required));
	put(o, "optional", show_json_x64(h->optional));
	put(o, "incomplete", json_boolean(h->incomplete));
	put(o, "arch", json_string(info_arch(h->arch)));
	put(vm, "name", show_json_text(h->name));
	put(vm, "uuid", info_uuid(&h->vm));
	put(o, "vm", vm);
	put(o, "snapshot", info_uuid(&h->snapshot));
	put(o, "parent", has_parent ? info_uuid(&h->parent) : json_null());
	put(o, "parent_memory", has_parent ? show_json_hex(h->parent_memory, 16) : json_null());
	put(o, "created", json_string(show_time(h->created_ns, time)));
	put(o, "created_ns", json_integer(h->created_ns));
	put(o, "creator", show_json_text(h->creator));
}

static json_t *info_json_machine(const struct machine *m)
{
	json_t *o = json_object();

	put(o, "type", json_string(machine_type_name(m->type)));
	put(o, "name", show_json_text(m->name));
	put(o, "isa", show_json_text(m->cpu_model));
	put(o, "cpus", json_integer(m->ncpus));
	put(o, "timebase_hz", show_json_u64(m->timebase_hz));
	put(o, "on_reboot", json_string(reboot_policy_names[m->on_reboot]));
	put(o, "append", show_json_text(m->append));
	put(o, "stopped", json_boolean(m->stopped));
	put(o, "reset_pending", json_boolean(m->reset_pending));
	return o;
}

static json_t *info_json_devices(const struct machine *m)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < m->ndevices; i++) {
		const struct machine_device *d = &m->devices[i];
		json_t                      *o = json_object();
		char                         node[MACHINE_NODE_MAX];

		machine_device_node(d, node);
		put(o, "node", json_string(node));
		put(o, "type", json_string(d->type));
		put(o, "gpa", show_json_x64(d->gpa));
		put(o, "size", show_json_u64(d->size));
		put(o, "irq", d->irq ? json_integer(d->irq) : json_null());
		put(o, "slot", d->slot != SLOT_NONE ? json_integer(d->slot) : json_null());
		put(o, "host", d->host[0] ? json_string(d->host) : json_null());
		add(list, o);
	}
	return list;
}

static json_t *info_json_regions(const struct snapshot_view *v)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < v->config.nregions; i++) {
		const struct machine_region *r = &v->config.regions[i];
		json_t                      *o = json_object();

		put(o, "id", json_integer(r->id));
		put(o, "kind", json_string(region_kind_names[r->kind]));
		put(o, "name", json_string(r->name));
		put(o, "gpa", show_json_x64(r->gpa));
		put(o, "size", show_json_u64(r->size));
		put(o, "page_size", json_integer(r->page_size));
		put(o, "data", show_json_u64(v->finals[r->id][PAGE_DATA]));
		put(o, "zero", show_json_u64(v->finals[r->id][PAGE_ZERO]));
		put(o, "untouched",
		    view_state_only(v) ? json_null() : show_json_u64(view_untouched(v, i)));
		add(list, o);
	}
	return list;
}

static json_t *info_json_hosts(const struct snapshot_view *v)
{
	static const uint8_t  nil[sizeof(((struct machine_host *)0)->instance)];
	const struct machine *m    = &v->state;
	json_t               *list = json_array();

	for (uint32_t i = 0; i < m->nhosts; i++) {
		const struct machine_host *h = &m->hosts[i];
		json_t                    *o = json_object();

		put(o, "name", json_string(h->name));
		put(o, "class", json_string(host_class_names[h->cls]));
		put(o, "path", show_json_text(h->path));
		put(o, "read_only", json_boolean(h->readonly));
		put(o, "size", show_json_u64(h->size));
		put(o, "mtime_ns", show_json_u64(h->mtime_ns));
		put(o, "digest", show_json_hex(h->digest, sizeof(h->digest)));
		put(o, "included", json_boolean(v->included[i]));
		if (memcmp(h->instance, nil, sizeof(nil))) {
			put(o, "instance", show_json_hex(h->instance, sizeof(h->instance)));
			put(o, "written", show_json_u64(h->written));
		}
		add(list, o);
	}
	return list;
}

static json_t *info_json_round(const struct round *r, json_t *number)
{
	json_t *o = json_object();

	put(o, "round", number);
	put(o, "chunks", show_json_u64(r->chunks));
	put(o, "data_pages", show_json_u64(r->data_pages));
	put(o, "bytes", show_json_u64(r->bytes));
	return o;
}

static json_t *info_json_rounds(const struct rounds *r)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < r->n; i++)
		add(list, info_json_round(&r->v[i], json_integer(r->v[i].number)));
	if (r->rest.chunks)
		add(list, info_json_round(&r->rest, json_null()));
	return list;
}

json_t *info_json(const struct snapshot_view *v, bool header_only)
{
	json_t *o = json_object(), *digests = NULL;

	info_failed = false;
	info_json_header(o, &v->in.h);
	if (!header_only) {
		put(o, "machine", info_json_machine(&v->state));
		put(o, "devices", info_json_devices(&v->state));
		put(o, "regions", info_json_regions(v));
		put(o, "hosts", info_json_hosts(v));
		put(o, "rounds", info_json_rounds(&v->rounds));
		put(o, "chunks", show_json_u64(v->rounds.chunks));
		put(o, "bytes", show_json_u64(v->bytes));
		digests = json_object();
		put(digests, "file", show_json_hex(v->digests.file, 16));
		put(digests, "memory", show_json_hex(v->digests.memory, 16));
		put(digests, "machine", show_json_hex(v->digests.machine, 16));
		put(digests, "checked", json_boolean(v->checked));
		put(o, "digests", digests);
		put(o, "unknown", properties_unknown(v->trees));
	}
	if (info_failed) {
		json_decref(o);
		return NULL;
	}
	return o;
}
