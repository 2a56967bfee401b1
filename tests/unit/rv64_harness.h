/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_RV64_HARNESS_H
#define TESTS_UNIT_RV64_HARNESS_H

#include "tests/unit/tap.h"
#include "tests/unit/rv64_asm.h"
#include "vmrun/accel/soft/rv64.h"

/* A VM of RAM and a clock, without a board: the stand-ins here answer for one. Two ways to run
 * it: one hart in the caller's thread (bare_*), or the backend with its threads (accel_soft_ops
 * on rig.vm). */

#define RIG_RAM  0x80000000u
#define RIG_MMIO 0x10000000u      /* answers reads with its offset; notes writes */

struct rig {
	struct vm        vm;
	struct soft     *soft;       /* bare */
	struct hart     *h;
	_Atomic uint32_t events;     /* 1 << enum vm_event */
	_Atomic uint64_t mmio_at, mmio_value;
	_Atomic unsigned mmio_size;
	_Atomic bool     mmio_stuck;     /* a write does not come back while it is set */
};

void rig_open(struct rig *g, uint64_t gpa, uint64_t size, uint32_t ncpus);
void rig_close(struct rig *g);
void *rig_host(struct rig *g, uint64_t gpa);
void rig_code(struct rig *g, uint64_t gpa, const uint32_t *words, size_t count);
#define RIG_CODE(g, gpa, ...) \
	rig_code(g, gpa, (const uint32_t[]){ __VA_ARGS__ }, \
		 sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))
/* 8 bytes, marked as a device's write. */
void rig_put(struct rig *g, uint64_t gpa, uint64_t value);
uint64_t rig_get(struct rig *g, uint64_t gpa);

/* One hart in this thread: reset to S mode, satp 0, at pc; x[] of s are its registers. */
void bare_open(struct rig *g);
void bare_close(struct rig *g);
void bare_start(struct rig *g, uint64_t pc);
/* Until it is in wfi with nothing pending, stopped or stuck. */
void bare_run(struct rig *g);

#endif
