/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_ACCEL_ACCEL_H
#define VMRUN_ACCEL_ACCEL_H

#include "format/tree/field.h"
#include "format/tree/machine.h"
#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What runs the guest's instructions: one table of functions a backend. The rest of vmrun sees
 * nothing else of it, and never asks which backend it has.
 *
 * Each vCPU is a host thread of the backend. It touches guest memory directly, devices through
 * board_mmio_read and board_mmio_write (vmrun/board/board.h), which take vm->machine_lock, and time
 * through clock_now_ns(&vm->clock). What the guest asks for (reset, shutdown, crash) it reports by
 * vm_event() (vmrun/vm.h), which is asynchronous: after asking, the vCPU executes nothing more
 * until it has been paused, reset or closed, so that the guest cannot outrun its own request.
 * Before a device access it asks memory_lost() (vmrun/memory.h): when that is true the access does
 * not happen, and the vCPU executes nothing more either.
 *
 * A VM is either running or paused (docs/architecture.md, "Who may run the VM"). "Paused" below
 * means: after open, or after a pause that returned 0, and before the next resume.
 *
 * Locks: the order is vm->control_lock, vm->machine_lock, then the backend's own
 * (docs/architecture.md, "Locks"). "control_lock" below means that the caller holds it, or is the
 * main thread while no other thread can reach the VM: before vm_start or in vm_close. Operations
 * that wait for vCPUs (pause, sync_dirty_log, close) must not be called with machine_lock: a vCPU
 * may be waiting for it in a device access, and would never stop. */

struct vm;
struct accel;
struct json_t;

/**
 * struct accel_counter - one statistic of a vCPU
 * @name:  for vmferry-inspect (docs/control.md); a string that lives as long as the program
 * @value: counts up from open; never saved
 */
struct accel_counter {
	const char *name;
	uint64_t    value;
};

/**
 * enum accel_irq - level-triggered inputs of a vCPU
 * @IRQ_S_EXT: RISC-V's supervisor external interrupt, sip.SEIP (Privileged 1.12, 4.1.3)
 */
enum accel_irq { IRQ_S_EXT };

/**
 * enum boot_how - the state in which vCPU 0 starts after a boot
 * @BOOT_RISCV:  supervisor mode, satp 0; a0 = hart 0, a1 = @arg, the device tree
 *               (Linux Documentation/arch/riscv/boot.rst)
 * @BOOT_X86_64: long mode; rsi = @arg, the zero page; @cr3 and @gdt are used
 *               (Linux Documentation/arch/x86/boot.rst, "64-bit Boot Protocol")
 * @BOOT_X86_PVH: 32-bit protected mode without paging, flat segments; ebx = @arg, an
 *               hvm_start_info (Xen docs/misc/pvh.pandoc)
 */
enum boot_how {
	BOOT_RISCV,
	BOOT_X86_64,
	BOOT_X86_PVH,
};

/**
 * struct boot_entry - where vCPU 0 starts; the other vCPUs wait for the guest to start them
 * @how:       which state; a backend refuses one of another architecture
 * @pc:        guest physical address of the first instruction
 * @arg:       guest physical address of what the kernel is given
 * @cr3:       BOOT_X86_64: guest physical address of the top page table
 * @gdt:       x86: guest physical address of a GDT with the descriptors that the segment registers
 *             are loaded with: 0x10 code, 0x18 data
 * @gdt_limit: x86: size of that GDT in bytes, less 1
 * @is_linux:  x86: the kernel is a bzImage, a format that only Linux has
 */
struct boot_entry {
	enum boot_how how;
	uint64_t      pc, arg;
	uint64_t      cr3;
	uint64_t      gdt;
	uint16_t      gdt_limit;
	bool          is_linux;
};

/**
 * struct accel_want - what the user asks of the CPU beyond what the configuration has
 * @cpu:       --cpu; NULL: what is recorded, or the backend's default for a new machine
 * @force_tsc: --force-tsc: accept a TSC frequency that differs from the recorded one
 */
struct accel_want {
	const char *cpu;
	bool        force_tsc;
};

/**
 * struct accel_ops - a backend
 *
 * Members that may be NULL say so and what that means. Functions that return int return 0, or -1
 * with *why filled. FAIL_SYSTEM is a failed system call or a time limit, FAIL_LIMIT a number that
 * this host or build does not support, FAIL_REFUSED what this host cannot do.
 */
struct accel_ops {
	/** @name: for --accel and in answers of the control socket; "soft", "kvm" */
	const char *name;

	/** @cpus_max: highest number of vCPUs; 0: only the board limits it */
	uint32_t    cpus_max;

