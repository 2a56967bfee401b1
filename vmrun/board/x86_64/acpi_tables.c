/* SPDX-License-Identifier: MIT */
#include "vmrun/board/x86_64/acpi_internal.h"

#include "format/tree/machine.h"
#include "libcommon/bytes.h"
#include "vmrun/board/x86_64/x86_64.h"
#include "vmrun/devices/acpi_pm.h"
#include "vmrun/devices/cf9.h"

#include <string.h>

#define FACS_LEN 64u

/* Hibernation wants one; nothing in it changes from boot to boot. */
uint32_t acpi_facs(struct acpi *t)
{
	uint32_t gpa;
	uint8_t *p = acpi_capacity(t, FACS_LEN, 64, &gpa);

	if (!p)
		return 0;
	memcpy(p, "FACS", 4);
	put_le32(p + 4, FACS_LEN);
	p[32] = 2;             /* version */
	return gpa;
}

/* FADT, ACPI 6.5, 5.2.9: offsets. */
#define FADT_LEN        276u
#define FADT_FACS       36u
#define FADT_DSDT       40u
#define FADT_SCI        46u
#define FADT_PM1A_EVT   56u
#define FADT_PM1A_CNT   64u
#define FADT_PM_TMR     76u
#define FADT_GPE0       80u
#define FADT_PM1_EVT_LEN 88u
#define FADT_PM1_CNT_LEN 89u
#define FADT_PM_TMR_LEN 91u
#define FADT_GPE0_LEN   92u
#define FADT_C2_LATENCY 96u
#define FADT_C3_LATENCY 98u
#define FADT_BOOT_ARCH  109u
#define FADT_FLAGS      112u
#define FADT_RESET      116u
#define FADT_RESET_VALUE 128u
#define FADT_MINOR      131u
#define FADT_X_DSDT     140u
#define FADT_X_PM1A_EVT 148u
#define FADT_X_PM1A_CNT 172u
#define FADT_X_PM_TMR   208u
#define FADT_X_GPE0     220u

/* Legacy devices there are (UART, RTC), but no keyboard controller to look for, and no VGA. */
#define BOOT_LEGACY     0x0001u
#define BOOT_NO_VGA     0x0004u

/* PWR_BUTTON is clear: the power button is in the fixed registers. A sleep button and waking by RTC
 * there are not. */
#define FLAG_WBINVD     (1u << 0)
#define FLAG_PROC_C1    (1u << 2)
#define FLAG_SLP_BUTTON (1u << 5)
#define FLAG_FIX_RTC    (1u << 6)
#define FLAG_TMR_32     (1u << 8)
#define FLAG_RESET_REG  (1u << 10)

enum { ACCESS_BYTE = 1, ACCESS_WORD = 2, ACCESS_DWORD = 3 };

/* A generic address: ports. */
static void acpi_ports(uint8_t *p, uint32_t port, unsigned bytes, uint8_t access)
{
	p[0] = 1;
	p[1] = (uint8_t)(8 * bytes);
	p[3] = access;
	put_le64(p + 4, port);
}

