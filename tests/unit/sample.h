/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_SAMPLE_H
#define TESTS_UNIT_SAMPLE_H

#include "format/tree/machine.h"
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

/* A plausible machine with every device there is, and saved state for it: two harts in the middle
 * of something. The same at each call, byte for byte. */
#define SAMPLE_HARTS  2u
#define SAMPLE_QUEUES 4u
#define SAMPLE_RAM    ((uint64_t)64 << 20)

struct sample_virtio {
	struct virtio_state      core;
	struct virtqueue_state   queues[SAMPLE_QUEUES];
	struct virtio_mmio_state mmio;
};

struct sample {
	struct machine              m;
	struct clock_state          clock;
	struct hart_state           harts[SAMPLE_HARTS];
	struct plic_state           plic;
	struct plic_context_state   contexts[SAMPLE_HARTS];
	struct uart_state           uart;
	struct rtc_state            rtc;
	struct sample_virtio        virtio[3];      /* blk, console, rng */
	struct virtio_blk_state     blk;
	struct virtio_console_state console;
	struct virtio_rng_state     rng;
	struct x86_cpu_state        x86_cpus[SAMPLE_HARTS];
	struct x86_vm_state         x86_vm;
	struct mc146818_state       cmos;
	struct i8042_state          keyboard;
	struct acpi_pm_state        pm;
	struct vmgenid_state        genid;
	struct machine_sections        sections;          /* its arg points back here */
};

/* A new sample; free() it. Exits when out of memory. */
struct sample *sample_make(uint64_t ram_bytes);
/* The same of an x86-64-1: CPU 0 in user space, CPU 1 halted in the kernel (sample_x86.c). */
struct sample *sample_make_x86(uint64_t ram_bytes);

#endif