	/**
	 * @probe: can this host run machines of @type with this backend?
	 *
	 * Called by the main thread before there is a VM, without locks, any number of times.
	 * Changes nothing on the host. *why names what is missing and the remedy.
	 */
	int (*probe)(enum machine_type type, struct fail *why);

	/**
	 * @plan: the CPU's part of a configuration
	 * @cfg:  in and out. cpu_model empty: a new machine, which gets its model, CPUID, MSR list,
	 *        XSAVE size and timebase_hz. Otherwise a recorded one, which is only compared with
	 *        what this host can give.
	 * @want: the user's options
	 *
	 * Called by the main thread before open, without locks; opens nothing that stays open.
	 * FAIL_REFUSED names the CPUID leaf and bit, size, MSR or frequency that this host lacks,
	 * FAIL_USAGE an invalid --cpu. NULL: the board fills in all of it, and --cpu and
	 * --force-tsc are not supported.
	 */
	int (*plan)(struct machine *cfg, const struct accel_want *want, struct fail *why);

	/**
	 * @open: create @vm->cfg.ncpus vCPUs and start their threads, paused
	 * @out:  set on success only
	 * @vm:   its cfg, want, memory and clock are valid and outlive the backend; the board
	 *        does not exist yet
	 *
	 * Called by the main thread, without locks, with SIGINT, SIGTERM and SIGHUP blocked, which
	 * the new threads inherit: signals are the main thread's.
	 */
	int (*open)(struct accel **out, struct vm *vm, struct fail *why);

	/**
	 * @reset: put all vCPUs, and what else is saved of the backend, into power-on state
	 * @entry: where vCPU 0 starts; NULL: plain power-on state, which a load will overwrite
	 *
	 * Paused, control_lock.
	 */
	int (*reset)(struct accel *a, const struct boot_entry *entry, struct fail *why);

	/**
	 * @thread: the host's thread id of vCPU @cpu, for query-cpus-fast
	 *
	 * Any thread, any time. Return: 0 while the thread has not started. NULL: the backend
	 * has no threads to show.
	 */
	int (*thread)(const struct accel *a, uint32_t cpu);

	/**
	 * @warning: what the user should know before a guest is started at @entry
	 *
	 * Main thread or control_lock. Return: a sentence that lives as long as the program, or
	 * NULL. The member NULL: never anything.
	 */
	const char *(*warning)(struct accel *a, const struct boot_entry *entry);

	/**
	 * @resume: let vCPUs run; idempotent
	 *
	 * control_lock, not machine_lock. The clock and the devices have been resumed before, so
	 * that the first instruction finds both. Cannot fail: a backend that finds it cannot go on
	 * reports VM_EVENT_DEAD.
	 */
	void (*resume)(struct accel *a);

	/**
	 * @pause: stop all vCPUs; idempotent
	 *
	 * control_lock, not machine_lock; devices are paused afterwards, because a vCPU may still
	 * be in a device access. On return each vCPU is between two instructions, and nothing that
	 * it has begun (an access, an interrupt) is lost or half done. Takes 10 s at most, then
	 * fails with FAIL_SYSTEM that names a vCPU: one in a device access that does not end must
	 * not make the control socket hang as well. After a failure the caller resumes, or ends
	 * the VM.
	 */
	int (*pause)(struct accel *a, struct fail *why);

	/**
	 * @irq: set level-triggered input @line of vCPU @cpu to @level
	 *
	 * Any thread, usually with machine_lock; running or paused. A level set while paused is
	 * seen after resume. NULL where @gsi is not.
	 */
	void (*irq)(struct accel *a, uint32_t cpu, enum accel_irq line, bool level);

	/**
	 * @gsi: set input @gsi of the backend's own interrupt controller to @level
	 *
	 * As @irq. A number that the controller does not have is ignored. NULL where @irq is not.
	 */
	void (*gsi)(struct accel *a, uint32_t gsi, bool level);

	/**
	 * @notify: let a guest write of 4 bytes @value at @gpa signal an eventfd
	 * @fd:     the caller's eventfd; it must stay open until switched off
	 * @on:     false: such writes reach the board again; the other arguments as when on
	 *
	 * Any time, any thread, without locks. While on, such a write reaches no device. NULL:
	 * every write reaches the board. So does it after a return of 0 on a host that cannot do
	 * this: callers must serve both.
	 */
	int (*notify)(struct accel *a, uint64_t gpa, uint32_t value, int fd, bool on,
		      struct fail *why);

