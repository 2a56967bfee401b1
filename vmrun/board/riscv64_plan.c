#include "vmrun/board/riscv64.h"

#include "vmrun/devices/plic.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct machine_device fixed[] = {
	{ .type = "sifive-plic", .gpa = RISCV64_PLIC, .size = PLIC_WINDOW, .slot = SLOT_NONE },
	{ .type = "ns16550a", .host = "console", .gpa = RISCV64_UART, .size = RISCV64_UART_SIZE, .irq = RISCV64_UART_IRQ,
	  .slot = SLOT_NONE },
	{ .type = "goldfish-rtc", .gpa = RISCV64_RTC, .size = RISCV64_RTC_SIZE, .irq = RISCV64_RTC_IRQ, .slot = SLOT_NONE },
};
#define NFIXED (sizeof(fixed) / sizeof(fixed[0]))

static bool plan_has(const struct machine *cfg, const char *type)
{
	for (uint32_t i = 0; i < cfg->ndevices; i++)
		if (!strcmp(cfg->devices[i].type, type))
			return true;
	return false;
}

/* In front of what the user asked for: the controller is loaded before the lines into it. */
static int plan_fixed(struct machine *cfg, struct fail *why)
{
	uint32_t at = 0;

	for (size_t i = 0; i < NFIXED; i++) {
		if (plan_has(cfg, fixed[i].type))
			continue;
		if (cfg->ndevices >= LIMIT_DEVICES)
			return fail_set(why, FAIL_LIMIT, "more than %u devices", LIMIT_DEVICES);
		memmove(&cfg->devices[at + 1], &cfg->devices[at], (cfg->ndevices - at) * sizeof(cfg->devices[0]));
		cfg->devices[at++] = fixed[i];
		cfg->ndevices++;
	}
	return 0;
}

static int plan_console(struct machine *cfg, struct fail *why)
{
	struct machine_host *h;

	if (machine_host_find(cfg, "console"))
		return 0;
	if (cfg->nhosts >= LIMIT_HOSTS)
		return fail_set(why, FAIL_LIMIT, "more than %u host resources", LIMIT_HOSTS);
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

static int plan_slots(struct machine *cfg, struct fail *why)
{
	for (uint32_t i = 0; i < cfg->ndevices; i++) {
		struct machine_device *d    = &cfg->devices[i];
		uint32_t               slot = d->slot;

		if (d->gpa)
			continue;
		if (slot == SLOT_NONE)
			for (slot = 0; slot < RISCV64_SLOTS && !plan_slot_free(cfg, slot); slot++)
				;
		if (slot >= RISCV64_SLOTS)
			return fail_set(why, FAIL_LIMIT, "more than %u virtio devices", RISCV64_SLOTS);
		d->slot = slot;
		d->gpa  = RISCV64_VIRTIO + (uint64_t)slot * RISCV64_VIRTIO_SIZE;
		d->size = RISCV64_VIRTIO_SIZE;
		d->irq  = slot < 8 ? 1 + slot : 12 + slot - 8;
	}
	return 0;
}

int riscv64_plan(struct machine *cfg, struct fail *why)
{
	if (cfg->ncpus == 0 || cfg->ncpus > PLIC_HARTS_MAX)
		return fail_set(why, FAIL_USAGE, "%u CPUs: riscv64-1 has 1 to %u", cfg->ncpus, PLIC_HARTS_MAX);
	if (cfg->nregions == 0)
		return fail_set(why, FAIL_USAGE, "no RAM");
	if (!cfg->regions[0].gpa)
		cfg->regions[0].gpa = RISCV64_RAM;
	if (!cfg->regions[0].page_size)
		cfg->regions[0].page_size = 4096;
	if (!cfg->regions[0].name[0])
		snprintf(cfg->regions[0].name, sizeof(cfg->regions[0].name), "ram");
	if (!cfg->isa[0])
		snprintf(cfg->isa, sizeof(cfg->isa), "%s", RISCV64_ISA);
	if (!cfg->timebase_hz)
		cfg->timebase_hz = RISCV64_TIMEBASE_HZ;
	if (plan_fixed(cfg, why) || plan_console(cfg, why))
		return -1;
	return plan_slots(cfg, why);
}
