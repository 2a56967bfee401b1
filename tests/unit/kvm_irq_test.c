/* SPDX-License-Identifier: MIT */
#include "tests/unit/kvm_rig.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Interrupts into the chips that KVM has, by line and by eventfd; and eventfds instead of exits. */

#define IDT       0x7000u
#define HANDLERS  (RIG_CODE + 0x800)
#define EDGE      5u                      /* vector 0x41, counted at RIG_DATA */
#define LEVEL     6u                      /* vector 0x42 */
#define COUNT(n)  (RIG_DATA + 8 * (n))
#define LOWER     0x550u                  /* a write to this port lowers the level line */

static const struct accel_ops *const ops = &accel_kvm_ops;

/* Masks the 8259s; enables the APIC; pins 5 (edge), 6 (level) and 2 (edge) of the IOAPIC to
 * vectors 0x41 to 0x43; halts. */
GUEST(halts,
	"mov $0xff, %eax\n out %al, $0x21\n out %al, $0xa1\n"
	"mov $0xfee000f0, %eax\n movl $0x1ff, (%rax)\n mov $0xfec00000, %ebx\n"
	"movl $0x1a, (%rbx)\n movl $0x41, 0x10(%rbx)\n movl $0x1b, (%rbx)\n movl $0, 0x10(%rbx)\n"
	"movl $0x1c, (%rbx)\n movl $0x8042, 0x10(%rbx)\n movl $0x1d, (%rbx)\n movl $0, 0x10(%rbx)\n"
	"movl $0x14, (%rbx)\n movl $0x43, 0x10(%rbx)\n movl $0x15, (%rbx)\n movl $0, 0x10(%rbx)\n"
	"movq $1, 0x120000\n sti\n1: hlt\n jmp 1b\n");

/* 64 bytes each. The second lowers its line before it says that it is done. */
GUEST(handlers,
	"push %rax\n incq 0x110000\n mov $0xfee000b0, %eax\n movl $0, (%rax)\n pop %rax\n iretq\n "
	".balign 64, 0x90\n"
	"push %rax\n push %rdx\n mov $0x550, %edx\n out %al, %dx\n incq 0x110008\n "
	"mov $0xfee000b0, %eax\n movl $0, (%rax)\n"
	"pop %rdx\n pop %rax\n iretq\n .balign 64, 0x90\n"
	"push %rax\n incq 0x110010\n mov $0xfee000b0, %eax\n movl $0, (%rax)\n pop %rax\n iretq\n");

static void vector(struct rig *g, unsigned n, uint64_t handler)
{
	uint64_t *gate = rig_host(g, IDT + n * 16);

	gate[0] = (handler & 0xffff) | 0x10u << 16 | (uint64_t)0x8e00 << 32 |
		  (handler >> 16 & 0xffff) << 48;
	gate[1] = handler >> 32;
}

static void lower(struct rig *g, uint64_t gpa)
{
	if (gpa == MACHINE_IO + LOWER)
		ops->gsi(g->vm.accel, LEVEL, false);
}

static bool start(struct rig *g)
{
	rig_reset(g);
	memcpy(rig_host(g, HANDLERS), handlers, (size_t)(handlers_end - handlers));
	for (unsigned i = 0; i < 3; i++)
		vector(g, 0x41 + i, HANDLERS + i * 64);
	g->k->vcpus[0].s.sregs.idt_base  = IDT;
	g->k->vcpus[0].s.sregs.idt_limit = 0xfff;
	rig_load(g, 0, halts, halts_end, 0, 0, 0);
	rig_post_load(g);
	ops->resume(g->vm.accel);
	return rig_wait(g, RIG_DONE, 1);
}

static void pulse(struct rig *g, uint32_t gsi)
{
	ops->gsi(g->vm.accel, gsi, true);
	ops->gsi(g->vm.accel, gsi, false);
}

