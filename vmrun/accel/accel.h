/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_ACCEL_ACCEL_H
#define VMRUN_ACCEL_ACCEL_H

#include "format/tree/field.h"
#include "format/tree/machine.h"
#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What runs the guest's instructions: one table of functions a backend. vm.c sees nothing else of it.
 *
 * Each vCPU is a host thread. A vCPU touches guest memory directly, devices through board_mmio_read/_write
 * (vmrun/board/board.h, which take vm->machine_lock), time through clock_now_ns(&vm->clock), and tells of the guest's
 * wishes by vm_event() (vmrun/vm.h), which is asynchronous: after asking for reset, shutdown or crash the vCPU stays
 * where it is (as if paused) until it is paused, reset or closed. */

struct vm;
struct accel;
struct json_t;

struct accel_counter {
	const char *name;
	uint64_t    value;
};

enum accel_irq { IRQ_S_EXT };     /* level lines into a vCPU */

/* Where vCPU 0 starts after a boot, and in which state. */
enum boot_how {
	BOOT_RISCV,         /* supervisor mode, MMU off; a0 = 0, a1 = arg (the device tree) */
	BOOT_X86_64,        /* long mode as Linux' 64-bit boot protocol wants it: rsi = arg (the zero page), cr3, gdt */
	BOOT_X86_PVH,       /* 32-bit protected mode without paging: ebx = arg (hvm_start_info); flat segments */
};
struct boot_entry {
	enum boot_how how;
	uint64_t      pc, arg;
	uint64_t      cr3;                /* X86_64: page tables in RAM */
	uint64_t      gdt;                /* x86: gpa of a GDT that holds what the segment registers say: 0x10 code, 0x18 data */
	uint16_t      gdt_limit;
	bool          is_linux;           /* x86: a bzImage, which no other system has */
};

/* What a user asks of the CPU beyond what the configuration has. */
struct accel_want {
	const char *cpu;              /* --cpu, NULL: the accelerator's default, or what is recorded */
	bool        force_tsc;        /* another TSC frequency than recorded is taken as it is */
};

struct accel_ops {
	const char *name;                    /* "soft", "kvm" */
	uint32_t    cpus_max;                /* 0: as many as the machine has */

	/* Can it run here, and machines of that type? *why says what is missing. NULL vm: host side only (vmrun info). */
	int (*probe)(enum machine_type type, struct fail *why);

	/* The CPU's part of the configuration: a machine that is new (cfg->isa empty) gets its model, CPUID and frequency; one
	 * that is recorded is compared with what this host can give: FAIL_REFUSED names leaf and bit, size, MSR or frequency.
	 * NULL: the board knows it all. Nothing is opened yet. */
	int (*plan)(struct machine *cfg, const struct accel_want *want, struct fail *why);

	/* cfg->ncpus vCPUs, their threads started but held (as after pause). *out on success. */
	int (*open)(struct accel **out, struct vm *vm, struct fail *why);

	/* All vCPUs (and an interrupt controller of the accelerator's) to power-on state, vCPU 0 to start as entry says; the
	 * others wait to be started. entry NULL: just power-on state, to be loaded over. Held only. */
	int (*reset)(struct accel *a, const struct boot_entry *entry, struct fail *why);

	/* The host's thread of a vCPU, for query-cpus-fast; 0: it has not started. NULL: there are none. */
	int (*thread)(const struct accel *a, uint32_t cpu);

	/* What the user should know before a guest starts that way, a sentence; NULL: nothing. The op NULL: never anything. */
	const char *(*warning)(struct accel *a, const struct boot_entry *entry);

	/* Let go; hold. pause returns when every vCPU stands between two instructions, has its state in the structs `parts`
	 * names, and has dropped nothing that is not saved; -1 with *why names a vCPU that does not stop in 10 s. Both
	 * idempotent. Called under vm->control_lock, never under machine_lock. */
	void (*resume)(struct accel *a);
	int (*pause)(struct accel *a, struct fail *why);

	/* A level line of a vCPU; any thread, also while held. NULL where gsi is. */
	void (*irq)(struct accel *a, uint32_t cpu, enum accel_irq line, bool level);
	/* A level line of the accelerator's own interrupt controller; any thread, also while held. NULL where irq is. */
	void (*gsi)(struct accel *a, uint32_t gsi, bool level);

	/* A 4-byte write of value at gpa signals the eventfd and nothing else happens; off: it reaches the board again. Any
	 * time. NULL: every write reaches the board; so does one after a 0 from a host that can't do it. */
	int (*notify)(struct accel *a, uint64_t gpa, uint32_t value, int fd, bool on, struct fail *why);

	/* Whether anybody wants to know what vCPUs write; while running or held, idempotent. Once it has returned, every write
	 * is logged, until it is switched off: harvest is refused then. NULL: always on. */
	int (*log)(struct accel *a, bool on, struct fail *why);

	/* See dirty_sync: taken[r] are the marks just taken from region r (bitmap_words long,
	 * may be added to, and then the block's bit in region.blocks is set). Returns when no vCPU
	 * can write any page without marking it again. While running or held. */
	int (*sync_dirty_log)(struct accel *a, uint64_t *const taken[], struct fail *why);

	/* Fetches what is saved into the structs that parts and vm_sections name; held only. May write guest memory: before the
	 * last harvest. NULL: they are always true while held. */
	int (*sync_state)(struct accel *a, struct fail *why);
	/* What is saved of the accelerator that is no vCPU's (interrupt controllers, clock), under /vm/state. NULL: nothing. */
	size_t (*vm_sections)(struct accel *a, struct state_section *out, size_t max);
	/* What is saved of a vCPU, in place; held only. The count, at most max. */
	size_t (*sections)(struct accel *a, uint32_t cpu, struct state_section *out, size_t max);
	/* After parts were loaded into place: makes them so, flushes what is derived (TLB, decoded code; pending lines come
	 * by irq or gsi). The policy is the clock's (clock.h); FAIL_REFUSED names what this host can't take. */
	int (*post_load)(struct accel *a, enum clock_policy policy, struct fail *why);

	/* Percent of time vCPUs are held while running, 0 to 99. */
	void (*throttle)(struct accel *a, unsigned percent);

	/* Instructions retired and the like, for vmferry-inspect: name and value, at most max. */
	size_t (*counters)(struct accel *a, uint32_t cpu, struct accel_counter *out, size_t max);

	/* What it can do here, for vmrun info: keys into a JSON object. NULL: nothing to tell. */
	void (*info)(struct json_t *into);

	/* A few instructions and a state round trip, standalone: vmrun selftest. */
	int (*selftest)(struct fail *why);

	void (*close)(struct accel *a);      /* NULL allowed; joins all threads */
};

struct accel {
	const struct accel_ops *ops;
	struct vm              *vm;
};

extern const struct accel_ops accel_soft_ops;
extern const struct accel_ops accel_kvm_ops;            /* on x86-64 hosts only */
extern const struct accel_ops *const accel_list[];      /* vmrun/accel/accel_list.c, NULL at the end */

#endif
