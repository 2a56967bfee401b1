/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_ZERO_STATE_H
#define TESTS_UNIT_ZERO_STATE_H

#include "format/tree/machine.h"

/* The STATE tree of a machine of which every saved value is zero: the sections that it must have,
 * and nothing that a test would look at. */

static inline size_t zero_sections(const struct machine *m, enum machine_owner kind, uint32_t i,
				   struct state_section *out)
{
	static _Alignas(16) uint8_t zeroes[LIMIT_PROP_BYTES];
	struct fail                 why;
	size_t                      n;

	if (machine_required_sections(m, kind, i, out, &n, &why))
		return 0;
	for (size_t k = 0; k < n; k++)
		out[k].s = zeroes;
	return n;
}

static inline size_t zero_vm(void *arg, struct state_section *out, size_t max)
{
	(void)max;
	return zero_sections(arg, OWNER_VM, 0, out);
}

static inline size_t zero_cpu(void *arg, uint32_t cpu, struct state_section *out, size_t max)
{
	(void)max;
	return zero_sections(arg, OWNER_CPU, cpu, out);
}

static inline size_t zero_device(void *arg, uint32_t device, struct state_section *out, size_t max)
{
	(void)max;
	return zero_sections(arg, OWNER_DEVICE, device, out);
}

/* As machine_write_state(). */
static inline int zero_state_write(struct machine *m, void *buf, size_t capacity, size_t *len,
				   struct fail *why)
{
	const struct machine_sections sections = { .vm_sections = zero_vm,
						   .cpu_sections = zero_cpu,
						   .device_sections = zero_device, .arg = m };

	return machine_write_state(m, &sections, buf, capacity, len, why);
}

#endif
