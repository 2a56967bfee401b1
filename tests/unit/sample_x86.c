/* SPDX-License-Identifier: MIT */
#include "tests/unit/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_2026 UINT64_C(1795219200000000000)      /* 2026-11-21 */

#define LOW_RAM ((uint64_t)3 << 30)      /* what is more lies above 4 GiB */

static const struct machine_device devices[] = {
	{ .type = "ns16550a",   .gpa = MACHINE_IO + 0x3f8, .size = 8,      .irq = 4,
	  .slot = SLOT_NONE, .host = "console" },
	{ .type = "mc146818",   .gpa = MACHINE_IO + 0x70,  .size = 2,      .irq = 8,
	  .slot = SLOT_NONE },
	{ .type = "i8042",      .gpa = MACHINE_IO + 0x60,  .size = 5,      .slot = SLOT_NONE },
	{ .type = "acpi-pm",    .gpa = MACHINE_IO + 0x600, .size = 0x40,   .irq = 9,
	  .slot = SLOT_NONE },
	{ .type = "vmgenid",    .gpa = 0xfed40000,         .size = 0x1000, .slot = SLOT_NONE },
	{ .type = "virtio-rng", .gpa = 0xd0000000,         .size = 0x1000, .irq = 16, .slot = 0,
	  .host = "rng" },
};
#define NDEVICES ((uint32_t)(sizeof(devices) / sizeof(devices[0])))

/* As a recorded machine has them: ascending, each once. */
static const struct machine_cpuid cpuid[] = {
	{ .leaf = 0, .eax = 0xd, .ebx = 0x68747541, .ecx = 0x444d4163, .edx = 0x69746e65 },
	{ .leaf = 1, .eax = 0x00b00f21, .ebx = 0x00020800, .ecx = 0xfe980203, .edx = 0x178bfbff },
	{ .leaf = 7, .flags = 1, .eax = 1, .ebx = 0x00000128 },
	{ .leaf = 0xd, .flags = 1, .eax = 7, .ebx = 576, .ecx = 832 },
	{ .leaf = 0xd, .index = 2, .flags = 1, .eax = 256, .ebx = 576 },
	{ .leaf = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b, .ecx = 0x564b4d56,
	  .edx = 0x4d },
	{ .leaf = 0x40000001, .eax = 0x0100007b },
	{ .leaf = 0x80000000, .eax = 0x80000008, .ebx = 0x68747541, .ecx = 0x444d4163,
	  .edx = 0x69746e65 },
	{ .leaf = 0x80000001, .ecx = 0x23, .edx = 0x2193fbff },
};

static const uint32_t msrs[] = { 0x10, 0x174, 0x2ff, 0x6e0, 0x4b564d01, 0xc0000081, 0xc0000082 };
#define NMSRS ((uint32_t)(sizeof(msrs) / sizeof(msrs[0])))

static size_t put(struct state_section *out, const struct state_table *t, void *s)
{
	*out = (struct state_section){ .table = t, .s = s };
	snprintf(out->node, sizeof(out->node), "%s", t->name);
	return 1;
}

static size_t sample_vm_sections(void *arg, struct state_section *out, size_t max)
{
	struct sample *s = arg;
	size_t         n = 0;

	(void)max;
	n += put(out + n, &clock_state_table, &s->clock);
	for (unsigned i = 0; i < 2; i++) {
		put(out + n, &x86_pic_state_table, &s->x86_vm.pic[i]);
		snprintf(out[n].node, sizeof(out[n].node), "x86-pic@%u", i);
		n++;
	}
	n += put(out + n, &x86_ioapic_state_table, &s->x86_vm.ioapic);
	n += put(out + n, &x86_pit_state_table, &s->x86_vm.pit);
	n += put(out + n, &x86_kvmclock_state_table, &s->x86_vm.clock);
	return n;
}

static size_t sample_cpu_sections(void *arg, uint32_t cpu, struct state_section *out, size_t max)
{
	struct x86_cpu_state *c = &((struct sample *)arg)->x86_cpus[cpu];
	size_t                n = 0;

	(void)max;
	n += put(out + n, &x86_regs_state_table, &c->regs);
	n += put(out + n, &x86_sregs_state_table, &c->sregs);
	n += put(out + n, &x86_xsave_state_table, &c->xsave);
	n += put(out + n, &x86_msrs_state_table, &c->msrs);
	n += put(out + n, &x86_lapic_state_table, &c->lapic);
	n += put(out + n, &x86_events_state_table, &c->events);
	n += put(out + n, &x86_debugregs_state_table, &c->debugregs);
	return n;
}

