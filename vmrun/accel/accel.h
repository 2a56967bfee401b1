#ifndef VMRUN_ACCEL_ACCEL_H
#define VMRUN_ACCEL_ACCEL_H

#include "format/field.h"
#include "format/machine.h"
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

struct accel_counter {
	const char *name;
	uint64_t    value;
};

enum accel_irq { IRQ_S_EXT, IRQ_LINES };     /* level lines into a vCPU */

struct accel_ops {
	const char *name;                    /* "soft", "kvm" */

	/* Can it run here, and machines of that type? *why says what is missing. NULL vm: host side only (vmrun info). */
	int (*probe)(enum machine_type type, struct fail *why);

	/* cfg->ncpus vCPUs, their threads started but held (as after pause). *out on success. */
	int (*open)(struct accel **out, struct vm *vm, struct fail *why);

	/* All vCPUs to their reset state; vCPU 0 to run at pc with a0 = its id, a1 = arg; the others stopped (HSM). Held only. */
	void (*reset)(struct accel *a, uint64_t pc, uint64_t arg);

	/* Let go; hold. pause returns when every vCPU stands between two instructions, has its state in the structs `parts`
	 * names, and has dropped nothing that is not saved; -1 with *why names a vCPU that does not stop in 10 s. Both
	 * idempotent. Called under vm->control_lock, never under machine_lock. */
	void (*resume)(struct accel *a);
	int (*pause)(struct accel *a, struct fail *why);

	/* A level line of a vCPU; any thread, also while held. */
	void (*irq)(struct accel *a, uint32_t cpu, enum accel_irq line, bool level);

	/* See dirty_harvest: taken[r] are the marks just taken from region r (bitmap_words long, may be added to). Returns
	 * when no vCPU can write any page without marking it again. While running or held. */
	int (*harvest)(struct accel *a, uint64_t *const taken[], struct fail *why);

	/* What is saved of a vCPU, in place; held only. The count, at most max. */
	size_t (*parts)(struct accel *a, uint32_t cpu, struct state_part *out, size_t max);
	/* After parts were loaded into place: flush what is derived (TLB, decoded code, pending lines come by irq). */
	int (*loaded)(struct accel *a, struct fail *why);

	/* Percent of time vCPUs are held while running, 0 to 99. */
	void (*throttle)(struct accel *a, unsigned percent);

	/* Instructions retired and the like, for vmferry-inspect: name and value, at most max. */
	size_t (*counters)(struct accel *a, uint32_t cpu, struct accel_counter *out, size_t max);

	/* A few instructions and a state round trip, standalone: vmrun selftest. */
	int (*selftest)(struct fail *why);

	void (*close)(struct accel *a);      /* NULL allowed; joins all threads */
};

struct accel {
	const struct accel_ops *ops;
	struct vm              *vm;
};

extern const struct accel_ops accel_soft_ops;
extern const struct accel_ops *const accel_list[];      /* vmrun/accel/list.c, NULL at the end */

#endif