/* Handler i has run once since. kvm_pvm (Linux 6.18) runs it a second time now and then, with
 * nothing in the APIC's ISR. */
static bool once(struct rig *g, unsigned i, uint64_t since)
{
	uint64_t n;

	for (unsigned naps = 0; naps < 50000 && rig_get(g, COUNT(i)) == since; naps++)
		rig_nap(100);
	rig_nap(5000);
	n = rig_get(g, COUNT(i)) - since;
	if (n == 1 || (g->k->caps.interprets && n == 2))
		return true;
	note("vector 0x%x: %llu times", 0x41 + i, (unsigned long long)n);
	return false;
}

/* It does not go on interrupting. */
static bool quiet(struct rig *g)
{
	uint64_t was;

	rig_nap(5000);
	was = rig_get(g, COUNT(1));
	rig_nap(20000);
	return rig_get(g, COUNT(1)) == was;
}

static void test_lines(struct rig *g)
{
	bool     good = true;
	uint64_t since;

	for (unsigned i = 0; i < 20 && good; i++) {
		since = rig_get(g, COUNT(0));
		pulse(g, EDGE);
		good = once(g, 0, since);
	}
	ok(good, "edges of a line interrupt once each");
	for (unsigned i = 0; i < 20 && good; i++) {
		since = rig_get(g, COUNT(1));
		ops->gsi(g->vm.accel, LEVEL, true);
		good = once(g, 1, since) && quiet(g);
	}
	ok(good, "levels that the guest has lowered interrupt once each");
	pulse(g, 0);
	ok(once(g, 2, 0), "line 0 is pin 2 of the IOAPIC");
	since = rig_get(g, COUNT(2));
	pulse(g, 2);
	pulse(g, 24);
	pulse(g, UINT32_MAX);
	ok(quiet(g) && rig_get(g, COUNT(2)) == since,
	   "line 2 and those that are not there go nowhere");
}

static uint8_t pic_irr(struct rig *g, uint32_t chip)
{
	struct kvm_irqchip c = { .chip_id = chip };

	return kvm_call(g->k->fd, KVM_GET_IRQCHIP, &c, NULL, NULL) < 0 ? 0 : c.chip.pic.irr;
}

static void test_routes(struct rig *g)
{
	struct kvm_irqchip c    = { .chip_id = KVM_IRQCHIP_IOAPIC };
	bool               good = true;

	for (uint32_t gsi = 0; gsi < 16; gsi++) {
		if (gsi == 2)
			continue;
		ops->gsi(g->vm.accel, gsi, true);
		uint32_t chip = gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;

		good = good && pic_irr(g, chip) & 1u << gsi % 8;
		ops->gsi(g->vm.accel, gsi, false);
	}
	ok(good, "ISA lines are pins of the two 8259s, too");
	for (uint32_t gsi = 16; gsi < 24; gsi++)
		ops->gsi(g->vm.accel, gsi, true);
	kvm_call(g->k->fd, KVM_GET_IRQCHIP, &c, NULL, NULL);
	for (uint32_t gsi = 16; gsi < 24; gsi++)
		ops->gsi(g->vm.accel, gsi, false);
	ok((c.chip.ioapic.irr >> 16 & 0xff) == 0xff, "lines 16 to 23 are the IOAPIC's");
}

/* ---- eventfds ---- */

static void shoot(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		note("eventfd: %s", strerror(errno));
}