static size_t sample_device_sections(void *arg, uint32_t device, struct state_section *out,
				     size_t max)
{
	struct sample *s = arg;
	size_t         n = 0;

	(void)max;
	switch (device) {
	case 0:  return put(out, &uart_state_table, &s->uart);
	case 1:  return put(out, &mc146818_state_table, &s->cmos);
	case 2:  return put(out, &i8042_state_table, &s->keyboard);
	case 3:  return put(out, &acpi_pm_state_table, &s->pm);
	case 4:  return put(out, &vmgenid_state_table, &s->genid);
	default:
		n += put(out + n, &virtio_state_table, &s->virtio[0].core);
		put(out + n, &virtqueue_state_table, &s->virtio[0].queues[0]);
		snprintf(out[n].node, sizeof(out[n].node), "virtqueue@0");
		n++;
		n += put(out + n, &virtio_mmio_state_table, &s->virtio[0].mmio);
		return n + put(out + n, &virtio_rng_state_table, &s->rng);
	}
}

static void sample_machine(struct machine *m, uint64_t ram_bytes)
{
	m->type = MACHINE_X86_64_1;
	strcpy(m->name, "sample");
	for (int i = 0; i < 16; i++)
		m->uuid.b[i] = (uint8_t)(0x11 * (i + 1));
	m->ncpus = SAMPLE_HARTS;
	strcpy(m->cpu_model, "x86-64-v2,+avx2");
	m->timebase_hz = 2596120000;
	m->ncpuid      = sizeof(cpuid) / sizeof(cpuid[0]);
	memcpy(m->cpuid, cpuid, sizeof(cpuid));
	m->xsave_bytes = 4096;
	m->nmsrs       = NMSRS;
	memcpy(m->msrs, msrs, sizeof(msrs));
	strcpy(m->append, "console=ttyS0");
	m->nregions   = 1;
	strcpy(m->regions[0].name, "ram");
	m->regions[0].kind      = REGION_RAM;
	m->regions[0].page_size = 4096;
	m->regions[0].size = ram_bytes < LOW_RAM ? ram_bytes : LOW_RAM;
	if (ram_bytes > LOW_RAM) {
		m->nregions   = 2;
		m->regions[1] = m->regions[0];
		strcpy(m->regions[1].name, "ram-high");
		m->regions[1].id   = 1;
		m->regions[1].gpa  = (uint64_t)1 << 32;
		m->regions[1].size = ram_bytes - LOW_RAM;
	}
	m->ndevices   = NDEVICES;
	memcpy(m->devices, devices, sizeof(devices));
	m->nhosts   = 2;
	m->hosts[0] = (struct machine_host){ .name = "console", .cls = HOST_SERIAL,
					     .path = "stdio" };
	m->hosts[1] = (struct machine_host){ .name = "rng", .cls = HOST_RNG };
}

