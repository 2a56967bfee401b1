/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/kvm/kvm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Interrupts into the guest: the in-kernel 8259 pair, IOAPIC and 8254, and how global interrupt
 * numbers (GSIs) reach their pins. As on every PC, ISA line 0 (the timer) is pin 2 of the IOAPIC;
 * line 2 is the 8259s' cascade and has no GSI of its own. */

#define IOAPIC_PINS 24u
#define PIC_PINS    16u
#define TIMER_GSI   0u
#define TIMER_PIN   2u      /* of the IOAPIC */
#define CASCADE     2u

#define ROUTES_BYTES (sizeof(struct kvm_irq_routing) + \
		      (PIC_PINS + IOAPIC_PINS) * sizeof(struct kvm_irq_routing_entry))

static void route(struct kvm_irq_routing *t, uint32_t gsi, uint32_t chip, uint32_t pin)
{
	t->entries[t->nr++] = (struct kvm_irq_routing_entry){
		.gsi       = gsi,
		.type      = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

static int irq_route(struct kvm *k, struct fail *why)
{
	struct kvm_irq_routing *t = calloc(1, ROUTES_BYTES);
	int                     rc;

	if (!t)
		return fail_sys(why, "interrupt routes");
	for (uint32_t gsi = 0; gsi < IOAPIC_PINS; gsi++) {
		if (gsi == CASCADE)
			continue;
		if (gsi < PIC_PINS)
			route(t, gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
			      gsi % 8);
		route(t, gsi, KVM_IRQCHIP_IOAPIC, gsi == TIMER_GSI ? TIMER_PIN : gsi);
	}
	rc = kvm_call(k->fd, KVM_SET_GSI_ROUTING, t, "KVM_SET_GSI_ROUTING", why);
	free(t);
	return rc < 0 ? -1 : 0;
}

int kvm_irq_open(struct kvm *k, struct fail *why)
{
	/* Port 0x61 too: guests gate channel 2 with it to calibrate their clocks. */
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	if (kvm_call_n(k->fd, KVM_CREATE_IRQCHIP, 0, "KVM_CREATE_IRQCHIP", why) < 0 ||
	    kvm_call(k->fd, KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2", why) < 0)
		return -1;
	return irq_route(k, why);
}

void kvm_gsi(struct accel *a, uint32_t gsi, bool level)
{
	struct kvm           *k    = (struct kvm *)(void *)a;
	struct kvm_irq_level  line = { .irq = gsi, .level = level };

	/* Fails only for a chip that does not exist, and the caller could do nothing about it. */
	if (gsi < IOAPIC_PINS)
		kvm_call(k->fd, KVM_IRQ_LINE, &line, NULL, NULL);
}

int kvm_irqfd(struct kvm *k, uint32_t gsi, int fd, int resample_fd, bool on, struct fail *why)
{
	struct kvm_irqfd irq = {
		.fd    = (uint32_t)fd,
		.gsi   = gsi,
		.flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};
	char             what[64];

	if (gsi >= IOAPIC_PINS || gsi == CASCADE)
		return fail_set(why, FAIL_LIMIT, "interrupt %" PRIu32 " out of range", gsi);
	if (on && resample_fd >= 0) {
		if (!k->caps.irqfd_resample)
			return fail_set(why, FAIL_REFUSED,
				"KVM_CAP_IRQFD_RESAMPLE not supported by KVM of this kernel");
		irq.flags     |= KVM_IRQFD_FLAG_RESAMPLE;
		irq.resamplefd = (uint32_t)resample_fd;
	}
	snprintf(what, sizeof(what), "KVM_IRQFD, interrupt %" PRIu32, gsi);
	return kvm_call(k->fd, KVM_IRQFD, &irq, what, why) < 0 ? -1 : 0;
}

int kvm_ioeventfd(struct kvm *k, uint64_t gpa, unsigned len, bool any, uint64_t value, int fd,
		  bool on, struct fail *why)
{
	const bool pio = gpa >= MACHINE_IO;
	char       what[64];

	struct kvm_ioeventfd io = {
		.addr      = pio ? gpa - MACHINE_IO : gpa,
		.len       = len,
		.fd        = fd,
		.datamatch = any ? 0 : value,
		.flags     = (pio ? KVM_IOEVENTFD_FLAG_PIO : 0u) |
			     (any ? 0u : KVM_IOEVENTFD_FLAG_DATAMATCH) |
			     (on ? 0u : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};
	if (!k->caps.ioeventfd)
		return fail_set(why, FAIL_REFUSED,
				"KVM_CAP_IOEVENTFD not supported by KVM of this kernel");
	snprintf(what, sizeof(what), "KVM_IOEVENTFD, %s 0x%" PRIx64, pio ? "port" : "address",
		 (uint64_t)io.addr);
	return kvm_call(k->fd, KVM_IOEVENTFD, &io, what, why) < 0 ? -1 : 0;
}

int kvm_notify(struct accel *a, uint64_t gpa, uint32_t value, int fd, bool on, struct fail *why)
{
	struct kvm *k = (struct kvm *)(void *)a;

	return k->caps.ioeventfd ? kvm_ioeventfd(k, gpa, 4, false, value, fd, on, why) : 0;
}