static uint64_t taken(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

static void test_irqfd(struct rig *g)
{
	int         fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int         again = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t    since;
	struct fail why;
	bool        good;

	ok(kvm_irqfd(g->k, EDGE, fd, -1, true, &why) == 0, "an eventfd for an edge");
	good = true;
	for (unsigned i = 0; i < 20 && good; i++) {
		since = rig_get(g, COUNT(0));
		shoot(fd);
		good = once(g, 0, since);
	}
	ok(good, "each time it is written to is an interrupt");
	ok(kvm_irqfd(g->k, EDGE, fd, -1, true, &why) && strstr(why.what, "KVM_IRQFD, interrupt 5"),
	   "one that is there already is refused by name");
	ok(kvm_irqfd(g->k, EDGE, fd, -1, false, &why) == 0, "it is taken away");
	since = rig_get(g, COUNT(0));
	shoot(fd);
	ok(quiet(g) && rig_get(g, COUNT(0)) == since && taken(fd) == 1, "and interrupts no more");

	ok(kvm_irqfd(g->k, LEVEL, fd, again, true, &why) == 0,
	   "an eventfd for a level, with one that reports the guest's EOI");
	good = true;
	for (unsigned i = 0; i < 20 && good; i++) {
		struct pollfd p = { .fd = again, .events = POLLIN };

		since = rig_get(g, COUNT(1));
		shoot(fd);
		good = once(g, 1, since) && poll(&p, 1, 5000) == 1 && quiet(g) && taken(again) >= 1;
	}
	ok(good, "each level is one interrupt, lowered and reported at its EOI");
	ok(kvm_irqfd(g->k, LEVEL, fd, again, false, &why) == 0, "it is taken away");
	ok(kvm_irqfd(g->k, 2, fd, -1, true, &why) && kvm_irqfd(g->k, 24, fd, -1, true, &why) &&
	   why.kind == FAIL_LIMIT,
	   "there is none for line 2, nor for 24");
	close(fd);
	close(again);
}

/* rdi: MMIO; two stores of which one matches, then two to a port. */
GUEST(kicks, "movl $7, 0x50(%rdi)\n movl $8, 0x50(%rdi)\n"
	     "mov $0x560, %edx\n mov $3, %eax\n out %ax, %dx\n out %ax, %dx" GUEST_DONE);

static bool kick(struct rig *g)
{
	bool came;

	rig_pause(g);
	rig_reset(g);
	rig_load(g, 0, kicks, kicks_end, RIG_MMIO, 0, 0);
	rig_post_load(g);
	ops->resume(g->vm.accel);
	came = rig_wait(g, RIG_DONE, 1);
	rig_pause(g);
	return came;
}

static void test_ioeventfd(struct rig *g)
{
	int         mem = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int         port = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct fail why;

	ok(kvm_ioeventfd(g->k, RIG_MMIO + 0x50, 4, false, 7, mem, true, &why) == 0 &&
		   kvm_ioeventfd(g->k, MACHINE_IO + 0x560, 2, true, 0, port, true, &why) == 0,
	   "eventfds for a store of a value, and for a port");
	ok(kick(g) && taken(mem) == 1 && taken(port) == 2, "are written to by the guest's stores");
	ok(g->n == 1 && g->log[0].gpa == RIG_MMIO + 0x50 && g->log[0].value == 8,
	   "which do not leave KVM, but for those of another value");
	ok(kvm_ioeventfd(g->k, RIG_MMIO + 0x50, 4, false, 7, mem, true, &why) &&
	   why.sys == EEXIST &&
		   strstr(why.what, "KVM_IOEVENTFD, address 0xd0000050"),
	   "a second one is refused by name");
	ok(kvm_ioeventfd(g->k, RIG_MMIO + 0x50, 4, false, 7, mem, false, &why) == 0 &&
		   kvm_ioeventfd(g->k, MACHINE_IO + 0x560, 2, true, 0, port, false, &why) == 0,
	   "they are taken away");
	ok(kick(g) && g->n == 4 && !taken(mem) && !taken(port), "and the stores come here again");
	close(mem);
	close(port);
}

int main(void)
{
	static struct rig g;

	rig_need_kvm();
	rig_must_open(&g, 1);
	g.on_write = lower;
	ok(start(&g), "a guest sets up its interrupts");
	test_lines(&g);
	test_routes(&g);
	test_irqfd(&g);
	test_ioeventfd(&g);
	rig_close(&g);
	return done_testing();
}