	/**
	 * @log: switch the log of pages that vCPUs write on or off; idempotent
	 *
	 * control_lock; running or paused. Once it has returned with @on, each write from then on
	 * is logged. A failure to switch it on leaves it off. NULL: the backend always logs.
	 */
	int (*log)(struct accel *a, bool on, struct fail *why);

	/**
	 * @sync_dirty_log: add what vCPUs wrote since the last call
	 * @taken: a bitmap for each region of vm->memory, bitmap_words(npages) long; bit 0 is the
	 *         region's first page of 4096 bytes. In: the marks just taken from region.dirty.
	 *         The backend may set more bits, and then sets their block in region.blocks.
	 *
	 * control_lock, not machine_lock; running or paused. When it returns 0, every write to a
	 * page in @taken from then on is logged again, so that the page may be read now
	 * (docs/architecture.md, "The life of a page"). When it fails, the caller puts @taken back
	 * into region.dirty: what the backend has cleared in its own log must be in @taken by then.
	 * FAIL_REFUSED: the log is off. FAIL_SYSTEM also when a vCPU has not answered for 10 s.
	 */
	int (*sync_dirty_log)(struct accel *a, uint64_t *const taken[], struct fail *why);

	/**
	 * @sync_state: read the state from the backend into the structs of sections and vm_sections
	 *
	 * Paused, control_lock, not machine_lock. May write guest memory, so that a last
	 * sync_dirty_log must follow (docs/control.md 6, STATE). Two calls in one pause give equal
	 * state. NULL: the structs are always current while paused.
	 */
	int (*sync_state)(struct accel *a, struct fail *why);

	/**
	 * @vm_sections: what is saved of the backend that belongs to no vCPU, under /vm/state
	 * @out: filled with at most @max sections, which point into the backend until close
	 *
	 * Paused. Interrupt controllers and clocks. Return: how many. NULL: none.
	 */
	size_t (*vm_sections)(struct accel *a, struct state_section *out, size_t max);

	/**
	 * @sections: what is saved of vCPU @cpu, under its node (docs/format.md 8)
	 *
	 * As @vm_sections; @cpu is less than cfg.ncpus. The order is always the same.
	 */
	size_t (*sections)(struct accel *a, uint32_t cpu, struct state_section *out, size_t max);

	/**
	 * @post_load: put state that was loaded into the sections' structs into effect
	 * @policy: of the clock (vmrun/clock.h): frozen since the save, or advanced by real time
	 *
	 * Paused, control_lock, not machine_lock; after reset and before the board's post_load,
	 * which sets @irq or @gsi lines again. Drops what is derived from the old state, such as
	 * TLBs and decoded code. FAIL_REFUSED and FAIL_CORRUPT name what this host does not accept;
	 * after a failure the VM must not run before it has been reset or loaded again.
	 */
	int (*post_load)(struct accel *a, enum clock_policy policy, struct fail *why);

	/**
	 * @throttle: let vCPUs sleep for @percent of the time that they run, 0 to 99
	 *
	 * control_lock; running or paused. Stays until it is set to 0; pause does not change it.
	 */
	void (*throttle)(struct accel *a, unsigned percent);

	/**
	 * @counters: statistics of vCPU @cpu, at most @max, into @out
	 *
	 * Any thread, any time; exact while paused. Return: how many. NULL: none.
	 */
	size_t (*counters)(struct accel *a, uint32_t cpu, struct accel_counter *out, size_t max);

	/**
	 * @info: add what this host can do as keys to the JSON object @into, for vmrun info
	 *
	 * Main thread, without a VM, after a successful probe. NULL: nothing to add.
	 */
	void (*info)(struct json_t *into);

	/**
	 * @selftest: run a few instructions and save and load their state, for vmrun selftest
	 *
	 * Main thread, without a VM, after a successful probe; makes a small VM of its own. Has
	 * time limits, so that a guest that hangs is a failure.
	 */
	int (*selftest)(struct fail *why);

	/**
	 * @close: stop and join all threads, free everything; NULL is allowed
	 *
	 * Main thread, no locks; running or paused, after the board was closed. Waits for vCPUs
	 * without a limit: when a pause has failed, vm_close does not call it.
	 */
	void (*close)(struct accel *a);
};

/**
 * struct accel - what all backends begin with
 * @ops: the backend's functions
 * @vm:  the VM that was given to open
 */
struct accel {
	const struct accel_ops *ops;
	struct vm              *vm;
};

extern const struct accel_ops accel_soft_ops;
extern const struct accel_ops accel_kvm_ops;            /* on x86-64 hosts only */
/* In order of preference, NULL at the end (vmrun/accel/accel_list.c). */
extern const struct accel_ops *const accel_list[];

#endif
