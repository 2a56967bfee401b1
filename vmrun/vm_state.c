/* SPDX-License-Identifier: MIT */
#include "vmrun/vm.h"

#include "format/snapshot/snapshot.h"
#include "libcommon/fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t vm_sections_vm(void *arg, struct state_section *out, size_t max)
{
	struct vm *vm = arg;

	if (max == 0)
		return 0;
	out[0] = (struct state_section){ .node = "clock", .table = &clock_state_table, .s = &vm->clock_section };
	return 1 + (vm->accel->ops->vm_sections ? vm->accel->ops->vm_sections(vm->accel, out + 1, max - 1) : 0);
}

static size_t vm_sections_cpu(void *arg, uint32_t cpu, struct state_section *out, size_t max)
{
	struct vm *vm = arg;

	return vm->accel->ops->sections(vm->accel, cpu, out, max);
}

static size_t vm_sections_device(void *arg, uint32_t device, struct state_section *out, size_t max)
{
	struct vm     *vm = arg;
	struct device *d  = vm->board->devices[device];

	return d->ops->sections ? d->ops->sections(d, out, max) : 0;
}

void vm_sections(struct vm *vm, struct machine_sections *out)
{
	*out = (struct machine_sections){ .vm_sections = vm_sections_vm, .cpu_sections = vm_sections_cpu,
		.device_sections = vm_sections_device, .arg = vm,
					.stopped = runstate_held_by(vm, HOLD_USER), .reset_pending = vm->reset_pending };
}

int vm_save(struct vm *vm, uint8_t **fdt, size_t *len, struct fail *why)
{
	struct machine_sections sections;
	uint8_t             *buf;
	int                  rc;

	if (vm->run.cpus_running)
		return fail_set(why, FAIL_REFUSED, "state cannot be saved: VM not paused");
	if (vm->accel->ops->sync_state && vm->accel->ops->sync_state(vm->accel, why))
		return -1;
	buf = malloc(LIMIT_TREE_BYTES);
	if (!buf) {
		errno = ENOMEM;
		return fail_sys(why, "VM tree");
	}
	vm_sections(vm, &sections);
	pthread_mutex_lock(&vm->machine_lock);
	clock_save(&vm->clock, &vm->clock_section);
	rc = machine_write(&vm->cfg, &sections, buf, LIMIT_TREE_BYTES, len, why);
	pthread_mutex_unlock(&vm->machine_lock);
	if (rc) {
		free(buf);
		return -1;
	}
	*fdt = buf;
	return 0;
}

#ifdef VMFERRY_FAULTS
/* A planted bug, for any row of any table: "state.skip.TABLE.FIELD" leaves that field at what it was before the load. */
static size_t vm_field_bytes(const struct field *f)
{
	static const size_t one[] = { [FIELD_BOOL] = sizeof(bool), [FIELD_U8] = 1, [FIELD_U16] = 2, [FIELD_U32] = 4,
				      [FIELD_U64] = 8, [FIELD_BYTES] = 1, [FIELD_STR] = 1 };

	return one[f->type] * f->count;
}

static const struct field *vm_field_skipped(const struct state_table *t)
{
	char point[128];

	for (const struct field *f = t->fields; f->type != FIELD_END; f++) {
		snprintf(point, sizeof(point), "state.skip.%s.%s", t->name, f->name);
		if (fault_hit(point))
			return f;
	}
	return NULL;
}

struct vm_skip {
	void   *at;
	size_t  len;
	uint8_t was[LIMIT_PROP_BYTES];
};

static size_t vm_skip_note(const struct state_section *sections, size_t n, struct vm_skip *s, size_t have, size_t max)
{
	for (size_t i = 0; i < n && have < max; i++) {
		const struct field *f = vm_field_skipped(sections[i].table);

		if (!f || vm_field_bytes(f) > sizeof(s->was))
			continue;
		s[have].at  = (char *)sections[i].s + f->offset;
		s[have].len = vm_field_bytes(f);
		memcpy(s[have].was, s[have].at, s[have].len);
		have++;
	}
	return have;
}

