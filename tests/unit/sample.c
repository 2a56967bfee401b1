/* SPDX-License-Identifier: MIT */
#include "tests/unit/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_2026 UINT64_C(1795219200000000000)      /* 2026-11-21 */

static const struct {
	const char *type, *host;
	uint64_t    gpa, size;
	uint32_t    irq, slot;
	unsigned    queues;
} sample_devices[] = {
	{ .type = "sifive-plic",    .gpa = 0x0c000000, .size = 0x4000000, .slot = SLOT_NONE },
	{ .type = "ns16550a",       .gpa = 0x10000000, .size = 0x100,     .irq = 10,
	  .slot = SLOT_NONE, .host = "console" },
	{ .type = "goldfish-rtc",   .gpa = 0x00101000, .size = 0x1000,    .irq = 11,
	  .slot = SLOT_NONE },
	{ .type = "virtio-blk",     .gpa = 0x10001000, .size = 0x1000,    .irq = 1,  .slot = 0,
	  .host = "root", .queues = 1 },
	{ .type = "virtio-console", .gpa = 0x10002000, .size = 0x1000,    .irq = 2,  .slot = 1,
	  .host = "console", .queues = 2 },
	{ .type = "virtio-rng",     .gpa = 0x10003000, .size = 0x1000,    .irq = 3,  .slot = 2,
	  .host = "rng", .queues = 1 },
};
#define NDEVICES ((uint32_t)(sizeof(sample_devices) / sizeof(sample_devices[0])))

static size_t sample_vm_sections(void *arg, struct state_section *out, size_t max)
{
	struct sample *s = arg;

	(void)max;
	out[0] = (struct state_section){ .node = "clock", .table = &clock_state_table,
					 .s = &s->clock };
	return 1;
}

static size_t sample_cpu_sections(void *arg, uint32_t cpu, struct state_section *out, size_t max)
{
	struct sample *s = arg;

	(void)max;
	out[0] = (struct state_section){ .node = "hart", .table = &hart_state_table,
					 .s = &s->harts[cpu] };
	return 1;
}

static size_t sample_virtio_sections(struct sample_virtio *v, unsigned queues,
				     struct state_section *out)
{
	size_t n = 0;

	out[n++] = (struct state_section){ .node = "virtio", .table = &virtio_state_table,
					   .s = &v->core };
	for (unsigned i = 0; i < queues; i++, n++) {
		out[n] = (struct state_section){ .table = &virtqueue_state_table,
						 .s = &v->queues[i] };
		snprintf(out[n].node, sizeof(out[n].node), "virtqueue@%x", i);
	}
	out[n++] = (struct state_section){ .node = "virtio-mmio", .table = &virtio_mmio_state_table,
					   .s = &v->mmio };
	return n;
}

static size_t sample_device_sections(void *arg, uint32_t device, struct state_section *out,
				     size_t max)
{
	struct sample *s = arg;
	size_t         n = 0;

	(void)max;
	switch (device) {
	case 0:
		out[n++] = (struct state_section){ .node = "plic", .table = &plic_state_table,
						   .s = &s->plic };
		for (unsigned i = 0; i < SAMPLE_HARTS; i++, n++) {
			out[n] = (struct state_section){ .table = &plic_context_state_table,
							 .s = &s->contexts[i] };
			snprintf(out[n].node, sizeof(out[n].node), "plic-context@%x", i);
		}
		return n;
	case 1:
		out[n++] = (struct state_section){ .node = "uart", .table = &uart_state_table,
						   .s = &s->uart };
		return n;
	case 2:
		out[n++] = (struct state_section){ .node = "goldfish-rtc",
						   .table = &rtc_state_table, .s = &s->rtc };
		return n;
	case 3:
		n = sample_virtio_sections(&s->virtio[0], 1, out);
		out[n++] = (struct state_section){ .node = "virtio-blk",
						   .table = &virtio_blk_state_table, .s = &s->blk };
		return n;
	case 4:
		n = sample_virtio_sections(&s->virtio[1], 2, out);
		out[n++] = (struct state_section){ .node = "virtio-console",
						   .table = &virtio_console_state_table,
						   .s = &s->console };
		return n;
	default:
		n = sample_virtio_sections(&s->virtio[2], 1, out);
		out[n++] = (struct state_section){ .node = "virtio-rng",
						   .table = &virtio_rng_state_table, .s = &s->rng };
		return n;
	}
}