uint32_t acpi_fadt(struct acpi *t, uint32_t facs, uint32_t dsdt)
{
	uint32_t gpa;
	uint8_t *p = acpi_capacity(t, FADT_LEN, 16, &gpa);

	if (!p)
		return 0;
	put_le32(p + FADT_FACS, facs);
	put_le32(p + FADT_DSDT, dsdt);
	put_le64(p + FADT_X_DSDT, dsdt);
	put_le16(p + FADT_SCI, X86_64_SCI);
	put_le32(p + FADT_PM1A_EVT, X86_64_PM + ACPI_PM_EVENT);
	put_le32(p + FADT_PM1A_CNT, X86_64_PM + ACPI_PM_CONTROL);
	put_le32(p + FADT_PM_TMR, X86_64_PM + ACPI_PM_TIMER);
	put_le32(p + FADT_GPE0, X86_64_PM + ACPI_PM_GPE0);
	p[FADT_PM1_EVT_LEN] = ACPI_PM_EVENT_LEN;
	p[FADT_PM1_CNT_LEN] = ACPI_PM_CONTROL_LEN;
	p[FADT_PM_TMR_LEN]  = ACPI_PM_TIMER_LEN;
	p[FADT_GPE0_LEN]    = ACPI_PM_GPE0_LEN;
	acpi_ports(p + FADT_X_PM1A_EVT, X86_64_PM + ACPI_PM_EVENT, ACPI_PM_EVENT_LEN, ACCESS_WORD);
	acpi_ports(p + FADT_X_PM1A_CNT, X86_64_PM + ACPI_PM_CONTROL, ACPI_PM_CONTROL_LEN,
		   ACCESS_WORD);
	acpi_ports(p + FADT_X_PM_TMR, X86_64_PM + ACPI_PM_TIMER, ACPI_PM_TIMER_LEN, ACCESS_DWORD);
	acpi_ports(p + FADT_X_GPE0, X86_64_PM + ACPI_PM_GPE0, ACPI_PM_GPE0_LEN, ACCESS_BYTE);
	/* Above 100 and 1000 us: there is no C2 and no C3. */
	put_le16(p + FADT_C2_LATENCY, 101);
	put_le16(p + FADT_C3_LATENCY, 1001);
	put_le16(p + FADT_BOOT_ARCH, BOOT_LEGACY | BOOT_NO_VGA);
	put_le32(p + FADT_FLAGS,
		 FLAG_WBINVD | FLAG_PROC_C1 | FLAG_SLP_BUTTON | FLAG_FIX_RTC | FLAG_TMR_32 |
		 FLAG_RESET_REG);
	acpi_ports(p + FADT_RESET, X86_64_RESET, 1, ACCESS_BYTE);
	p[FADT_RESET_VALUE] = CF9_RESET;
	p[FADT_MINOR]       = 5;
	acpi_seal(p, FADT_LEN, "FACP", 6);
	return gpa;
}

/* MADT, ACPI 6.5, 5.2.12. */
#define MADT_ROWS        44u
#define MADT_LAPIC_LEN   8u
#define MADT_IOAPIC_LEN  12u
#define MADT_ISA_LEN     10u
#define MADT_NMI_LEN     6u
#define LEVEL_HIGH       0x000du

/* An interrupt of the ISA that is another pin, or not edge and active high as the ISA's are. */
static uint8_t *acpi_madt_isa(uint8_t *p, uint8_t source, uint32_t pin, uint16_t flags)
{
	p[0] = 2;
	p[1] = MADT_ISA_LEN;
	p[3] = source;
	put_le32(p + 4, pin);
	put_le16(p + 8, flags);
	return p + MADT_ISA_LEN;
}

/* Pins below 16 that carry a virtio slot's level. */
static uint32_t acpi_isa_levels(const struct machine *cfg)
{
	uint32_t pins = 1u << X86_64_SCI;

	for (uint32_t i = 0; i < cfg->ndevices; i++)
		if (cfg->devices[i].slot != SLOT_NONE && cfg->devices[i].irq < 16 &&
		    cfg->devices[i].irq)
			pins |= 1u << cfg->devices[i].irq;
	return pins;
}

uint32_t acpi_madt(struct acpi *t)
{
	uint32_t gpa, levels = acpi_isa_levels(t->cfg);
	size_t   len = MADT_ROWS + MADT_LAPIC_LEN * t->cfg->ncpus + MADT_IOAPIC_LEN + MADT_NMI_LEN +
		       MADT_ISA_LEN * (1u + (unsigned)__builtin_popcount(levels));
	uint8_t *table = acpi_capacity(t, len, 16, &gpa), *p = table;

	if (!table)
		return 0;
	put_le32(p + 36, X86_64_LAPIC);
	put_le32(p + 40, 1);   /* PICs there are */
	p += MADT_ROWS;
	for (uint32_t i = 0; i < t->cfg->ncpus; i++, p += MADT_LAPIC_LEN) {
		p[1] = MADT_LAPIC_LEN;
		p[2] = (uint8_t)i;
		p[3] = (uint8_t)i;
		put_le32(p + 4, 1);
	}
	p[0] = 1;
	p[1] = MADT_IOAPIC_LEN;
	put_le32(p + 4, X86_64_IOAPIC);
	p += MADT_IOAPIC_LEN;
	p = acpi_madt_isa(p, 0, 2, 0);      /* the PIT */
	for (uint8_t pin = 0; pin < 16; pin++)
		if (levels & 1u << pin)
			p = acpi_madt_isa(p, pin, pin, LEVEL_HIGH);
	p[0] = 4;
	p[1] = MADT_NMI_LEN;
	p[2] = 0xff;           /* of every CPU */
	p[5] = 1;              /* LINT1 */
	acpi_seal(table, len, "APIC", 5);
	return gpa;
}
