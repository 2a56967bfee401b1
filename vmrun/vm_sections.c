/* SPDX-License-Identifier: MIT */
#include "vmrun/vm_sections.h"

#include "vmrun/vm.h"

#include <errno.h>
#include <stdlib.h>

static int sections_add(struct vm_sections *s, enum machine_owner owner, uint32_t index,
			const struct state_section *sections, size_t n, struct fail *why)
{
	if (s->n + n > s->capacity) {
		size_t             capacity = 2 * (s->n + n);
		struct vm_section *more     = realloc(s->list, capacity * sizeof(*more));

		if (!more) {
			errno = ENOMEM;
			return fail_sys(why, "list of state sections");
		}
		s->list     = more;
		s->capacity = capacity;
	}
	for (size_t i = 0; i < n; i++)
		s->list[s->n++] = (struct vm_section){ .owner = owner, .index = index,
						       .section = sections[i] };
	return 0;
}

static int sections_of_vm(struct vm *vm, struct vm_sections *s, struct fail *why)
{
	const struct accel_ops *ops = vm->accel->ops;
	struct state_section    out[MACHINE_SECTIONS_MAX];
	size_t                  n = 1;

	out[0] = (struct state_section){ .node = "clock", .table = &clock_state_table,
					 .s = &vm->clock_section };
	if (ops->vm_sections)
		n += ops->vm_sections(vm->accel, out + 1, MACHINE_SECTIONS_MAX - 1);
	return sections_add(s, OWNER_VM, 0, out, n, why);
}

static int sections_of_cpus(struct vm *vm, struct vm_sections *s, struct fail *why)
{
	struct state_section out[MACHINE_SECTIONS_MAX];

	for (uint32_t i = 0; i < vm->cfg.ncpus; i++) {
		size_t n = vm->accel->ops->sections(vm->accel, i, out, MACHINE_SECTIONS_MAX);

		if (sections_add(s, OWNER_CPU, i, out, n, why))
			return -1;
	}
	return 0;
}

static int sections_of_devices(struct vm *vm, struct vm_sections *s, struct fail *why)
{
	struct state_section out[MACHINE_SECTIONS_MAX];

	for (uint32_t i = 0; i < vm->cfg.ndevices; i++) {
		struct device *d = vm->board->devices[i];
		size_t         n;

		n = d->ops->sections ? d->ops->sections(d, out, MACHINE_SECTIONS_MAX) : 0;
		if (sections_add(s, OWNER_DEVICE, i, out, n, why))
			return -1;
	}
	return 0;
}

static size_t sections_list(const struct vm_sections *s, enum machine_owner owner, uint32_t index,
			    struct state_section *out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n && n < max; i++)
		if (s->list[i].owner == owner && s->list[i].index == index)
			out[n++] = s->list[i].section;
	return n;
}

static size_t sections_list_vm(void *arg, struct state_section *out, size_t max)
{
	return sections_list(arg, OWNER_VM, 0, out, max);
}

static size_t sections_list_cpu(void *arg, uint32_t cpu, struct state_section *out, size_t max)
{
	return sections_list(arg, OWNER_CPU, cpu, out, max);
}

static size_t sections_list_device(void *arg, uint32_t device, struct state_section *out,
				   size_t max)
{
	return sections_list(arg, OWNER_DEVICE, device, out, max);
}

int vm_sections_open(struct vm *vm, struct vm_sections *s, struct fail *why)
{
	int rc;

	*s = (struct vm_sections){ .walk = {
		.vm_sections     = sections_list_vm,
		.cpu_sections    = sections_list_cpu,
		.device_sections = sections_list_device,
		.arg             = s,
		.stopped         = runstate_held_by(vm, HOLD_USER),
		.reset_pending   = vm->reset_pending,
	} };
	pthread_mutex_lock(&vm->machine_lock);
	rc = sections_of_vm(vm, s, why) || sections_of_cpus(vm, s, why) ||
	     sections_of_devices(vm, s, why) ? -1 : 0;
	pthread_mutex_unlock(&vm->machine_lock);
	if (rc)
		vm_sections_close(s);
	return rc;
}

void vm_sections_close(struct vm_sections *s)
{
	free(s->list);
	*s = (struct vm_sections){ 0 };
}
