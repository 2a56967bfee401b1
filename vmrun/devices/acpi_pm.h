/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_ACPI_PM_H
#define VMRUN_DEVICES_ACPI_PM_H

#include "vmrun/devices/device.h"

/* ACPI's fixed hardware and general purpose events, ACPI 6.5, 4.8. Always in ACPI mode: the FADT
 * has no SMI_CMD. */

/* Where the blocks lie in its window of ports, and their bytes: for the FADT. */
#define ACPI_PM_EVENT     0x00u     /* PM1a_EVT_BLK: status, enable */
#define ACPI_PM_EVENT_LEN 4u
#define ACPI_PM_CONTROL   0x04u     /* PM1a_CNT_BLK */
#define ACPI_PM_CONTROL_LEN 2u
#define ACPI_PM_TIMER     0x08u     /* PM_TMR_BLK, 32 bits: TMR_VAL_EXT */
#define ACPI_PM_TIMER_LEN 4u
#define ACPI_PM_GPE0      0x20u     /* GPE0_BLK: 32 events' status, then enable */
#define ACPI_PM_GPE0_LEN  8u
#define ACPI_PM_SIZE      0x40u

#define ACPI_PM_HZ 3579545u

/* SLP_TYPa of the DSDT's \_S4 and \_S5. */
#define ACPI_PM_SLP_S4 4u
#define ACPI_PM_SLP_S5 5u

/* General purpose events: \_GPE._Exx of the DSDT. */
#define ACPI_GPE_VMGENID 5u

/* With the machine lock: the power button is pressed; general purpose event `bit` (0 to 31; others
 * are ignored) happens. */
void acpi_pm_button(struct device *d);
void acpi_pm_gpe(struct device *d, unsigned bit);

#endif
