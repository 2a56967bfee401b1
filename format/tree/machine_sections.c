/* SPDX-License-Identifier: MIT */
#include "format/tree/machine_internal.h"
#include "format/state/state_acpi_pm.h"
#include "format/state/state_clock.h"
#include "format/state/state_hart.h"
#include "format/state/state_i8042.h"
#include "format/state/state_mc146818.h"
#include "format/state/state_plic.h"
#include "format/state/state_rtc.h"
#include "format/state/state_uart.h"
#include "format/state/state_virtio.h"
#include "format/state/state_virtio_blk.h"
#include "format/state/state_virtio_console.h"
#include "format/state/state_virtio_rng.h"
#include "format/state/state_vmgenid.h"
#include "format/state/state_x86.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Which parts of state belong to what: docs/format.md, "State nodes". A save, a restore and whoever
 * says that a snapshot can be restored go by it; a new device is a new row. */

#define EACH_CPU    UINT32_MAX
#define OWNER_SECTIONS 8

/* One part without a number, or NAME@0 to NAME@(n - 1). */
#define ONE(t)     { &t##_state_table, 0 }
#define EACH(t, n) { &t##_state_table, n }

static const struct owner_rule {
	enum machine_owner kind;
	const char        *type;      /* a device's type; of the VM and its CPUs the machine type */
	struct {
		const struct state_table *table;
		uint32_t                  count;      /* 0: one without a number */
	} sections[OWNER_SECTIONS];
} owner_rules[] = {
	{ OWNER_VM, "riscv64-1", { ONE(clock) } },
	{ OWNER_VM, "x86-64-1",
	  { ONE(clock), EACH(x86_pic, 2), ONE(x86_ioapic), ONE(x86_pit), ONE(x86_kvmclock) } },
	{ OWNER_CPU, "riscv64-1", { ONE(hart) } },
	{ OWNER_CPU, "x86-64-1",
	  { ONE(x86_regs), ONE(x86_sregs), ONE(x86_xsave), ONE(x86_msrs), ONE(x86_lapic),
	    ONE(x86_events), ONE(x86_debugregs) } },
	{ OWNER_DEVICE, "sifive-plic", { ONE(plic), EACH(plic_context, EACH_CPU) } },
	{ OWNER_DEVICE, "ns16550a", { ONE(uart) } },
	{ OWNER_DEVICE, "goldfish-rtc", { ONE(rtc) } },
	{ OWNER_DEVICE, "mc146818", { ONE(mc146818) } },
	{ OWNER_DEVICE, "i8042", { ONE(i8042) } },
	{ OWNER_DEVICE, "acpi-pm", { ONE(acpi_pm) } },
	{ OWNER_DEVICE, "vmgenid", { ONE(vmgenid) } },
	{ OWNER_DEVICE, "reset", { { NULL, 0 } } },
	{ OWNER_DEVICE, "pvpanic", { { NULL, 0 } } },
	{ OWNER_DEVICE, "debugexit", { { NULL, 0 } } },
	{ OWNER_DEVICE, "virtio-blk",
	  { ONE(virtio), EACH(virtqueue, 1), ONE(virtio_mmio), ONE(virtio_blk) } },
	{ OWNER_DEVICE, "virtio-console",
	  { ONE(virtio), EACH(virtqueue, 2), ONE(virtio_mmio), ONE(virtio_console) } },
	{ OWNER_DEVICE, "virtio-rng",
	  { ONE(virtio), EACH(virtqueue, 1), ONE(virtio_mmio), ONE(virtio_rng) } },
};

static const struct owner_rule *owner_rule_find(enum machine_owner kind, const char *type)
{
	for (size_t i = 0; i < sizeof(owner_rules) / sizeof(owner_rules[0]); i++)
		if (owner_rules[i].kind == kind && strcmp(owner_rules[i].type, type) == 0)
			return &owner_rules[i];
	return NULL;
}

int machine_required_sections(const struct machine *m, enum machine_owner kind, uint32_t i, struct state_section out[MACHINE_SECTIONS_MAX], size_t *n,
			   struct fail *why)
{
	const char              *type = kind == OWNER_DEVICE ? m->devices[i].type : machine_type_names[m->type];
	const struct owner_rule *rule = owner_rule_find(kind, type);

	if (!rule)
		return fail_set(why, FAIL_VERSION, "device type '%s' not supported by this build",
				type);
	*n = 0;
	for (size_t k = 0; k < OWNER_SECTIONS && rule->sections[k].table; k++) {
		const struct state_table *t     = rule->sections[k].table;
		uint32_t                  count = rule->sections[k].count, nodes;

		if (count == EACH_CPU)
			count = m->ncpus;
		nodes = count ? count : 1;
		if (nodes > MACHINE_SECTIONS_MAX - *n)
			return fail_set(why, FAIL_LIMIT, "%s: more than %u state nodes", type,
					MACHINE_SECTIONS_MAX);
		for (uint32_t u = 0; u < nodes; u++, (*n)++) {
			out[*n] = (struct state_section){ .table = t };
			if (count)
				snprintf(out[*n].node, sizeof(out[*n].node), "%s@%" PRIx32, t->name,
					 u);
			else
				snprintf(out[*n].node, sizeof(out[*n].node), "%s", t->name);
		}
	}
	return 0;
}

/* Both lists are short; their order is the owner's business. */
static int parts_agree(const struct state_section *want, size_t nwant, const struct state_section *have,
		       size_t nhave, const char *where, struct fail *why)
{
	size_t k;

	for (size_t i = 0; i < nwant; i++) {
		for (k = 0; k < nhave &&
			    (strcmp(want[i].node, have[k].node) || want[i].table != have[k].table);)
			k++;
		if (k == nhave)
			return fail_set(why, FAIL_VERSION,
					"%s: state '%s' not supported by this build", where,
					want[i].node);
	}
	if (nhave != nwant)
		return fail_set(why, FAIL_VERSION, "%s: %zu state nodes, expected %zu", where,
				nhave, nwant);
	return 0;
}

int machine_live_sections(const struct machine *m, const struct machine_sections *p,
		       enum machine_owner kind, uint32_t i, const char *where,
		       struct state_section list[MACHINE_SECTIONS_MAX], size_t *n, struct fail *why)
{
	struct state_section want[MACHINE_SECTIONS_MAX];
	size_t            nwant;

	if (machine_required_sections(m, kind, i, want, &nwant, why))
		return fail_prefix(why, "%s: ", where);
	*n = 0;
	switch (kind) {
	case OWNER_VM:
		*n = p->vm_sections ? p->vm_sections(p->arg, list, MACHINE_SECTIONS_MAX) : 0;
		break;
	case OWNER_CPU:
		*n = p->cpu_sections ? p->cpu_sections(p->arg, i, list, MACHINE_SECTIONS_MAX) : 0;
		break;
	case OWNER_DEVICE:
		*n = p->device_sections ? p->device_sections(p->arg, i, list, MACHINE_SECTIONS_MAX) : 0;
		break;
	}
	if (*n > MACHINE_SECTIONS_MAX)
		return fail_set(why, FAIL_LIMIT, "%s: %zu state nodes exceed the limit of %u", where, *n,
				MACHINE_SECTIONS_MAX);
	return parts_agree(want, nwant, list, *n, where, why);
}
