/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_STATE_STATE_ACPI_PM_H
#define FORMAT_STATE_STATE_ACPI_PM_H

#include "format/tree/field.h"

/* ACPI's fixed hardware and general purpose events. Node "acpi-pm". The timer follows from the
 * guest's clock. */
struct acpi_pm_state {
	uint16_t pm1_status;
	uint16_t pm1_enable;
	uint16_t pm1_control;
	uint32_t gpe_status;
	uint32_t gpe_enable;
};
extern const struct state_table acpi_pm_state_table;

/* Bits there are; ACPI 6.5, 4.8.3.1 and 4.8.3.2. */
#define ACPI_PM1_STATUS  0x0720u      /* GBL, PWRBTN, SLPBTN, RTC */
#define ACPI_PM1_ENABLE  0x0721u      /* and TMR, which never comes */
#define ACPI_PM1_CONTROL 0x1c03u      /* SCI_EN, BM_RLD, SLP_TYP */

#endif
