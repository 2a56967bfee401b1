/* SPDX-License-Identifier: MIT */
#include "format/tree/field.h"
#include "format/tree/machine_type.h"
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

/* Every table of saved state: what vminspect can name, and what the fuzzers try. */
const struct state_table *const state_tables[] = {
	&clock_state_table, &hart_state_table,
	&plic_state_table, &plic_context_state_table, &uart_state_table, &rtc_state_table,
	&virtio_state_table, &virtqueue_state_table, &virtio_mmio_state_table,
	&virtio_blk_state_table, &virtio_console_state_table, &virtio_rng_state_table,
	&mc146818_state_table, &i8042_state_table, &acpi_pm_state_table, &vmgenid_state_table,
	&x86_regs_state_table, &x86_sregs_state_table, &x86_xsave_state_table,
	&x86_msrs_state_table, &x86_lapic_state_table,
	&x86_events_state_table, &x86_debugregs_state_table,
	&x86_pic_state_table, &x86_ioapic_state_table, &x86_pit_state_table,
	&x86_kvmclock_state_table,
	NULL
};

/* docs/format.md, "State nodes". A device without state has a row too: a type without a row is
 * unknown to this build. */
const struct device_sections device_sections[] = {
	{ "sifive-plic",  { SECTION(plic), SECTIONS(plic_context, SECTION_EACH_CPU) } },
	{ "ns16550a",     { SECTION(uart) } },
	{ "goldfish-rtc", { SECTION(rtc) } },
	{ "mc146818",     { SECTION(mc146818) } },
	{ "i8042",        { SECTION(i8042) } },
	{ "acpi-pm",      { SECTION(acpi_pm) } },
	{ "vmgenid",      { SECTION(vmgenid) } },
	{ "reset",        { { .table = NULL } } },
	{ "pvpanic",      { { .table = NULL } } },
	{ "debugexit",    { { .table = NULL } } },
	{ "virtio-blk",
	  { SECTION(virtio), SECTIONS(virtqueue, 1), SECTION(virtio_mmio), SECTION(virtio_blk) } },
	{ "virtio-console",
	  { SECTION(virtio), SECTIONS(virtqueue, 2), SECTION(virtio_mmio),
	    SECTION(virtio_console) } },
	{ "virtio-rng",
	  { SECTION(virtio), SECTIONS(virtqueue, 1), SECTION(virtio_mmio), SECTION(virtio_rng) } },
	{ .type = NULL },
};