static void sample_cpu(struct x86_cpu_state *c, unsigned n)
{
	uint64_t *r = &c->regs.rax;

	for (unsigned i = 0; i < 16; i++)
		r[i] = UINT64_C(0x1000000000000000) * (n + 1) + i;
	c->regs.rip    = n ? 0xffffffff81a1b2c4 : 0x00007f8d4c2a14;
	c->regs.rflags = 0x246;
	for (unsigned i = 0; i < X86_SEGS; i++) {
		c->sregs.seg_limit[i]    = i < X86_TR ? UINT32_MAX : 0x206f;
		c->sregs.seg_selector[i] = i == X86_CS ? (n ? 0x10 : 0x33)
					 : i == X86_SS ? (n ? 0x18 : 0x2b)
					 : i == X86_TR ? 0x40 : 0;
		c->sregs.seg_attr[i]     = i == X86_CS ? (n ? 0xa09b : 0xa0fb)
					 : i == X86_SS ? (n ? 0xc093 : 0xc0f3)
					 : i == X86_TR ? 0x8b : 0x1c000;
	}
	c->sregs.gdt_base  = 0xfffffe0000001000;
	c->sregs.idt_base  = 0xfffffe0000000000;
	c->sregs.gdt_limit = 0x7f;
	c->sregs.idt_limit = 0xfff;
	c->sregs.cr0       = 0x80050033;
	c->sregs.cr2       = 0x7f8d4c3000;
	c->sregs.cr3       = 0x1234000 + n;
	c->sregs.cr4       = 0x6b0;
	c->sregs.efer      = 0xd01;
	c->sregs.apic_base = 0xfee00800 | (n ? 0 : 0x100);
	c->xsave           = (struct x86_xsave_state){ .xcr0 = 7, .area_len = 4096,
						       .area = { 0x7f, 0x03 } };
	c->xsave.area[512] = 7;
	c->msrs.count      = NMSRS;
	memcpy(c->msrs.index, msrs, sizeof(msrs));
	for (uint32_t i = 0; i < NMSRS; i++)
		c->msrs.value[i] = i == 6 ? 0xffffffff81c00040 : 1000000 * (i + 1u) + n;
	c->lapic.regs[0x23]  = (uint8_t)n;
	c->lapic.regs[0xf0]  = 0xff;
	c->lapic.regs[0xf1]  = 0x01;
	c->lapic.regs[0x320] = 0xec;
	c->lapic.regs[0x322] = 0x04;
	c->events            = (struct x86_events_state){ .mp_state = n ? 3 : 0, .flags = 0xd };
	c->debugregs         = (struct x86_debugregs_state){ .dr6 = 0xffff0ff0, .dr7 = 0x400 };
}

static void sample_state(struct sample *s)
{
	s->clock = (struct clock_state){ .guest_ns = 5000000000, .realtime_ns = NS_2026,
					 .boot_realtime_ns = NS_2026 - 5000000000 };
	for (unsigned i = 0; i < SAMPLE_HARTS; i++)
		sample_cpu(&s->x86_cpus[i], i);
	for (unsigned i = 0; i < 2; i++)
		s->x86_vm.pic[i] = (struct x86_pic_state){ .imr = 0xff,
							   .irq_base = (uint8_t)(0x30 + 8 * i),
							   .elcr_mask = i ? 0xde : 0xf8 };
	s->x86_vm.ioapic = (struct x86_ioapic_state){ .base = 0xfec00000, .ioregsel = 0x10 };
	for (unsigned i = 0; i < X86_IOAPIC_PINS; i++)
		s->x86_vm.ioapic.redirect[i] = i == 4 ? 0x0100000000000034 : 0x10000;
	s->x86_vm.pit   = (struct x86_pit_state){ .count = { 0x10000, 0x10000, 0x4a9 },
						  .rw_mode = { 3, 3, 3 }, .mode = { 0, 0xff, 0 },
						  .gate = { 1, 1, 1 },
						  .count_load_ns = { 0, 4900000000, 4000000000 } };
	s->x86_vm.clock = (struct x86_kvmclock_state){ .clock_ns = 4987654321 };
	s->uart         = (struct uart_state){ .ier = 5, .fcr = 1, .lcr = 3, .mcr = 0xb,
					       .msr = 0xb0, .dll = 1, .rx = "ls", .rx_len = 2 };
	s->cmos         = (struct mc146818_state){ .seen_ns = NS_2026, .index = 0xd, .reg_a = 0x26,
						   .reg_b = 2 };
	s->keyboard     = (struct i8042_state){ .mode = 0x70 };
	s->genid        = (struct vmgenid_state){ .guid = { 1, 2, 3 } };
	s->virtio[0].core      = (struct virtio_state){ .device_features = VIRTIO_F_VERSION_1,
							.driver_features = VIRTIO_F_VERSION_1,
							.status = 0xf };
	s->virtio[0].queues[0] = (struct virtqueue_state){ .size = 8, .ready = true,
							   .desc = 0x400000, .avail = 0x401000,
							   .used = 0x402000,
							   .last_avail = 7, .used_idx = 7 };
	s->rng                 = (struct virtio_rng_state){ .bytes_served = 64 };
}

struct sample *sample_make_x86(uint64_t ram_bytes)
{
	struct sample *s = calloc(1, sizeof(*s));

	if (!s) {
		perror("sample");
		exit(1);
	}
	sample_machine(&s->m, ram_bytes);
	sample_state(s);
	s->sections = (struct machine_sections){ .vm_sections = sample_vm_sections,
		.cpu_sections = sample_cpu_sections,
		.device_sections = sample_device_sections, .arg = s };
	return s;
}
