/* SPDX-License-Identifier: MIT */
#include "vmrun/vm.h"

#include "libcommon/populated.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A copy of every part, in the order vm_sections walks: what a load must bring back, and what puts the VM right when it
 * does not. */
struct pulse_section {
	char              where[MACHINE_NODE_MAX];     /* "ns16550a@10000000", "cpu@0", "vm" */
	struct state_section section;                        /* .s is the live struct */
	void             *copy;
};

struct pulse {
	struct pulse_section *sections;
	size_t             n, capacity;
};

static void pulse_close(struct pulse *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->sections[i].copy);
	free(p->sections);
	*p = (struct pulse){ 0 };
}

static int pulse_add(struct pulse *p, const char *where, const struct state_section *sections, size_t n, bool copy, struct fail *why)
{
	for (size_t i = 0; i < n; i++) {
		if (p->n == p->capacity) {
			size_t             capacity = p->capacity ? p->capacity * 2 : 32;
			struct pulse_section *more = realloc(p->sections, capacity * sizeof(*more));

			if (!more)
				goto nomem;
			p->sections = more;
			p->capacity  = capacity;
		}
		struct pulse_section *e = &p->sections[p->n];

		*e = (struct pulse_section){ .section = sections[i] };
		snprintf(e->where, sizeof(e->where), "%s", where);
		if (copy) {
			e->copy = malloc(sections[i].table->size);
			if (!e->copy)
				goto nomem;
			memcpy(e->copy, sections[i].s, sections[i].table->size);
		}
		p->n++;
	}
	return 0;
nomem:
	errno = ENOMEM;
	return fail_sys(why, "pulse");
}

/* All parts of the VM as they are now; copy: with their content. */
static int pulse_walk(struct pulse *p, struct vm *vm, bool copy, struct fail *why)
{
	struct state_section    sections[MACHINE_SECTIONS_MAX];
	struct machine_sections walk;
	char                 where[MACHINE_NODE_MAX];

	*p = (struct pulse){ 0 };
	vm_sections(vm, &walk);
	if (pulse_add(p, "vm", sections, walk.vm_sections(vm, sections, MACHINE_SECTIONS_MAX), copy, why))
		return -1;
	for (uint32_t i = 0; i < vm->cfg.ncpus; i++) {
		snprintf(where, sizeof(where), "cpu@%" PRIx32, i);
		if (pulse_add(p, where, sections, walk.cpu_sections(vm, i, sections, MACHINE_SECTIONS_MAX), copy, why))
			return -1;
	}
	for (uint32_t i = 0; i < vm->cfg.ndevices; i++) {
		machine_device_node(&vm->cfg.devices[i], where);
		if (pulse_add(p, where, sections, walk.device_sections(vm, i, sections, MACHINE_SECTIONS_MAX), copy, why))
			return -1;
	}
	return 0;
}

static int pulse_differs(const struct pulse_section *was, const struct pulse_section *is, struct fail *why)
{
	uint32_t            at = 0;
	char                index[16] = "";
	const struct field *f = state_differs(was->section.table, was->copy, is->section.s, &at);

	if (!f)
		return 0;
	if (f->type == FIELD_BYTES || f->type == FIELD_STR)
		return fail_set(why, FAIL_CORRUPT, "pulse: %s: %s.%s differs at byte %" PRIu32,
				was->where, was->section.node, f->name, at);
	if (f->count > 1)
		snprintf(index, sizeof(index), "[%" PRIu32 "]", at);
	uint64_t before = state_value(f, was->copy, at), after = state_value(f, is->section.s, at);

	if (f->show == SHOW_HEX)
		return fail_set(why, FAIL_CORRUPT, "pulse: %s: %s.%s%s: 0x%" PRIx64 " before, 0x%" PRIx64 " after", was->where,
				was->section.node, f->name, index, before, after);
	return fail_set(why, FAIL_CORRUPT, "pulse: %s: %s.%s%s: %" PRIu64 " before, %" PRIu64 " after", was->where, was->section.node,
			f->name, index, before, after);
}

