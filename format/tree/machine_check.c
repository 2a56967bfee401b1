/* SPDX-License-Identifier: MIT */
#include "format/tree/machine_internal.h"

#include <inttypes.h>
#include <string.h>

#define MACHINE_HZ_MAX   UINT64_C(10000000000)
#define MACHINE_IRQ_MAX  1024u
#define MACHINE_SLOT_MAX 1024u
#define MACHINE_PAGE     4096u

bool machine_word_ok(const char *s, size_t capacity)
{
	size_t len = strnlen(s, capacity);

	if (len == 0 || len == capacity)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = s[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      (i && strchr(",._+-", c))))
			return false;
	}
	return true;
}

static int machine_check_top(const struct machine *m, struct fail *why)
{
	if ((unsigned)m->type >= MACHINE_TYPES || (unsigned)m->on_reboot >= REBOOT_POLICIES)
		return fail_set(why, FAIL_CORRUPT, "machine: unsupported type or reboot policy");
	if (strnlen(m->name, sizeof(m->name)) == sizeof(m->name) || !paths_name_ok(m->name))
		return fail_set(why, FAIL_CORRUPT, "machine: invalid VM name '%.64s'", m->name);
	if (uuid_is_nil(&m->uuid))
		return fail_set(why, FAIL_CORRUPT, "machine: missing UUID");
	if (m->ncpus < 1 || m->ncpus > LIMIT_CPUS)
		return fail_set(why, FAIL_LIMIT, "machine: number of CPUs out of range: %" PRIu32
				" (valid: 1 to %u)", m->ncpus, LIMIT_CPUS);
	if (m->timebase_hz < 1 || m->timebase_hz > MACHINE_HZ_MAX)
		return fail_set(why, FAIL_LIMIT, "machine: invalid timebase: %" PRIu64 " Hz",
				m->timebase_hz);
	if (m->cpu_model[0] == '\0')
		return fail_set(why, FAIL_CORRUPT, "machine: missing %s",
				machine_types[m->type].cpu_model_property);
	if (!memchr(m->cpu_model, 0, sizeof(m->cpu_model)) ||
	    !memchr(m->append, 0, sizeof(m->append)))
		return fail_set(why, FAIL_CORRUPT, "machine: string not NUL-terminated");
	if (m->nregions < 1 || m->nregions > LIMIT_REGIONS)
		return fail_set(why, FAIL_LIMIT, "machine: number of regions out of range: %" PRIu32
				" (valid: 1 to %u)", m->nregions, LIMIT_REGIONS);
	if (m->ndevices > LIMIT_DEVICES)
		return fail_set(why, FAIL_LIMIT,
				"machine: %" PRIu32 " devices exceed the limit of %u", m->ndevices,
				LIMIT_DEVICES);
	if (m->nhosts > LIMIT_HOSTS)
		return fail_set(why, FAIL_LIMIT,
				"machine: %" PRIu32 " host resources exceed the limit of %u",
				m->nhosts, LIMIT_HOSTS);
	return 0;
}

static bool machine_overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return a < b ? b - a < alen : a - b < blen;
}

static int machine_check_region(const struct machine *m, uint32_t n, struct fail *why)
{
	const struct machine_region *r = &m->regions[n];

	if (r->id >= LIMIT_REGIONS)
		return fail_set(why, FAIL_LIMIT, "region %" PRIu32 ": id exceeds %u", r->id,
				LIMIT_REGIONS - 1);
	if ((unsigned)r->kind >= REGION_KINDS || !machine_word_ok(r->name, sizeof(r->name)))
		return fail_set(why, FAIL_CORRUPT, "region %" PRIu32 ": invalid kind or name",
				r->id);
	if (r->id == 0 && r->kind != REGION_RAM)
		return fail_set(why, FAIL_CORRUPT, "region 0: must be main RAM");
	if (r->page_size != MACHINE_PAGE)
		return fail_set(why, FAIL_LIMIT,
				"region %" PRIu32 ": unsupported page size: %" PRIu32
				" bytes (supported: %u)", r->id, r->page_size, MACHINE_PAGE);
	if (r->size == 0 || r->size > LIMIT_REGION_BYTES || r->size % r->page_size)
		return fail_set(why, FAIL_LIMIT,
				"region %" PRIu32 ": invalid size: %" PRIu64 " bytes", r->id,
				r->size);
	if (r->gpa % r->page_size || r->size - 1 > UINT64_MAX - r->gpa ||
	    (r->kind == REGION_DISK && r->gpa))
		return fail_set(why, FAIL_CORRUPT, "region %" PRIu32 ": invalid address 0x%" PRIx64,
				r->id, r->gpa);
	for (uint32_t i = 0; i < n; i++) {
		const struct machine_region *o = &m->regions[i];

		if (o->id == r->id)
			return fail_set(why, FAIL_CORRUPT, "duplicate region %" PRIu32, r->id);
		if (strcmp(o->name, r->name) == 0)
			return fail_set(why, FAIL_CORRUPT,
					"regions %" PRIu32 " and %" PRIu32 ": both named %s", o->id,
					r->id, r->name);
		if (o->kind != REGION_DISK && r->kind != REGION_DISK &&
		    machine_overlap(o->gpa, o->size, r->gpa, r->size))
			return fail_set(why, FAIL_CORRUPT,
					"regions %" PRIu32 " and %" PRIu32 ": overlap", o->id,
					r->id);
	}
	return 0;
}

