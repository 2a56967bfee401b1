/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/vmgenid.h"

#include "format/state/state_vmgenid.h"
#include "vmrun/devices/device_list.h"
#include "vmrun/memory.h"

#include <assert.h>
#include <sys/random.h>

struct vmgenid {
	struct device        d;
	struct vmgenid_state s;
};

static_assert(sizeof(((struct vmgenid_state *)0)->guid) == VMGENID_BYTES,
	      "the window holds the ID");

/* Its ID is read from guest memory, not from its window. */
static bool vmgenid_in_memory(const struct vmgenid *g)
{
	return g->d.cfg.irq == 0;
}

static uint64_t vmgenid_read(struct device *d, uint64_t at, unsigned size)
{
	const struct vmgenid *g = (struct vmgenid *)d;
	uint64_t              v = 0;

	if (vmgenid_in_memory(g))
		return 0;
	for (unsigned i = 0; i < size && at + i < VMGENID_BYTES; i++)
		v |= (uint64_t)g->s.guid[at + i] << (8 * i);
	return v;
}

/* The ID goes into memory only when the VM starts: a reset that is followed by a load must leave
 * the guest's memory, and the ID in it, alone. */
static void vmgenid_reset(struct device *d)
{
	struct vmgenid *g = (struct vmgenid *)d;

	g->s = (struct vmgenid_state){ 0 };
	if (getrandom(g->s.guid, sizeof(g->s.guid), 0) == (ssize_t)sizeof(g->s.guid))
		g->s.owed = vmgenid_in_memory(g);
}

static int vmgenid_put(struct vmgenid *g, struct fail *why)
{
	if (guest_copy_in(g->d.host->memory, VMGENID_GPA, g->s.guid, sizeof(g->s.guid)))
		return fail_set(why, FAIL_REFUSED, "%s: no RAM at 0x%x for the generation ID",
				g->d.node, VMGENID_GPA);
	g->s.owed = false;
	return 0;
}

static int vmgenid_resume(struct device *d, struct fail *why)
{
	struct vmgenid *g = (struct vmgenid *)d;

	return g->s.owed && vmgenid_in_memory(g) ? vmgenid_put(g, why) : 0;
}

static int vmgenid_copied(struct device *d, struct fail *why)
{
	struct vmgenid *g = (struct vmgenid *)d;

	if (getrandom(g->s.guid, sizeof(g->s.guid), 0) != (ssize_t)sizeof(g->s.guid))
		return fail_sys(why, "%s: getrandom", d->node);
	if (vmgenid_in_memory(g))
		return vmgenid_put(g, why);     /* the board notifies the guest: x86_64_copied */
	/* A pulse: the driver has nothing to acknowledge, and the interrupt controller keeps the
	 * request. */
	irq_line_set(&d->irq, true);
	irq_line_set(&d->irq, false);
	return 0;
}

static size_t vmgenid_sections(struct device *d, struct state_section *out, size_t max)
{
	if (max == 0)
		return 0;
	out[0] = (struct state_section){ .node = "vmgenid", .table = &vmgenid_state_table,
					 .s = &((struct vmgenid *)d)->s };
	return 1;
}

const struct device_ops vmgenid_ops = {
	.type       = "vmgenid",
	.compatible = "microsoft,vmgenid",
	.node       = "rng",
	.size       = sizeof(struct vmgenid),
	.reset      = vmgenid_reset,
	.read       = vmgenid_read,
	.sections   = vmgenid_sections,
	.resume     = vmgenid_resume,
	.copied     = vmgenid_copied,
};
