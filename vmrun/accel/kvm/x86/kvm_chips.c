/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/kvm/kvm.h"

#include "libcommon/io.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* State of the in-kernel 8259As, IOAPIC and 8254. None of these ioctls touches guest memory. */

/* Members that have the same name here and in KVM's structs; to and from are pointers. */
#define COPY(to, from, name) (to)->name = (from)->name;
#define PIC(X, to, from) \
	X(to, from, last_irr) X(to, from, irr) X(to, from, imr) X(to, from, isr) \
	X(to, from, priority_add) X(to, from, irq_base) X(to, from, read_reg_select) \
	X(to, from, poll) X(to, from, special_mask) X(to, from, init_state) X(to, from, auto_eoi) \
	X(to, from, rotate_on_auto_eoi) X(to, from, special_fully_nested_mode) \
	X(to, from, init4) X(to, from, elcr) X(to, from, elcr_mask)

/* s has an array a member, with one element a channel; c is KVM's struct of channel i. */
#define PIT_GET(s, i, c, name) (s)->name[i] = (c)->name;
#define PIT_PUT(s, i, c, name) (c)->name = (__typeof__((c)->name))(s)->name[i];
#define PIT(X, s, i, c) \
	X(s, i, c, count) X(s, i, c, latched_count) X(s, i, c, count_latched) \
	X(s, i, c, status_latched) X(s, i, c, status) X(s, i, c, read_state) \
	X(s, i, c, write_state) X(s, i, c, write_latch) X(s, i, c, rw_mode) \
	X(s, i, c, mode) X(s, i, c, bcd) X(s, i, c, gate)

static const uint32_t pic_ids[] = { KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE };

static int pic_fetch(struct kvm *k, unsigned i, struct fail *why)
{
	struct kvm_irqchip    chip = { .chip_id = pic_ids[i] };
	struct x86_pic_state *s    = &k->s.pic[i];

	if (kvm_call(k->fd, KVM_GET_IRQCHIP, &chip, "KVM_GET_IRQCHIP, 8259A", why) < 0)
		return -1;
	PIC(COPY, s, &chip.chip.pic)
	return 0;
}

static int pic_put(struct kvm *k, unsigned i, struct fail *why)
{
	struct kvm_irqchip          chip = { .chip_id = pic_ids[i] };
	const struct x86_pic_state *s    = &k->s.pic[i];

	PIC(COPY, &chip.chip.pic, s)
	return kvm_call(k->fd, KVM_SET_IRQCHIP, &chip, "KVM_SET_IRQCHIP, 8259A", why) < 0 ? -1 : 0;
}

static int ioapic_fetch(struct kvm *k, struct fail *why)
{
	struct kvm_irqchip       chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct x86_ioapic_state *s    = &k->s.ioapic;

	if (kvm_call(k->fd, KVM_GET_IRQCHIP, &chip, "KVM_GET_IRQCHIP, IOAPIC", why) < 0)
		return -1;
	s->base     = chip.chip.ioapic.base_address;
	s->ioregsel = chip.chip.ioapic.ioregsel;
	s->id       = chip.chip.ioapic.id;
	s->irr      = chip.chip.ioapic.irr;
	for (unsigned i = 0; i < X86_IOAPIC_PINS; i++)
		s->redirect[i] = chip.chip.ioapic.redirtbl[i].bits;
	return 0;
}

static int ioapic_put(struct kvm *k, struct fail *why)
{
	struct kvm_irqchip             chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	const struct x86_ioapic_state *s    = &k->s.ioapic;

	chip.chip.ioapic.base_address = s->base;
	chip.chip.ioapic.ioregsel     = s->ioregsel;
	chip.chip.ioapic.id           = s->id;
	chip.chip.ioapic.irr          = s->irr;
	for (unsigned i = 0; i < X86_IOAPIC_PINS; i++)
		chip.chip.ioapic.redirtbl[i].bits = s->redirect[i];
	return kvm_call(k->fd, KVM_SET_IRQCHIP, &chip, "KVM_SET_IRQCHIP, IOAPIC", why) < 0 ? -1 : 0;
}

/* KVM has the host's time at which a count began, which means nothing on another host: saved is how
 * long ago that was when the VM paused. After a load and before the next resume KVM has no such
 * time, and k->s is kept as it was loaded. */
