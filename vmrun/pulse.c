/* SPDX-License-Identifier: MIT */
#include "vmrun/vm.h"

#include "libcommon/populated.h"
#include "vmrun/vm_sections.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All state as it is now, in the order of vm_sections, with copies of it: what a load must bring
 * back, and what restores the VM when it does not. */
struct pulse {
	struct vm_sections sections;
	void             **copies;      /* one for each section; NULL: without */
};

static void pulse_close(struct pulse *p)
{
	for (size_t i = 0; p->copies && i < p->sections.n; i++)
		free(p->copies[i]);
	free(p->copies);
	vm_sections_close(&p->sections);
	p->copies = NULL;
}

static int pulse_copy(struct pulse *p, struct fail *why)
{
	p->copies = calloc(p->sections.n, sizeof(*p->copies));
	for (size_t i = 0; p->copies && i < p->sections.n; i++) {
		const struct state_section *section = &p->sections.list[i].section;

		p->copies[i] = malloc(section->table->size);
		if (!p->copies[i])
			break;
		memcpy(p->copies[i], section->s, section->table->size);
	}
	if (p->copies && p->copies[p->sections.n - 1])
		return 0;
	errno = ENOMEM;
	return fail_sys(why, "pulse");
}

/* "vm", "cpu@0", "ns16550a@10000000". */
static const char *pulse_where(const struct vm *vm, const struct vm_section *s,
			       char out[MACHINE_NODE_MAX])
{
	switch (s->owner) {
	case OWNER_VM:
		snprintf(out, MACHINE_NODE_MAX, "vm");
		break;
	case OWNER_CPU:
		snprintf(out, MACHINE_NODE_MAX, "cpu@%" PRIx32, s->index);
		break;
	case OWNER_DEVICE:
		machine_device_node(&vm->cfg.devices[s->index], out);
		break;
	}
	return out;
}

static int pulse_differs(const struct vm *vm, const struct vm_section *at, const void *was,
			 struct fail *why)
{
	const struct state_section *is = &at->section;
	uint32_t                    n  = 0;
	const struct field         *f  = state_differs(is->table, was, is->s, &n);
	char                        index[16] = "", where[MACHINE_NODE_MAX];

	if (!f)
		return 0;
	pulse_where(vm, at, where);
	if (f->type == FIELD_BYTES || f->type == FIELD_STR)
		return fail_set(why, FAIL_CORRUPT, "pulse: %s: %s.%s differs at byte %" PRIu32,
				where, is->node, f->name, n);
	if (f->count > 1)
		snprintf(index, sizeof(index), "[%" PRIu32 "]", n);
	uint64_t before = state_value(f, was, n), after = state_value(f, is->s, n);

	if (f->show == SHOW_HEX)
		return fail_set(why, FAIL_CORRUPT,
				"pulse: %s: %s.%s%s: 0x%" PRIx64 " before, 0x%" PRIx64 " after",
				where, is->node, f->name, index, before, after);
	return fail_set(why, FAIL_CORRUPT,
			"pulse: %s: %s.%s%s: %" PRIu64 " before, %" PRIu64 " after", where,
			is->node, f->name, index, before, after);
}

static int pulse_compare(const struct vm *vm, const struct pulse *was, const struct pulse *is,
			 struct fail *why)
{
	char where[MACHINE_NODE_MAX];

	if (was->sections.n != is->sections.n)
		return fail_set(why, FAIL_CORRUPT,
				"pulse: number of state nodes differs: %zu before, %zu after",
				was->sections.n, is->sections.n);
	for (size_t i = 0; i < was->sections.n; i++) {
		const struct vm_section *a = &was->sections.list[i], *b = &is->sections.list[i];

		if (a->owner != b->owner || a->index != b->index ||
		    strcmp(a->section.node, b->section.node))
			return fail_set(why, FAIL_CORRUPT, "pulse: %s: %s before, %s after",
					pulse_where(vm, a, where), a->section.node,
					b->section.node);
		if (pulse_differs(vm, b, was->copies[i], why))
			return -1;
	}
	return 0;
}

/* Memory belongs to the guest: neither saving nor loading may write any. */
static int pulse_ram(struct vm *vm, struct fail *why)
{
	for (unsigned i = 0; i < vm->memory.nregions; i++) {
		struct region *r = &vm->memory.regions[i];

		uint64_t       first, end;

		region_look(r);
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

	for (size_t i = 0; i < was->sections.n; i++) {
		const struct state_section *section = &was->sections.list[i].section;

		memcpy(section->s, was->copies[i], section->table->size);
	}
	if (vm_post_load(vm, CLOCK_FREEZE, &ignored))
		return;     /* the first failure is the one that is reported */
}

static int pulse_load(struct vm *vm, const struct pulse *was, const uint8_t *tree, size_t len,
		      struct fail *why)
{
	struct pulse is    = { .copies = NULL };
	uint8_t     *again = NULL;
	size_t       again_len;
	int          rc = -1;

	if (vm_reload(vm, tree, len, why) || vm_save(vm, &again, &again_len, why) ||
	    vm_sections_open(vm, &is.sections, why)) {
		fail_prefix(why, "pulse: ");
		goto out;
	}
	/* The first section is the clock; the host's time of the save has moved on. */
	vm->clock_section.realtime_ns = ((const struct clock_state *)was->copies[0])->realtime_ns;
	rc = pulse_compare(vm, was, &is, why);
out:
	pulse_close(&is);
	free(again);
	return rc;
}

/* While the VM is paused. A failure leaves it as it was before. */
static int pulse_once(struct vm *vm, struct fail *why)
{
	struct pulse was  = { .copies = NULL };
	uint8_t     *tree = NULL;
	size_t       len;
	int          rc = -1;

	/* Syncs the dirty log first, so that pulse_ram sees what this writes and nothing else. */
	if (dirty_sync(&vm->dirty, NULL, NULL, why) || vm_save(vm, &tree, &len, why) ||
	    vm_sections_open(vm, &was.sections, why) || pulse_copy(&was, why))
		goto out;
	if (pulse_load(vm, &was, tree, len, why)) {
		pulse_put_back(vm, &was);
		goto out;
	}
	rc = pulse_ram(vm, why);
out:
	pulse_close(&was);
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
	vm_process_events(vm);     /* an event of the guest must not be lost between two states */
	if (vm->run.ended)
		return fail_set(why, FAIL_ENDED, "the VM has ended");
	/* Twice: the second finds what the first load derived wrongly. */
	rc = pulse_once(vm, why) || pulse_once(vm, why) ? -1 : 0;
	if (runstate_apply(vm, &late) && rc == 0) {
		*why = late;
		rc   = -1;
	}
	/* A reset that the guest asked for just before may have left the VM paused. */
	if (was_running && !vm->run.cpus_running)
		vm_send_event(vm, "STOP", NULL);
	return rc;
}
