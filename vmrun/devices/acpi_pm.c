/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/acpi_pm.h"

#include "format/state/state_acpi_pm.h"
#include "vmrun/devices/device_list.h"

#include <jansson.h>

#define PM1_PWRBTN  0x0100u

#define CONTROL_SCI_EN  0x0001u
#define CONTROL_TYPE(c) ((c) >> 10 & 7u)
#define CONTROL_SLP_EN  0x2000u

/* The blocks' halves, and the high byte of the control register, which holds both SLP_TYP and
 * SLP_EN. */
#define ENABLE       (ACPI_PM_EVENT + 2)
#define CONTROL_HIGH (ACPI_PM_CONTROL + 1)
#define GPE0_ENABLE  (ACPI_PM_GPE0 + 4)

struct acpi_pm {
	struct device        d;
	struct acpi_pm_state s;
	uint64_t             interrupts, buttons, events;
};

static void acpi_pm_update(struct acpi_pm *p)
{
	bool sci = (p->s.pm1_status & p->s.pm1_enable) || (p->s.gpe_status & p->s.gpe_enable);

	if (sci && !p->d.irq.level)
		p->interrupts++;
	irq_line_set(&p->d.irq, sci);
}

static uint32_t acpi_pm_timer(const struct acpi_pm *p)
{
	uint64_t ns = device_clock_ns(&p->d), second = 1000000000;

	return (uint32_t)(ns / second * ACPI_PM_HZ + ns % second * ACPI_PM_HZ / second);
}

/* Registers are seen as bytes, so that every size and offset is served; a guest may read half of
 * one. */
static uint8_t acpi_pm_byte(const struct acpi_pm *p, uint64_t at, uint32_t timer)
{
	const struct { uint64_t at, len; uint32_t value; } registers[] = {
		{ .at = ACPI_PM_EVENT,   .len = 2, .value = p->s.pm1_status },
		{ .at = ENABLE,          .len = 2, .value = p->s.pm1_enable },
		{ .at = ACPI_PM_CONTROL, .len = 2, .value = p->s.pm1_control },
		{ .at = ACPI_PM_TIMER,   .len = 4, .value = timer },
		{ .at = ACPI_PM_GPE0,    .len = 4, .value = p->s.gpe_status },
		{ .at = GPE0_ENABLE,     .len = 4, .value = p->s.gpe_enable },
	};

	for (size_t i = 0; i < sizeof(registers) / sizeof(registers[0]); i++)
		if (at - registers[i].at < registers[i].len)
			return (uint8_t)(registers[i].value >> 8 * (at - registers[i].at));
	return 0;
}

static uint64_t acpi_pm_read(struct device *d, uint64_t at, unsigned size)
{
	struct acpi_pm *p     = (struct acpi_pm *)d;
	uint32_t        timer = acpi_pm_timer(p);
	uint64_t        v     = 0;

	for (unsigned i = 0; i < size && i < 8; i++)
		v |= (uint64_t)acpi_pm_byte(p, at + i, timer) << 8 * i;
	return v;
}

static void acpi_pm_sleep(struct acpi_pm *p)
{
	/* Other types are states that the DSDT does not offer. */
	switch (CONTROL_TYPE(p->s.pm1_control)) {
	case ACPI_PM_SLP_S5:
		device_event(&p->d, VM_EVENT_SHUTDOWN);
		break;
	case ACPI_PM_SLP_S4:
		device_event(&p->d, VM_EVENT_HIBERNATED);
		break;
	default:
		break;
	}
}

static uint32_t with_byte(uint32_t value, uint64_t byte, uint8_t v)
{
	return (value & ~(0xffu << 8 * byte)) | (uint32_t)v << 8 * byte;
}

static void acpi_pm_write_byte(struct acpi_pm *p, uint64_t at, uint8_t v)
{
	struct acpi_pm_state *s = &p->s;

	switch (at) {
	case ACPI_PM_EVENT:
	case ACPI_PM_EVENT + 1:
		s->pm1_status &= (uint16_t)~((uint32_t)v << 8 * (at - ACPI_PM_EVENT));
		break;
	case ENABLE:
	case ENABLE + 1:
		s->pm1_enable  = (uint16_t)with_byte(s->pm1_enable, at - ENABLE, v);
		s->pm1_enable &= ACPI_PM1_ENABLE;
		break;
	case ACPI_PM_CONTROL:
	case CONTROL_HIGH:
		s->pm1_control  = (uint16_t)with_byte(s->pm1_control, at - ACPI_PM_CONTROL, v);
		s->pm1_control &= ACPI_PM1_CONTROL;
		s->pm1_control |= CONTROL_SCI_EN;
		if (at == CONTROL_HIGH && v & CONTROL_SLP_EN >> 8)
			acpi_pm_sleep(p);
		break;
	case ACPI_PM_GPE0 ... ACPI_PM_GPE0 + 3:
		s->gpe_status &= ~((uint32_t)v << 8 * (at - ACPI_PM_GPE0));
		break;
	case GPE0_ENABLE ... GPE0_ENABLE + 3:
		s->gpe_enable = with_byte(s->gpe_enable, at - GPE0_ENABLE, v);
		break;
	default:
		break;
	}
}

static void acpi_pm_write(struct device *d, uint64_t at, unsigned size, uint64_t value)
{
	struct acpi_pm *p = (struct acpi_pm *)d;

	for (unsigned i = 0; i < size && i < 8; i++)
		acpi_pm_write_byte(p, at + i, (uint8_t)(value >> 8 * i));
	acpi_pm_update(p);
}

void acpi_pm_button(struct device *d)
{
	struct acpi_pm *p = (struct acpi_pm *)d;

	p->s.pm1_status |= PM1_PWRBTN;
	p->buttons++;
	acpi_pm_update(p);
}

void acpi_pm_gpe(struct device *d, unsigned bit)
{
	struct acpi_pm *p = (struct acpi_pm *)d;

	if (bit >= 32)
		return;
	p->s.gpe_status |= 1u << bit;
	p->events++;
	acpi_pm_update(p);
}

static void acpi_pm_reset(struct device *d)
{
	struct acpi_pm *p = (struct acpi_pm *)d;

	p->s = (struct acpi_pm_state){ .pm1_control = CONTROL_SCI_EN };
	acpi_pm_update(p);
}

static size_t acpi_pm_sections(struct device *d, struct state_section *out, size_t max)
{
	if (max == 0)
		return 0;
	out[0] = (struct state_section){ .node = "acpi-pm", .table = &acpi_pm_state_table,
					 .s = &((struct acpi_pm *)d)->s };
	return 1;
}

static int acpi_pm_post_load(struct device *d, struct fail *why)
{
	(void)why;
	acpi_pm_update((struct acpi_pm *)d);
	return 0;
}

static void acpi_pm_counters(struct device *d, struct json_t *into)
{
	const struct acpi_pm *p = (struct acpi_pm *)d;

	json_object_set_new(into, "interrupts", json_integer((json_int_t)p->interrupts));
	json_object_set_new(into, "buttons", json_integer((json_int_t)p->buttons));
	json_object_set_new(into, "events", json_integer((json_int_t)p->events));
}

const struct device_ops acpi_pm_ops = {
	.type       = "acpi-pm",
	.compatible = "acpi-pm",
	.size       = sizeof(struct acpi_pm),
	.reset      = acpi_pm_reset,
	.read       = acpi_pm_read,
	.write      = acpi_pm_write,
	.sections   = acpi_pm_sections,
	.post_load  = acpi_pm_post_load,
	.counters   = acpi_pm_counters,
};