static int pit_fetch(struct kvm *k, struct fail *why)
{
	struct kvm_pit_state2 p;
	struct x86_pit_state *s = &k->s.pit;

	if (k->pit_loaded)
		return 0;
	if (kvm_call(k->fd, KVM_GET_PIT2, &p, "KVM_GET_PIT2", why) < 0)
		return -1;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t began = (uint64_t)p.channels[i].count_load_time;

		PIT(PIT_GET, s, i, &p.channels[i])
		s->count_load_ns[i] = k->clock_stopped && p.channels[i].count_load_time > 0 &&
				      began < k->stopped_ns ? k->stopped_ns - began : 0;
	}
	s->flags = p.flags;
	return 0;
}

#define PIT_HZ   1193182u
#define PIT_IDLE 0xffu      /* a mode in which KVM has no timer, as after its reset */

/* KVM_SET_PIT2 ignores count_load_time: every count begins again, so that the next tick comes up to
 * one period late. ticks false: channel 0 raises no interrupts. */
static int pit_set(struct kvm *k, bool ticks, struct fail *why)
{
	const struct x86_pit_state *s = &k->s.pit;
	struct kvm_pit_state2       p = { .flags = s->flags };

	for (unsigned i = 0; i < 3; i++) {
		PIT(PIT_PUT, s, i, &p.channels[i])
	}
	if (!ticks)
		p.channels[0].mode = PIT_IDLE;
	return kvm_call(k->fd, KVM_SET_PIT2, &p, "KVM_SET_PIT2", why) < 0 ? -1 : 0;
}

/* Without ticks until the resume: an interrupt before that would be one that the saved machine did
 * not have. */
static int pit_put(struct kvm *k, struct fail *why)
{
	if (pit_set(k, false, why))
		return -1;
	k->pit_loaded = true;
	return 0;
}

/* KVM's PIT runs on while the VM is paused, and would deliver the ticks of an hour at once. Setting
 * it again drops them, but also begins its count again: so not after a pause shorter than one tick,
 * and not in a mode that counts once. */
int kvm_pit_start(struct kvm *k, struct fail *why)
{
	struct kvm_pit_state2 p;
	const uint64_t        paused = io_now_ns() - k->stopped_ns;

	if (k->pit_loaded)
		return pit_set(k, true, why);
	if (kvm_call(k->fd, KVM_GET_PIT2, &p, "KVM_GET_PIT2", why) < 0)
		return -1;
	if ((p.channels[0].mode != 2 && p.channels[0].mode != 3) ||
	    paused / 1000 * PIT_HZ / 1000000 < p.channels[0].count)
		return 0;
	return kvm_call(k->fd, KVM_SET_PIT2, &p, "KVM_SET_PIT2", why) < 0 ? -1 : 0;
}

int kvm_chips_fetch(struct kvm *k, struct fail *why)
{
	if (pic_fetch(k, 0, why) || pic_fetch(k, 1, why) || ioapic_fetch(k, why) ||
	    pit_fetch(k, why) || kvm_clock_fetch(k, why))
		return -1;
	return 0;
}

int kvm_chips_put(struct kvm *k, struct fail *why)
{
	if (pic_put(k, 0, why) || pic_put(k, 1, why) || ioapic_put(k, why) || pit_put(k, why))
		return -1;
	return 0;
}

size_t kvm_vm_sections(struct accel *a, struct state_section *out, size_t max)
{
	struct x86_vm_state    *s     = &((struct kvm *)(void *)a)->s;
	const struct state_section all[] = {
		{ .node = "x86-pic@0",    .table = &x86_pic_state_table,      .s = &s->pic[0] },
		{ .node = "x86-pic@1",    .table = &x86_pic_state_table,      .s = &s->pic[1] },
		{ .node = "x86-ioapic",   .table = &x86_ioapic_state_table,   .s = &s->ioapic },
		{ .node = "x86-pit",      .table = &x86_pit_state_table,      .s = &s->pit    },
		{ .node = "x86-kvmclock", .table = &x86_kvmclock_state_table, .s = &s->clock  },
	};
	size_t n = 0;

	for (; n < sizeof(all) / sizeof(all[0]) && n < max; n++)
		out[n] = all[n];
	return n;
}