#define VM_SKIPS 64

static struct vm_skip *vm_skips_before(struct vm *vm, const struct machine_sections *p, size_t *n)
{
	struct state_section sections[MACHINE_SECTIONS_MAX];
	struct vm_skip   *s = calloc(VM_SKIPS, sizeof(*s));

	*n = 0;
	if (!s)
		abort();
	*n = vm_skip_note(sections, p->vm_sections(vm, sections, MACHINE_SECTIONS_MAX), s, *n, VM_SKIPS);
	for (uint32_t i = 0; i < vm->cfg.ncpus; i++)
		*n = vm_skip_note(sections, p->cpu_sections(vm, i, sections, MACHINE_SECTIONS_MAX), s, *n, VM_SKIPS);
	for (uint32_t i = 0; i < vm->cfg.ndevices; i++)
		*n = vm_skip_note(sections, p->device_sections(vm, i, sections, MACHINE_SECTIONS_MAX), s, *n, VM_SKIPS);
	return s;
}

static int vm_load_sections(struct vm *vm, const struct machine_sections *p, const void *fdt, size_t len, struct fail *why)
{
	size_t          n;
	struct vm_skip *s  = vm_skips_before(vm, p, &n);
	int             rc = machine_load_state(&vm->cfg, p, fdt, len, why);

	for (size_t i = 0; i < n; i++)
		memcpy(s[i].at, s[i].was, s[i].len);
	free(s);
	return rc;
}
#else
static int vm_load_sections(struct vm *vm, const struct machine_sections *p, const void *fdt, size_t len, struct fail *why)
{
	return machine_load_state(&vm->cfg, p, fdt, len, why);
}
#endif

/* What is derived from loaded parts: CPUs first, because devices raise their lines anew. */
int vm_post_load(struct vm *vm, enum clock_policy policy, struct fail *why)
{
	clock_load(&vm->clock, &vm->clock_section, policy);
	if (vm->accel->ops->post_load(vm->accel, policy, why) || board_post_load(vm->board, why))
		return -1;
	vm->run.ran = true;
	return 0;
}

static int vm_load_as(struct vm *vm, const struct machine *from, const void *fdt, size_t len, enum clock_policy policy,
		      struct fail *why)
{
	struct machine_sections sections;
	int                  rc;

	if (vm->run.cpus_running)
		return fail_set(why, FAIL_REFUSED, "state cannot be loaded: VM not paused");
	if (machine_same_shape(&vm->cfg, from, why))
		return -1;
	/* Fields that an older version does not have keep their reset values. */
	board_reset(vm->board);
	if (vm->accel->ops->reset(vm->accel, NULL, why))
		return -1;
	vm->clock_section = (struct clock_state){ 0 };
	vm_sections(vm, &sections);
	pthread_mutex_lock(&vm->machine_lock);
	rc = vm_load_sections(vm, &sections, fdt, len, why);
	pthread_mutex_unlock(&vm->machine_lock);
	return rc ? -1 : vm_post_load(vm, policy, why);
}

int vm_reload(struct vm *vm, const void *fdt, size_t len, struct fail *why)
{
	return vm_load_as(vm, &vm->cfg, fdt, len, CLOCK_FREEZE, why);
}

int vm_load(struct vm *vm, const void *fdt, size_t len, struct fail *why)
{
	struct machine *from = malloc(sizeof(*from));

	if (!from) {
		errno = ENOMEM;
		return fail_sys(why, "VM tree");
	}
	/* Against what was recorded, not what overrides made of it. */
	if (machine_read(from, fdt, len, why) || (vm->recorded && snap_agree(NULL, vm->recorded, from, why)) ||
	    vm_load_as(vm, from, fdt, len, vm->clock_policy, why)) {
		free(from);
		return -1;
	}
	free(vm->recorded);
	vm->recorded = from;
	/* Nothing but its reset may run it. */
	vm->reset_pending = from->reset_pending;
	if (vm->reset_pending)
		vm->run.holders |= HOLD_USER;
	return 0;
}
