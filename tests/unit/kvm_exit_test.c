/* SPDX-License-Identifier: MIT */
#include "tests/unit/kvm_rig.h"

#include "vmrun/memory_file.h"

#include <stdio.h>
#include <string.h>

/* What vCPUs leave KVM_RUN for: ports and MMIO of every size, in one piece and in several,
 * present and absent; and the ways a VM ends. */

static const struct accel_ops *const ops = &accel_kvm_ops;

/* rdi: the address for what was read */
GUEST(ports,
	"mov $0x510, %edx\n mov $0x44332211, %eax\n out %al, %dx\n out %ax, %dx\n out %eax, %dx\n"
	"xor %eax, %eax\n in %dx, %al\n mov %rax, (%rdi)\n xor %eax, %eax\n in %dx, %ax\n "
	"mov %rax, 8(%rdi)\n"
	"in %dx, %eax\n mov %rax, 16(%rdi)\n"
	"mov $0x700, %edx\n out %al, %dx\n xor %eax, %eax\n in %dx, %al\n mov %rax, 24(%rdi)\n "
	"xor %eax, %eax\n"
	"in %dx, %ax\n mov %rax, 32(%rdi)\n in %dx, %eax\n mov %rax, 40(%rdi)" GUEST_DONE);

static bool log_is(const struct rig *g, unsigned i, bool is_write, uint64_t gpa, unsigned size,
		   uint64_t value)
{
	const struct rig_access *a = &g->log[i];

	if (i < g->n && a->write == is_write && a->gpa == gpa && a->size == size &&
	    a->value == value)
		return true;
	note("access %u of %u: %s 0x%llx size %u value 0x%llx", i, g->n,
	     a->write ? "write" : "read", (unsigned long long)a->gpa,
	     a->size, (unsigned long long)a->value);
	return false;
}

static bool guest_runs(struct rig *g, const uint8_t *code, const uint8_t *end, uint64_t rsi)
{
	bool came;

	rig_reset(g);
	rig_load(g, 0, code, end, RIG_DATA, rsi, 0);
	rig_post_load(g);
	ops->resume(g->vm.accel);
	came = rig_wait(g, RIG_DONE, 1);
	rig_pause(g);
	return came;
}

static void test_ports(struct rig *g)
{
	const uint64_t p = MACHINE_IO + 0x510;

	ok(guest_runs(g, ports, ports_end, 0), "a guest that uses ports comes to its end");
	ok(log_is(g, 0, true, p, 1, 0x11) && log_is(g, 1, true, p, 2, 0x2211) &&
	   log_is(g, 2, true, p, 4, 0x44332211),
	   "out of 1, 2 and 4 bytes arrives");
	ok(rig_get(g, RIG_DATA) == 0x11 && rig_get(g, RIG_DATA + 8) == 0x2211 &&
	   rig_get(g, RIG_DATA + 16) == 0x44332211,
	   "in of 1, 2 and 4 bytes is answered");
	ok(rig_get(g, RIG_DATA + 24) == 0xff && rig_get(g, RIG_DATA + 32) == 0xffff &&
	   rig_get(g, RIG_DATA + 40) == 0xffffffff,
	   "an absent port reads all ones");
}

/* rsi: a string of 6 bytes */
GUEST(strings,
	"mov $0x520, %edx\n cld\n mov $6, %ecx\n rep outsb\n mov $5, %ecx\n rep insb\n "
	"mov $3, %ecx\n rep insw\n"
	"sub $6, %rsi\n mov $3, %ecx\n rep outsw" GUEST_DONE);

static void test_strings(struct rig *g)
{
	static const uint8_t want[] = {
		0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x22, 0x11, 0x22, 0x11, 0x22,
	};
	bool                 good   = true;

	memcpy(rig_host(g, RIG_CODE + 0x800), "string", 6);
	ok(guest_runs(g, strings, strings_end, RIG_CODE + 0x800),
	   "a guest with string I/O comes to its end");
	for (unsigned i = 0; i < 6; i++)
		good = good && log_is(g, i, true, MACHINE_IO + 0x520, 1, (uint8_t)"string"[i]);
	for (unsigned i = 0; i < 3; i++)
		good = good &&
		       log_is(g, g->n - 3 + i, true, MACHINE_IO + 0x520, 2,
			      (uint64_t)("string"[2 * i] | "string"[2 * i + 1] << 8));
	ok(good, "rep outs gives each element, in order");
	ok(memcmp(rig_host(g, RIG_DATA), want, sizeof(want)) == 0, "rep ins fills the memory");
}

