/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/kvm/kvm.h"

#include "libcommon/io.h"
#include "vmrun/vm.h"

#include <libfdt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A VM of 1 MiB without a board: one vCPU runs a few instructions to a hlt and is paused. Its state
 * is written to a tree and read back, and put into the vCPU and fetched again. */

#define SELF_BYTES (1u << 20)
#define SELF_CODE  0x1000u
#define SELF_DATA  0x2000u
#define SELF_NS    10000000000u
#define SELF_SUM   0x2au
#define SELF_SECTIONS 16u

/* 32-bit code without paging. */
static const uint8_t program[] = {
	0xbe, 0x00, 0x20, 0x00, 0x00,                  /* mov esi, SELF_DATA */
	0xb8, 0x06, 0x00, 0x00, 0x00,                  /* mov eax, 6 */
	0xb9, 0x07, 0x00, 0x00, 0x00,                  /* mov ecx, 7 */
	0xf7, 0xe1,                                    /* mul ecx */
	0x89, 0x06,                                    /* mov [esi], eax */
	0xba, 0x34, 0x12, 0x00, 0x00,                  /* mov edx, 0x1234 */
	0xec,                                          /* in al, dx: no device there */
	0x88, 0x46, 0x04,                              /* mov [esi + 4], al */
	0xc7, 0x46, 0x08, 0x01, 0x00, 0x00, 0x00,      /* mov dword [esi + 8], 1: done */
	0xf4,                                          /* hlt */
	0xeb, 0xfd,                                    /* jmp to the hlt */
};

static int self_wait(struct vm *vm, struct fail *why)
{
	const uint32_t *done  = guest_read(&vm->memory, SELF_DATA + 8, 4);
	const uint64_t  until = io_now_ns() + SELF_NS;

	while (!__atomic_load_n(done, __ATOMIC_ACQUIRE)) {
		if (atomic_load(&vm->events) & 1u << VM_EVENT_DEAD)
			return fail_set(why, FAIL_SYSTEM, "%s", vm->panic_text);
		if (io_now_ns() > until)
			return fail_set(why, FAIL_SYSTEM, "vCPU: timed out after 10 s");
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
	}
	return 0;
}

static int self_check(struct vm *vm, struct accel *a, struct fail *why)
{
	const struct kvm_vcpu *v          = &((struct kvm *)(void *)a)->vcpus[0];
	uint64_t               taken[SELF_BYTES / GUEST_PAGE / 64] = { 0 };
	uint64_t *const        maps[LIMIT_REGIONS] = { taken };
	uint32_t               mem[2];

	if (v->s.regs.rax != 0xff || v->s.regs.rsi != SELF_DATA || v->s.regs.rdx != 0x1234)
		return fail_set(why, FAIL_SYSTEM,
				"register values do not match the expected result");
	if (guest_copy_out(&vm->memory, mem, SELF_DATA, sizeof(mem)) || mem[0] != SELF_SUM ||
	    mem[1] != 0xff)
		return fail_set(why, FAIL_SYSTEM, "memory contents do not match the stored values");
	if (a->ops->sync_dirty_log(a, maps, why))
		return -1;
	if (!bitmap_test(taken, SELF_DATA / GUEST_PAGE) ||
	    bitmap_test(taken, SELF_CODE / GUEST_PAGE))
		return fail_set(why, FAIL_SYSTEM,
				"dirty log does not match the page that was written");
	return 0;
}

