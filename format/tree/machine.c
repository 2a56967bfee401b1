/* SPDX-License-Identifier: MIT */
#include "format/tree/machine.h"

#include "format/tree/machine_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const region_kind_names[REGION_KINDS] = {
	[REGION_RAM]  = "ram",
	[REGION_ROM]  = "rom",
	[REGION_VRAM] = "vram",
	[REGION_DISK] = "disk",
};

const char *const host_class_names[HOST_CLASSES] = {
	[HOST_DISK]   = "disk",
	[HOST_SERIAL] = "serial",
	[HOST_RNG]    = "rng",
	[HOST_KERNEL] = "kernel",
	[HOST_INITRD] = "initrd",
};

const char *const reboot_policy_names[REBOOT_POLICIES] = {
	[REBOOT_RESET] = "reset",
	[REBOOT_EXIT]  = "exit",
	[REBOOT_PAUSE] = "pause",
};

const char *const clock_policy_names[CLOCK_POLICIES] = {
	[CLOCK_FREEZE]  = "freeze",
	[CLOCK_ADVANCE] = "advance",
};

static_assert(REGION_KINDS == 4 && HOST_CLASSES == 5 && REBOOT_POLICIES == 3 && CLOCK_POLICIES == 2,
	      "a kind has no name");

struct machine_host *machine_host_find(const struct machine *m, const char *name)
{
	for (uint32_t i = 0; i < m->nhosts; i++)
		if (strcmp(m->hosts[i].name, name) == 0)
			return (struct machine_host *)&m->hosts[i];
	return NULL;
}

bool machine_host_fixed(const struct machine_host *h)
{
	return h->cls == HOST_KERNEL || h->cls == HOST_INITRD;
}

const struct machine_region *machine_region_find(const struct machine *m, uint32_t id)
{
	for (uint32_t i = 0; i < m->nregions; i++)
		if (m->regions[i].id == id)
			return &m->regions[i];
	return NULL;
}

void machine_device_node(const struct machine_device *d, char out[MACHINE_NODE_MAX])
{
	snprintf(out, MACHINE_NODE_MAX, "%s@%" PRIx64, d->type, d->gpa);
}

void machine_region_node(const struct machine_region *r, char out[MACHINE_NODE_MAX])
{
	if (r->kind == REGION_DISK)
		snprintf(out, MACHINE_NODE_MAX, "disk-%" PRIu32, r->id);
	else
		snprintf(out, MACHINE_NODE_MAX, "%s@%" PRIx64,
			 r->kind == REGION_RAM ? "memory" : "region", r->gpa);
}

static int machine_same_regions(const struct machine *a, const struct machine *b, struct fail *why)
{
	if (a->nregions != b->nregions)
		return fail_set(why, FAIL_VERSION,
				"number of regions differs: %" PRIu32 " here, %" PRIu32 " there",
				a->nregions, b->nregions);
	for (uint32_t i = 0; i < a->nregions; i++) {
		const struct machine_region *x = &a->regions[i], *y = machine_region_find(b, x->id);

		if (!y)
			return fail_set(why, FAIL_VERSION, "region %" PRIu32 " (%s): missing there",
					x->id, x->name);
		if (x->size != y->size)
			return fail_set(why, FAIL_VERSION,
					"region %" PRIu32 " (%s): %" PRIu64 " bytes here, %" PRIu64
					" there", x->id, x->name, x->size, y->size);
		if (x->kind != y->kind || x->gpa != y->gpa || x->page_size != y->page_size ||
		    strcmp(x->name, y->name))
			return fail_set(why, FAIL_VERSION, "region %" PRIu32 " (%s): differs",
					x->id, x->name);
	}
	return 0;
}

static int machine_same_devices(const struct machine *a, const struct machine *b, struct fail *why)
{
	if (a->ndevices != b->ndevices)
		return fail_set(why, FAIL_VERSION,
				"number of devices differs: %" PRIu32 " here, %" PRIu32 " there",
				a->ndevices, b->ndevices);
	for (uint32_t i = 0; i < a->ndevices; i++) {
		const struct machine_device *x = &a->devices[i], *y = &b->devices[i];
		char                         here[MACHINE_NODE_MAX], there[MACHINE_NODE_MAX];

		machine_device_node(x, here);
		machine_device_node(y, there);
		if (strcmp(here, there))
			return fail_set(why, FAIL_VERSION, "device %" PRIu32 ": %s here, %s there",
					i, here, there);
		if (x->size != y->size || x->irq != y->irq || x->slot != y->slot ||
		    strcmp(x->host, y->host))
			return fail_set(why, FAIL_VERSION,
					"%s: address, interrupt, slot or host resource differs",
					here);
	}
	return 0;
}

int machine_same_shape(const struct machine *a, const struct machine *b, struct fail *why)
{
	if (a->type != b->type)
		return fail_set(why, FAIL_VERSION, "machine type: %s here, %s there",
				machine_type_name(a->type), machine_type_name(b->type));
	if (strcmp(a->cpu_model, b->cpu_model))
		return fail_set(why, FAIL_VERSION, "CPU: %.120s here, %.120s there", a->cpu_model,
				b->cpu_model);
	if (a->ncpus != b->ncpus)
		return fail_set(why, FAIL_VERSION, "CPUs: %" PRIu32 " here, %" PRIu32 " there",
				a->ncpus, b->ncpus);
	if (a->timebase_hz != b->timebase_hz)
		return fail_set(why, FAIL_VERSION,
				"timebase: %" PRIu64 " Hz here, %" PRIu64 " Hz there",
				a->timebase_hz, b->timebase_hz);
	if (machine_same_x86(a, b, why) || machine_same_regions(a, b, why))
		return -1;
	return machine_same_devices(a, b, why);
}