/* rsi: the window */
GUEST(mmio,
	"mov $0x8877665544332211, %rax\n mov %al, 1(%rsi)\n mov %ax, 2(%rsi)\n "
	"mov %eax, 4(%rsi)\n mov %rax, 8(%rsi)\n"
	"xor %eax, %eax\n mov 1(%rsi), %al\n mov %rax, (%rdi)\n xor %eax, %eax\n "
	"mov 2(%rsi), %ax\n mov %rax, 8(%rdi)\n"
	"mov 4(%rsi), %eax\n mov %rax, 16(%rdi)\n mov 8(%rsi), %rax\n mov %rax, 24(%rdi)\n"
	"mov 0x2000(%rsi), %rax\n mov %rax, 32(%rdi)\n mov %rax, 0x2000(%rsi)" GUEST_DONE);

static void test_mmio(struct rig *g)
{
	ok(guest_runs(g, mmio, mmio_end, RIG_MMIO), "a guest that uses MMIO comes to its end");
	ok(log_is(g, 0, true, RIG_MMIO + 1, 1, 0x11) &&
	   log_is(g, 1, true, RIG_MMIO + 2, 2, 0x2211) &&
		   log_is(g, 2, true, RIG_MMIO + 4, 4, 0x44332211) &&
		   log_is(g, 3, true, RIG_MMIO + 8, 8, 0x8877665544332211),
	   "stores of 1, 2, 4 and 8 bytes arrive");
	ok(rig_get(g, RIG_DATA) == 0x11 && rig_get(g, RIG_DATA + 8) == 0x2211 &&
	   rig_get(g, RIG_DATA + 16) == 0x44332211 &&
		   rig_get(g, RIG_DATA + 24) == 0x8877665544332211,
	   "loads of 1, 2, 4 and 8 bytes are answered");
	ok(rig_get(g, RIG_DATA + 32) == UINT64_MAX, "where nothing is, a load gives all ones");
}

/* rsi: the window; stores of 8 bytes with 3, 5, 6 and 7 before the page's end, and a load */
GUEST(straddle,
	"mov $0x8877665544332211, %rax\n mov %rax, 0xffd(%rsi)\n mov %rax, 0xffb(%rsi)\n "
	"mov %rax, 0xffa(%rsi)\n"
	"mov %rax, 0xff9(%rsi)\n mov 0xffd(%rsi), %rax\n mov %rax, (%rdi)" GUEST_DONE);

/* The bytes that arrived in a store that straddles the page's end, put together again. */
static bool straddles(const struct rig *g, unsigned *i, uint64_t gpa)
{
	uint64_t value = 0, at = gpa;

	for (; at < gpa + 8 && *i < g->n; (*i)++) {
		const struct rig_access *a = &g->log[*i];

		if (a->gpa != at || !a->write || (a->size & (a->size - 1)))
			break;
		value |= a->value << (8 * (at - gpa));
		at += a->size;
	}
	if (at == gpa + 8 && value == 0x8877665544332211)
		return true;
	note("0x%llx: up to 0x%llx, value 0x%llx", (unsigned long long)gpa, (unsigned long long)at,
	     (unsigned long long)value);
	return false;
}

static void test_straddle(struct rig *g)
{
	unsigned i = 0;

	ok(guest_runs(g, straddle, straddle_end, RIG_MMIO),
	   "a guest with accesses over the end of a page comes to its end");
	ok(straddles(g, &i, RIG_MMIO + 0xffd) && straddles(g, &i, RIG_MMIO + 0xffb) &&
	   straddles(g, &i, RIG_MMIO + 0xffa) &&
		   straddles(g, &i, RIG_MMIO + 0xff9),
	   "stores over the end of a page arrive whole, in pieces of 1, 2, 4 or 8 bytes");
	ok(rig_get(g, RIG_DATA) == 0xffffffffff112211,
	   "of a load over the window's end the absent part is all ones");
}

/* ---- the VM's end ---- */

GUEST(triple, "lidt 1f(%rip)\n mov $0x77, %r15d\n ud2\n1: .word 0\n .quad 0\n");

