/* SPDX-License-Identifier: MIT */
#include "vmrun/board/plan.h"

#include <stdio.h>
#include <string.h>

static bool plan_has(const struct machine *cfg, const char *type)
{
	for (uint32_t i = 0; i < cfg->ndevices; i++)
		if (!strcmp(cfg->devices[i].type, type))
			return true;
	return false;
}

int plan_fixed(struct machine *cfg, const struct board_machine *machines, struct fail *why)
{
	uint32_t at = 0;

	while (machines->type != cfg->type)
		machines++;
	for (const struct plan_device *f = machines->fixed; f->ops; f++) {
		struct machine_device *d = &cfg->devices[at];

		if (plan_has(cfg, f->ops->type))
			continue;
		if (cfg->ndevices >= LIMIT_DEVICES)
			return fail_set(why, FAIL_LIMIT,
					"number of devices exceeds the limit of %u", LIMIT_DEVICES);
		memmove(d + 1, d, (cfg->ndevices - at) * sizeof(*d));
		*d = (struct machine_device){ .gpa = f->gpa, .size = f->size, .irq = f->irq,
					      .slot = SLOT_NONE };
		snprintf(d->type, sizeof(d->type), "%s", f->ops->type);
		snprintf(d->host, sizeof(d->host), "%s", f->host ? f->host : "");
		cfg->ndevices++;
		at++;
	}
	return 0;
}

int plan_console(struct machine *cfg, struct fail *why)
{
	struct machine_host *h;

	if (machine_host_find(cfg, "console"))
		return 0;
	if (cfg->nhosts >= LIMIT_HOSTS)
		return fail_set(why, FAIL_LIMIT, "number of host resources exceeds the limit of %u",
				LIMIT_HOSTS);
	h = &cfg->hosts[cfg->nhosts++];
	*h = (struct machine_host){ .cls = HOST_SERIAL, .name = "console", .path = "none" };
	return 0;
}

static bool plan_slot_free(const struct machine *cfg, uint32_t slot)
{
	for (uint32_t i = 0; i < cfg->ndevices; i++)
		if (cfg->devices[i].slot == slot)
			return false;
	return true;
}

int plan_slot(const struct machine *cfg, struct machine_device *d, uint32_t slots, struct fail *why)
{
	uint32_t slot = d->slot;

	if (slot == SLOT_NONE)
		for (slot = 0; slot < slots && !plan_slot_free(cfg, slot); slot++)
			;
	if (slot >= slots)
		return fail_set(why, FAIL_LIMIT, "number of virtio devices exceeds the limit of %u",
				slots);
	d->slot = slot;
	return 0;
}

void plan_ram(struct machine_region *r, const char *name)
{
	if (!r->page_size)
		r->page_size = 4096;
	if (!r->name[0])
		snprintf(r->name, sizeof(r->name), "%s", name);
}