static int pulse_compare(const struct pulse *was, const struct pulse *is, struct fail *why)
{
	if (was->n != is->n)
		return fail_set(why, FAIL_CORRUPT,
				"pulse: number of state nodes differs: %zu before, %zu after",
				was->n, is->n);
	for (size_t i = 0; i < was->n; i++) {
		if (strcmp(was->sections[i].where, is->sections[i].where) || strcmp(was->sections[i].section.node, is->sections[i].section.node))
			return fail_set(why, FAIL_CORRUPT, "pulse: %s: %s before, %s after", was->sections[i].where, was->sections[i].section.node,
					is->sections[i].section.node);
		if (pulse_differs(&was->sections[i], &is->sections[i], why))
			return -1;
	}
	return 0;
}

/* RAM belongs to the guest: neither saving nor loading may have written any. */
static int pulse_ram(struct vm *vm, struct fail *why)
{
	for (unsigned i = 0; i < vm->memory.nregions; i++) {
		struct region *r = &vm->memory.regions[i];

		uint64_t       first, end;

		populated_look(r->blocks, r->fd, r->npages);
		for (uint64_t at = 0; populated_next(r->blocks, r->npages, at, &first, &end);
		     at = end)
			for (uint64_t w = first / 64; w < bitmap_words(end); w++) {
				uint64_t word = atomic_load(&r->dirty[w]);

				if (word)
					return fail_set(
						why, FAIL_CORRUPT,
						"pulse: memory changed: region %s, page %" PRIu64,
						r->cfg.name,
						w * 64 + (uint64_t)__builtin_ctzll(word));
			}
	}
	return 0;
}

static void pulse_put_back(struct vm *vm, const struct pulse *was)
{
	struct fail ignored;

	for (size_t i = 0; i < was->n; i++)
		memcpy(was->sections[i].section.s, was->sections[i].copy, was->sections[i].section.table->size);
	if (vm_post_load(vm, CLOCK_FREEZE, &ignored))
		return;     /* the first failure is the one to be told of */
}

/* While the VM stands. A failure leaves it as it was before. */
static int pulse_once(struct vm *vm, struct fail *why)
{
	struct pulse was = { 0 }, is = { 0 };
	uint8_t     *tree = NULL, *again = NULL;
	size_t       len, again_len;
	int          rc = -1;

	if (dirty_sync(&vm->dirty, NULL, NULL, why) || vm_save(vm, &tree, &len, why) || pulse_walk(&was, vm, true, why))
		goto out;
	if (vm_reload(vm, tree, len, why) || vm_save(vm, &again, &again_len, why) || pulse_walk(&is, vm, false, why)) {
		fail_prefix(why, "pulse: ");
		pulse_put_back(vm, &was);
		goto out;
	}
	vm->clock_section.realtime_ns = ((const struct clock_state *)was.sections[0].copy)->realtime_ns;     /* the host's went on */
	if (pulse_compare(&was, &is, why)) {
		pulse_put_back(vm, &was);
		goto out;
	}
	rc = pulse_ram(vm, why);
out:
	pulse_close(&is);
	pulse_close(&was);
	free(again);
	free(tree);
	return rc;
}

int vm_pulse(struct vm *vm, struct fail *why)
{
	struct fail late        = { 0 };
	bool        was_running = vm->run.cpus_running;
	int         rc;

	if (vm->run.ended)
		return fail_set(why, FAIL_ENDED, "the VM has ended");
	if (runstate_quiesce(vm, why))
		return -1;
	vm_process_events(vm);     /* a wish of the guest's must not be lost between two states */
	if (vm->run.ended)
		return fail_set(why, FAIL_ENDED, "the VM has ended");
	/* Twice: the second finds what the first load derived wrongly. */
	rc = pulse_once(vm, why) || pulse_once(vm, why) ? -1 : 0;
	if (runstate_apply(vm, &late) && rc == 0) {
		*why = late;
		rc   = -1;
	}
	/* A reset that the guest asked for just before may have left it to its user. */
	if (was_running && !vm->run.cpus_running)
		vm_send_event(vm, "STOP", NULL);
	return rc;
}