static void test_triple(struct rig *g)
{
	rig_reset(g);
	rig_load(g, 0, triple, triple_end, 0, 0, 0);
	rig_post_load(g);
	ops->resume(g->vm.accel);
	ok(rig_wait_event(g) && g->vm.events == 1u << VM_EVENT_DEAD, "a triple fault ends the VM");
	rig_pause(g);
	note("%s", g->vm.panic_text);
	ok(strstr(g->vm.panic_text, "vCPU 0: triple fault at 0x") == g->vm.panic_text,
	   "and the message says so, and where");
	ok(guest_runs(g, mmio, mmio_end, RIG_MMIO), "after a reset the vCPU runs again");
}

/* int3 in protected mode: an interpreting KVM can't do it */
GUEST(not_emulated, "nop\n int3\n");

static void test_internal(struct rig *g)
{
	if (!g->k->caps.interprets) {
		skip("an internal error is reported with its instruction",
		     "this KVM does not interpret");
		return;
	}
	rig_reset(g);
	rig_load(g, 0, not_emulated, not_emulated_end, 0, 0, 0);
	rig_post_load(g);
	ops->resume(g->vm.accel);
	rig_wait_event(g);
	rig_pause(g);
	note("%s", g->vm.panic_text);
	ok(g->vm.events == 1u << VM_EVENT_DEAD &&
	   strstr(g->vm.panic_text, "KVM_EXIT_INTERNAL_ERROR 1 (emulation) at 0x100001: cc"),
	   "an internal error is reported with its instruction");
}

/* rdi counts what is executed after the request for a reset at port 0x530 */
GUEST(wishes, "mov $0x530, %edx\n out %al, %dx\n1: incq (%rdi)\n jmp 1b\n");

static void test_wish(struct rig *g)
{
	struct kvm_regs regs;

	rig_reset(g);
	atomic_store(&g->event_at, 0x530);
	rig_load(g, 0, wishes, wishes_end, RIG_DATA, 0, 0);
	rig_post_load(g);
	ops->resume(g->vm.accel);
	ok(rig_wait_event(g), "a guest asks for a reset");
	rig_nap(20000);
	rig_pause(g);
	rig_regs(g, 0, &regs);
	ok(rig_get(g, RIG_DATA) == 0 && regs.rip == RIG_CODE + 6,
	   "and is paused after the instruction that asked, which is complete");
	ops->resume(g->vm.accel);
	rig_nap(20000);
	rig_pause(g);
	ok(rig_get(g, RIG_DATA) == 0, "a pause and a resume do not let it go on");
	atomic_store(&g->event_at, 0);
	ok(guest_runs(g, ports, ports_end, 0), "a reset does");
}

static void tell(struct rig *g, uint64_t gpa)
{
	if (gpa == MACHINE_IO + 0x530)
		vm_event(&g->vm, VM_EVENT_CRASH_LOADED);
}

static void test_told(struct rig *g)
{
	rig_reset(g);
	g->on_write = tell;
	rig_load(g, 0, wishes, wishes_end, RIG_DATA, 0, 0);
	rig_post_load(g);
	ops->resume(g->vm.accel);
	rig_wait_event(g);
	rig_nap(20000);
	rig_pause(g);
	g->on_write = NULL;
	ok(g->vm.events == 1u << VM_EVENT_CRASH_LOADED && rig_get(g, RIG_DATA) > 0,
	   "after an event that is only reported the guest runs on");
}

/* Guest memory is lost (vmrun/memory.h). */
static void test_lost(struct rig *g)
{
	static struct memory_file file = { .fd = -1 };

	g->vm.memory.file = &file;
	memory_lose(&g->vm.memory);
	rig_reset(g);
	rig_load(g, 0, ports, ports_end, RIG_DATA, 0, 0);
	rig_post_load(g);
	ops->resume(g->vm.accel);
	rig_nap(20000);
	rig_pause(g);
	ok(g->n == 0 && rig_get(g, RIG_DATA) == 0,
	   "once memory is lost no access reaches a device, and the vCPU stops");
	g->vm.memory.file = NULL;
	atomic_store(&g->vm.memory.lost, false);
	ok(guest_runs(g, ports, ports_end, 0), "a reset lets it run");
}

int main(void)
{
	static struct rig g;

	rig_need_kvm();
	rig_must_open(&g, 1);
	test_ports(&g);
	test_strings(&g);
	test_mmio(&g);
	test_straddle(&g);
	test_triple(&g);
	test_internal(&g);
	test_wish(&g);
	test_told(&g);
	test_lost(&g);
	rig_close(&g);
	return done_testing();
}
