/* SPDX-License-Identifier: MIT */
#include "vmrun/vm.h"

#include "libcommon/fault.h"
#include "vmrun/vm_sections.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int vm_write(struct vm *vm, const struct machine_sections *sections, uint8_t *buf,
		    size_t *len, struct fail *why)
{
	int rc;

	/* Timers and character devices call back in the main thread, also while paused. */
	pthread_mutex_lock(&vm->machine_lock);
	clock_save(&vm->clock, &vm->clock_section);
	rc = machine_write_state(&vm->cfg, sections, buf, LIMIT_TREE_BYTES, len, why);
	pthread_mutex_unlock(&vm->machine_lock);
	return rc;
}

int vm_save(struct vm *vm, uint8_t **fdt, size_t *len, struct fail *why)
{
	struct vm_sections sections;
	uint8_t           *buf;
	int                rc;

	if (vm->run.cpus_running)
		return fail_set(why, FAIL_REFUSED, "state cannot be saved: VM not paused");
	if (vm->accel->ops->sync_state && vm->accel->ops->sync_state(vm->accel, why))
		return -1;
	buf = malloc(LIMIT_TREE_BYTES);
	if (!buf) {
		errno = ENOMEM;
		return fail_sys(why, "VM tree");
	}
	rc = vm_sections_open(vm, &sections, why);
	if (rc == 0) {
		rc = vm_write(vm, &sections.walk, buf, len, why);
		vm_sections_close(&sections);
	}
	if (rc) {
		free(buf);
		return -1;
	}
	*fdt = buf;
	return 0;
}

#ifdef VMFERRY_FAULTS
/* A planted bug, for any row of any table: "state.skip.TABLE.FIELD" leaves that field at what it
 * was before the load. */
static size_t vm_field_bytes(const struct field *f)
{
	static const size_t one[] = {
		[FIELD_BOOL] = sizeof(bool), [FIELD_U8] = 1, [FIELD_U16] = 2, [FIELD_U32] = 4,
		[FIELD_U64] = 8, [FIELD_BYTES] = 1, [FIELD_STR] = 1,
	};

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

#define VM_SKIPS 64

static void vm_skip_add(struct vm_skip *s, size_t *n, void *at, size_t len)
{
	if (*n == VM_SKIPS || len > sizeof(s->was))
		return;
	s[*n].at  = at;
	s[*n].len = len;
	memcpy(s[*n].was, at, len);
	++*n;
}

static struct vm_skip *vm_skips_before(const struct vm_sections *sections, size_t *n)
{
	struct vm_skip *s = calloc(VM_SKIPS, sizeof(*s));

	*n = 0;
	if (!s)
		abort();
	for (size_t i = 0; i < sections->n; i++) {
		const struct state_section *section = &sections->list[i].section;
		const struct field         *f       = vm_field_skipped(section->table);

		if (!f)
			continue;
		vm_skip_add(s, n, (char *)section->s + f->offset, vm_field_bytes(f));
		/* A list is its elements and their number. */
		vm_skip_add(s, n, (char *)section->s + f->used_offset, f->used_width);
	}
	return s;
}

static int vm_load_sections(struct vm *vm, const struct vm_sections *sections, const void *fdt,
			    size_t len, struct fail *why)
{
	size_t          n;
	struct vm_skip *s  = vm_skips_before(sections, &n);
	int             rc = machine_load_state(&vm->cfg, &sections->walk, fdt, len, why);

	for (size_t i = 0; i < n; i++)
		memcpy(s[i].at, s[i].was, s[i].len);
	free(s);
	return rc;
}
#else
static int vm_load_sections(struct vm *vm, const struct vm_sections *sections, const void *fdt,
			    size_t len, struct fail *why)
{
	return machine_load_state(&vm->cfg, &sections->walk, fdt, len, why);
}
#endif

/* What is derived from loaded state. CPUs first: devices then raise their interrupt lines anew. */
int vm_post_load(struct vm *vm, enum clock_policy policy, struct fail *why)
{
	clock_load(&vm->clock, &vm->clock_section, policy);
	if (vm->accel->ops->post_load(vm->accel, policy, why))
		return -1;
	if (board_post_load(vm->board, why))
		return -1;
	vm->run.ran = true;
	return 0;
}

static int vm_load_as(struct vm *vm, const struct machine *from, const void *fdt, size_t len,
		      enum clock_policy policy, struct fail *why)
{
	struct vm_sections sections;
	int                rc;

	if (vm->run.cpus_running)
		return fail_set(why, FAIL_REFUSED, "state cannot be loaded: VM not paused");
	if (machine_same_shape(&vm->cfg, from, why))
		return -1;
	/* Fields that an older version does not have keep their reset values. */
	board_reset(vm->board);
	if (vm->accel->ops->reset(vm->accel, NULL, why))
		return -1;
	vm->clock_section = (struct clock_state){ 0 };
	if (vm_sections_open(vm, &sections, why))
		return -1;
	pthread_mutex_lock(&vm->machine_lock);
	rc = vm_load_sections(vm, &sections, fdt, len, why);
	pthread_mutex_unlock(&vm->machine_lock);
	vm_sections_close(&sections);
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
	/* By the configuration as it was recorded, not what overrides made of it. */
	*from = *vm->recorded;
	if (machine_read_state(from, fdt, len, why))
		goto fail;
	if (vm_load_as(vm, from, fdt, len, vm->clock_policy, why))
		goto fail;
	free(vm->recorded);
	vm->recorded = from;
	/* A guest that waits for a reset must not continue without it. */
	vm->reset_pending = from->reset_pending;
	if (vm->reset_pending)
		vm->run.holders |= HOLD_USER;
	return 0;
fail:
	free(from);
	return -1;
}
