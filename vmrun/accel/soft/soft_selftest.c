/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/soft/rv64.h"

#include "libcommon/io.h"

#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A VM of 1 MiB without a board: one hart runs a few instructions of each kind to a wfi and is
 * paused. Its state is written to a tree and read back. */

#define SELF_RAM   0x80000000u
#define SELF_BYTES (1u << 20)
#define SELF_NS    5000000000u

static const uint8_t program[] = {
	0x37, 0x16, 0x00, 0x80,      /* lui a2, 0x80001 */
	0x02, 0x16,                  /* slli a2, a2, 0x20 */
	0x01, 0x92,                  /* srli a2, a2, 0x20 */
	0x99, 0x46,                  /* li a3, 6 */
	0x1d, 0x47,                  /* li a4, 7 */
	0xb3, 0x87, 0xe6, 0x02,      /* mul a5, a3, a4 */
	0x1c, 0xe2,                  /* sd a5, 0(a2) */
	0x2f, 0x38, 0xd6, 0x00,      /* amoadd.d a6, a3, (a2) */
	0x89, 0x62,                  /* lui t0, 0x2 */
	0x73, 0xa0, 0x02, 0x10,      /* csrs sstatus, t0 */
	0x53, 0xf5, 0x26, 0xd2,      /* fcvt.d.l fa0, a3 */
	0xd3, 0x75, 0x27, 0xd2,      /* fcvt.d.l fa1, a4 */
	0x53, 0x76, 0xb5, 0x1a,      /* fdiv.d fa2, fa0, fa1 */
	0x10, 0xa6,                  /* fsd fa2, 8(a2) */
	0xf3, 0x28, 0x10, 0x00,      /* frflags a7 */
	0x00, 0x62,                  /* ld s0, 0(a2) */
	0x73, 0x00, 0x50, 0x10,      /* wfi */
};

static int self_wait(struct soft *m, struct fail *why)
{
	const uint64_t  until = io_now_ns() + SELF_NS;
	struct timespec ts = { (time_t)(until / 1000000000u), (long)(until % 1000000000u) };
	int             rc = 0;

	pthread_mutex_lock(&m->lock);
	atomic_fetch_add(&m->waiters, 1);
	while (!(m->harts[0]->s.wfi && atomic_load(&m->harts[0]->outside)) && rc == 0)
		if (pthread_cond_timedwait(&m->acks, &m->lock, &ts) == ETIMEDOUT)
			rc = fail_set(why, FAIL_SYSTEM, "hart: timed out after 5 s");
	atomic_fetch_sub(&m->waiters, 1);
	pthread_mutex_unlock(&m->lock);
	return rc;
}

static int self_check(struct vm *vm, const struct hart_state *s, struct fail *why)
{
	static const struct { unsigned reg; uint64_t value; } want[] = {
		{ 13, 6 }, { 14, 7 }, { 15, 42 }, { 16, 42 }, { 17, 1 }, { 8, 48 },
	};
	uint64_t mem[2];

	for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		if (s->x[want[i].reg] != want[i].value)
			return fail_set(why, FAIL_SYSTEM, "x%u: got 0x%llx, expected 0x%llx",
					want[i].reg, (unsigned long long)s->x[want[i].reg],
					(unsigned long long)want[i].value);
	if (guest_copy_out(&vm->memory, mem, SELF_RAM + GUEST_PAGE, sizeof(mem)) || mem[0] != 48 ||
	    mem[1] != 0x3feb6db6db6db6db)
		return fail_set(why, FAIL_SYSTEM, "memory contents do not match the stored values");
	if (s->instret != 17)
		return fail_set(why, FAIL_SYSTEM, "instruction count: got %llu, expected 17",
				(unsigned long long)s->instret);
	if (!(atomic_load(&vm->memory.regions[0].dirty[0]) & 2))
		return fail_set(why, FAIL_SYSTEM,
				"dirty log does not match the page that was written");
	return 0;
}

static int self_round_trip(const struct state_section *section, struct fail *why)
{
	struct hart_state copy = { 0 };
	uint8_t           fdt[8192];
	const struct field *f;
	uint32_t          element;
	int               node;

	if (fdt_create(fdt, sizeof(fdt)) || fdt_finish_reservemap(fdt) || fdt_begin_node(fdt, ""))
		return fail_set(why, FAIL_SYSTEM, "cannot create the VM tree");
	if (state_save(section->table, section->s, section->node, fdt, why))
		return -1;
	if (fdt_end_node(fdt) || fdt_finish(fdt))
		return fail_set(why, FAIL_SYSTEM, "cannot create the VM tree");
	node = fdt_subnode_offset(fdt, 0, section->node);
	if (node < 0)
		return fail_set(why, FAIL_SYSTEM, "missing state node in the VM tree");
	if (state_load(section->table, &copy, fdt, node, "hart 0", NULL, why))
		return -1;
	f = state_differs(section->table, section->s, &copy, &element);
	return f ? fail_set(why, FAIL_SYSTEM, "%s changed between save and load", f->name) : 0;
}

static int self_run(struct vm *vm, struct fail *why)
{
	const struct accel_ops *ops = &accel_soft_ops;
	const struct boot_entry entry = { .how = BOOT_RISCV, .pc = SELF_RAM };
	struct state_section       section;
	struct accel           *a = NULL;
	int                     rc = -1;

	if (guest_copy_in(&vm->memory, SELF_RAM, program, sizeof(program)))
		return fail_set(why, FAIL_SYSTEM, "no RAM at the reset address");
	if (ops->open(&a, vm, why))
		return -1;
	if (ops->reset(a, &entry, why))
		goto out;
	ops->resume(a);
	if (self_wait((struct soft *)(void *)a, why) || ops->pause(a, why))
		goto out;
	if (ops->sections(a, 0, &section, 1) != 1) {
		fail_set(why, FAIL_SYSTEM, "hart without state");
		goto out;
	}
	rc = self_check(vm, section.s, why) || self_round_trip(&section, why) ? -1 : 0;
out:
	ops->close(a);
	return rc;
}

int soft_selftest(struct fail *why)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int        rc;

	if (!vm)
		return fail_sys(why, "selftest");
	vm->cfg.type        = MACHINE_RISCV64_1;
	vm->cfg.ncpus       = 1;
	vm->cfg.timebase_hz = 10000000;
	vm->cfg.nregions    = 1;
	vm->cfg.regions[0]  = (struct machine_region){
		.name = "ram", .gpa = SELF_RAM, .size = SELF_BYTES, .page_size = GUEST_PAGE,
	};
	rc = memory_open(&vm->memory, &vm->cfg, why);
	if (rc == 0) {
		clock_open(&vm->clock);
		clock_start(&vm->clock);
		rc = self_run(vm, why);
		memory_close(&vm->memory);
	}
	free(vm);
	return rc;
}