static int machine_check_device(const struct machine *m, uint32_t n, struct fail *why)
{
	const struct machine_device *d = &m->devices[n];

	if (!machine_word_ok(d->type, sizeof(d->type)))
		return fail_set(why, FAIL_CORRUPT, "device %" PRIu32 ": invalid type '%.32s'", n,
				d->type);
	if (d->size == 0 || d->size - 1 > UINT64_MAX - d->gpa)
		return fail_set(why, FAIL_CORRUPT,
				"%s@%" PRIx64 ": invalid register window: %" PRIu64 " bytes",
				d->type, d->gpa, d->size);
	if (d->irq >= MACHINE_IRQ_MAX || (d->slot != SLOT_NONE && d->slot >= MACHINE_SLOT_MAX))
		return fail_set(why, FAIL_LIMIT,
				"%s@%" PRIx64 ": interrupt %" PRIu32 " or slot %" PRIu32
				" out of range", d->type, d->gpa, d->irq, d->slot);
	if (strnlen(d->host, sizeof(d->host)) == sizeof(d->host) ||
	    (d->host[0] && !machine_host_find(m, d->host)))
		return fail_set(why, FAIL_CORRUPT, "%s@%" PRIx64 ": missing host resource '%.64s'",
				d->type, d->gpa, d->host);
	for (uint32_t i = 0; i < m->nregions; i++)
		if (m->regions[i].kind != REGION_DISK &&
		    machine_overlap(m->regions[i].gpa, m->regions[i].size, d->gpa, d->size))
			return fail_set(why, FAIL_CORRUPT,
					"%s@%" PRIx64 ": overlaps region %" PRIu32, d->type, d->gpa,
					m->regions[i].id);
	for (uint32_t i = 0; i < n; i++) {
		const struct machine_device *o = &m->devices[i];

		if (machine_overlap(o->gpa, o->size, d->gpa, d->size))
			return fail_set(why, FAIL_CORRUPT,
					"%s@%" PRIx64 " and %s@%" PRIx64 ": overlap", o->type,
					o->gpa, d->type, d->gpa);
		if (d->slot != SLOT_NONE && d->slot == o->slot)
			return fail_set(why, FAIL_CORRUPT,
					"%s@%" PRIx64 " and %s@%" PRIx64 ": both in slot %" PRIu32,
					o->type, o->gpa, d->type, d->gpa, d->slot);
	}
	return 0;
}

static int machine_check_host(const struct machine *m, uint32_t n, struct fail *why)
{
	const struct machine_host *h = &m->hosts[n];

	if (strnlen(h->name, sizeof(h->name)) == sizeof(h->name) || !paths_name_ok(h->name))
		return fail_set(why, FAIL_CORRUPT,
				"host resource %" PRIu32 ": invalid name '%.64s'", n, h->name);
	if ((unsigned)h->cls >= HOST_CLASSES || !memchr(h->path, 0, sizeof(h->path)))
		return fail_set(why, FAIL_CORRUPT, "host resource %s: invalid class or path",
				h->name);
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(m->hosts[i].name, h->name) == 0)
			return fail_set(why, FAIL_CORRUPT, "duplicate host resource %s", h->name);
	return 0;
}

/* A few bytes claim a region, and each of its pages may cost a reader something. */
static int machine_check_total(const struct machine *m, struct fail *why)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < m->nregions; i++)
		total += m->regions[i].kind == REGION_DISK ? 0 : m->regions[i].size;
	if (total > LIMIT_REGION_BYTES)
		return fail_set(why, FAIL_LIMIT,
				"machine: %" PRIu64 " bytes of memory exceed the limit of %" PRIu64,
				total,
				LIMIT_REGION_BYTES);
	return 0;
}

int machine_check(const struct machine *m, struct fail *why)
{
	if (machine_check_top(m, why) || machine_check_x86(m, why))
		return -1;
	for (uint32_t i = 0; i < m->nregions; i++)
		if (machine_check_region(m, i, why))
			return -1;
	if (machine_check_total(m, why))
		return -1;
	if (!machine_region_find(m, 0))
		return fail_set(why, FAIL_CORRUPT, "region 0: missing main RAM");
	for (uint32_t i = 0; i < m->nhosts; i++)
		if (machine_check_host(m, i, why))
			return -1;
	for (uint32_t i = 0; i < m->ndevices; i++)
		if (machine_check_device(m, i, why))
			return -1;
	return 0;
}