static void sample_machine(struct machine *m, uint64_t ram_bytes)
{
	m->type = MACHINE_RISCV64_1;
	strcpy(m->name, "sample");
	for (int i = 0; i < 16; i++)
		m->uuid.b[i] = (uint8_t)(0x11 * (i + 1));
	m->ncpus = SAMPLE_HARTS;
	strcpy(m->cpu_model, "rv64imafdc_zicntr_zicsr_zifencei_sstc");
	m->timebase_hz = 10000000;
	m->on_reboot   = REBOOT_RESET;
	strcpy(m->append, "console=ttyS0 root=/dev/vda ro");
	m->nregions   = 1;
	m->regions[0] = (struct machine_region){ .id = 0, .kind = REGION_RAM, .name = "ram",
						 .gpa = 0x80000000, .size = ram_bytes,
						 .page_size = 4096 };
	for (m->ndevices = 0; m->ndevices < NDEVICES; m->ndevices++) {
		struct machine_device *d = &m->devices[m->ndevices];

		strcpy(d->type, sample_devices[m->ndevices].type);
		if (sample_devices[m->ndevices].host)
			strcpy(d->host, sample_devices[m->ndevices].host);
		d->gpa  = sample_devices[m->ndevices].gpa;
		d->size = sample_devices[m->ndevices].size;
		d->irq  = sample_devices[m->ndevices].irq;
		d->slot = sample_devices[m->ndevices].slot;
	}
	m->nhosts   = 3;
	m->hosts[0] = (struct machine_host){ .name = "console", .cls = HOST_SERIAL,
					     .path = "stdio" };
	m->hosts[1] = (struct machine_host){ .name = "root", .cls = HOST_DISK,
					     .path = "/srv/vm/root.img", .readonly = true,
					     .size = 16 << 20, .mtime_ns = NS_2026 - 1000000000,
					     .digest = { 0xde, 0xad, 0xbe, 0xef },
					     .instance = { 0xca, 0xfe }, .written = 1234567 };
	m->hosts[2] = (struct machine_host){ .name = "rng", .cls = HOST_RNG };
}

/* Hart 0 runs in user space; hart 1 sits in the kernel's idle loop. */
static void sample_harts(struct sample *s)
{
	for (unsigned h = 0; h < SAMPLE_HARTS; h++) {
		struct hart_state *r = &s->harts[h];

		for (unsigned i = 1; i < 32; i++) {
			r->x[i] = UINT64_C(0x1000000000000000) * (h + 1) + i;
			r->f[i] = 0xffffffff00000000 | i;
		}
		r->sstatus  = SSTATUS_SPIE | SSTATUS_FS | (h ? SSTATUS_SPP | SSTATUS_SIE : 0);
		r->sie      = HART_IRQS;
		r->stvec    = 0xffffffff80002f14;
		r->sscratch = 0xffffffff80e00000 + h;
		r->sepc     = 0x3f8d4c2a10;
		r->scause   = h ? UINT64_C(0x8000000000000005) : 8;
		r->satp     = UINT64_C(8) << 60 | 0x81234;
		r->stimecmp = h ? UINT64_MAX : 123456789;
		r->instret  = 1000000 * (h + 1);
		r->pc       = h ? 0xffffffff80a1b2c4 : 0x3f8d4c2a14;
		r->priv     = h ? HART_S : HART_U;
		r->wfi      = h != 0;
		r->scounteren = 7;
	}
	s->harts[0].res_valid = true;
	s->harts[0].res_size  = 8;
	s->harts[0].res_gpa   = 0x80123458;
	s->harts[0].res_value = 42;
}

static void sample_state(struct sample *s)
{
	s->clock = (struct clock_state){ .guest_ns = 5000000000, .realtime_ns = NS_2026,
					 .boot_realtime_ns = NS_2026 - 5000000000 };
	sample_harts(s);
	s->plic.priority[1] = s->plic.priority[10] = 1;
	s->plic.pending[0]  = 1u << 10;
	s->plic.level[0]    = 1u << 10 | 1u << 1;
	s->plic.claimed[0]  = 1u << 1;
	for (unsigned h = 0; h < SAMPLE_HARTS; h++)
		s->contexts[h] = (struct plic_context_state){ .enable = { 1u << 10 | 1u << 1 },
							      .threshold = h };
	s->uart = (struct uart_state){ .ier = 5, .fcr = 1, .lcr = 3, .mcr = 0xb, .msr = 0xb0,
				       .dll = 1, .rx = "ls", .rx_len = 2 };
	s->rtc  = (struct rtc_state){ .offset_ns = 7, .time_high = 0x18e9a3f5 };
	for (unsigned i = 0; i < 3; i++) {
		struct sample_virtio *v = &s->virtio[i];

		v->core = (struct virtio_state){
			.device_features = VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX,
			.driver_features = VIRTIO_F_VERSION_1,
			.status = 0xf, .isr = i == 0,
		};
		for (unsigned q = 0; q < SAMPLE_QUEUES; q++)
			v->queues[q] = (struct virtqueue_state){
				.size = 128, .ready = true,
				.desc = 0x80400000 + 0x4000 * q,
				.avail = 0x80401000 + 0x4000 * q,
				.used = 0x80402000 + 0x4000 * q,
				.last_avail = (uint16_t)(65530 + q + i),
				.used_idx = (uint16_t)(65530 + q + i),
			};
	}
	s->blk     = (struct virtio_blk_state){ .capacity = 32768, .readonly = true };
	s->console = (struct virtio_console_state){ .bytes_in = 12, .bytes_out = 3456 };
	s->rng     = (struct virtio_rng_state){ .bytes_served = 64 };
}

struct sample *sample_make(uint64_t ram_bytes)
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