static int self_tree(const struct state_section *section, struct fail *why)
{
	void               *copy = calloc(1, section->table->size);
	uint8_t            *fdt  = malloc(LIMIT_PROP_BYTES);
	const struct field *f;
	uint32_t            element;
	int                 node, rc = -1;

	if (!copy || !fdt || fdt_create(fdt, LIMIT_PROP_BYTES) || fdt_finish_reservemap(fdt) ||
	    fdt_begin_node(fdt, "")) {
		fail_set(why, FAIL_SYSTEM, "cannot create the VM tree");
		goto out;
	}
	if (state_save(section->table, section->s, section->node, fdt, why))
		goto out;
	if (fdt_end_node(fdt) || fdt_finish(fdt) ||
	    (node = fdt_subnode_offset(fdt, 0, section->node)) < 0) {
		fail_set(why, FAIL_SYSTEM, "missing node %s in the VM tree", section->node);
		goto out;
	}
	if (state_load(section->table, copy, fdt, node, "vCPU 0", NULL, why))
		goto out;
	f  = state_differs(section->table, section->s, copy, &element);
	rc = f ? fail_set(why, FAIL_SYSTEM, "%s: %s changed between save and load", section->node,
			f->name) : 0;
out:
	free(fdt);
	free(copy);
	return rc;
}

/* Time alone changes these: TSC and timers go on in KVM while the vCPU is paused. */
static bool self_moves(const struct state_table *t)
{
	return t == &x86_msrs_state_table || t == &x86_pit_state_table ||
	       t == &x86_kvmclock_state_table;
}

static int self_round_trip(struct accel *a, struct fail *why)
{
	struct kvm          *k = (struct kvm *)(void *)a;
	struct x86_cpu_state was;
	struct state_section sections[SELF_SECTIONS], before[SELF_SECTIONS];
	size_t               n = a->ops->vm_sections(a, sections, SELF_SECTIONS);

	for (size_t i = 0; i < n; i++)
		if (self_tree(&sections[i], why))
			return -1;
	n = a->ops->sections(a, 0, sections, SELF_SECTIONS);
	for (size_t i = 0; i < n; i++)
		if (self_tree(&sections[i], why))
			return -1;
	was = k->vcpus[0].s;
	kvm_cpu_state_sections(&was, before, SELF_SECTIONS);
	if (a->ops->reset(a, NULL, why))
		return -1;
	k->vcpus[0].s = was;
	if (a->ops->post_load(a, CLOCK_FREEZE, why) || a->ops->sync_state(a, why))
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct field *f;
		uint32_t            element;

		if (self_moves(sections[i].table))
			continue;
		f = state_differs(sections[i].table, before[i].s, sections[i].s, &element);
		if (f)
			return fail_set(why, FAIL_SYSTEM,
					"%s: %s changed between setting and reading the vCPU",
					sections[i].node, f->name);
	}
	return 0;
}

static int self_run(struct vm *vm, struct fail *why)
{
	const struct accel_ops *ops   = &accel_kvm_ops;
	const struct boot_entry entry = { .how = BOOT_X86_PVH, .pc = SELF_CODE };
	struct accel           *a     = NULL;
	int                     rc    = -1;

	if (guest_copy_in(&vm->memory, SELF_CODE, program, sizeof(program)))
		return fail_set(why, FAIL_SYSTEM, "out of memory");
	if (ops->open(&a, vm, why))
		return -1;
	if (ops->reset(a, &entry, why) || ops->log(a, true, why))
		goto out;
	ops->resume(a);
	rc = self_wait(vm, why);
	if (ops->pause(a, why) || rc || ops->sync_state(a, why) || self_check(vm, a, why) ||
	    self_round_trip(a, why))
		rc = -1;
out:
	ops->close(a);
	return rc;
}

int kvm_selftest(struct fail *why)
{
	const struct accel_want want = { 0 };
	struct vm              *vm   = calloc(1, sizeof(*vm));
	int                     rc;

	if (!vm)
		return fail_sys(why, "selftest");
	vm->event_fd       = -1;      /* vm_event has no main loop to wake */
	vm->cfg.type       = MACHINE_X86_64_1;
	vm->cfg.ncpus      = 1;
	vm->cfg.nregions   = 1;
	vm->cfg.regions[0] = (struct machine_region){
		.name = "ram", .size = SELF_BYTES, .page_size = GUEST_PAGE,
	};
	rc = kvm_plan(&vm->cfg, &want, why);
	if (rc == 0)
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
