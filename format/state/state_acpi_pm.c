/* SPDX-License-Identifier: MIT */
#include "format/state/state_acpi_pm.h"

static const struct field acpi_pm_fields[] = {
	F_X16(struct acpi_pm_state, pm1_status, 1, ACPI_PM1_STATUS),
	F_X16(struct acpi_pm_state, pm1_enable, 1, ACPI_PM1_ENABLE),
	F_X16(struct acpi_pm_state, pm1_control, 1, ACPI_PM1_CONTROL),
	F_X32(struct acpi_pm_state, gpe_status, 1, UINT32_MAX),
	F_X32(struct acpi_pm_state, gpe_enable, 1, UINT32_MAX),
	F_END
};

static int acpi_pm_check(const void *state, struct fail *why)
{
	const struct acpi_pm_state *s = state;

	if (s->pm1_status & ~ACPI_PM1_STATUS || s->pm1_enable & ~ACPI_PM1_ENABLE ||
	    s->pm1_control & ~ACPI_PM1_CONTROL)
		return fail_set(why, FAIL_CORRUPT, "PM1 register: reserved bits set");
	return 0;
}

const struct state_table acpi_pm_state_table = {
	.name = "acpi-pm", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct acpi_pm_state), .fields = acpi_pm_fields, .check = acpi_pm_check,
};
