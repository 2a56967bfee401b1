/* SPDX-License-Identifier: MIT */
#include "tests/unit/board_fake.h"

#include "libcommon/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fake_event(void *arg, enum vm_event e)
{
	struct fake *f = arg;

	if (e == VM_EVENT_QUIT)
		f->quits++;
	f->asked |= 1u << e;
}

static void fake_panic(void *arg, const char *text)
{
	struct fake *f = arg;

	if (!f->vm.panic_text[0])
		snprintf(f->vm.panic_text, sizeof(f->vm.panic_text), "%s", text);
	fake_event(f, VM_EVENT_PANIC);
}

static void fake_irq(struct accel *a, uint32_t cpu, enum accel_irq line, bool level)
{
	struct fake *f = (struct fake *)a->vm;

	(void)line;
	f->line[cpu] = level;
	f->changes++;
	if (f->stop_on_irq)
		loop_stop(f->vm.loop);
}

static void fake_gsi(struct accel *a, uint32_t gsi, bool level)
{
	fake_irq(a, gsi % 32, IRQ_S_EXT, level);
}

struct fake_notify fake_notify;
bool               fake_own_irqchip;

static int fake_notify_set(struct accel *a, uint64_t gpa, uint32_t value, int fd, bool on,
			   struct fail *why)
{
	(void)a;
	if (on && fake_notify.fail_at && fake_notify.set + 1 == fake_notify.fail_at)
		return fail_set(why, FAIL_SYSTEM, "no more eventfds");
	if (on && fake_notify.set < 8) {
		fake_notify.gpa[fake_notify.set]   = gpa;
		fake_notify.value[fake_notify.set] = value;
		fake_notify.fd[fake_notify.set]    = fd;
	}
	fake_notify.set += on ? 1 : -1u;
	return 0;
}

static const struct accel_ops fake_ops = { .name = "fake", .irq = fake_irq, .gsi = fake_gsi };
static const struct accel_ops fake_own_irqchip_ops = { .name = "fake", .gsi = fake_gsi };
static const struct accel_ops fake_notify_ops = { .name = "fake", .irq = fake_irq, .gsi = fake_gsi,
						  .notify = fake_notify_set };

void fake_machine(struct machine *cfg)
{
	*cfg = (struct machine){ .type = MACHINE_RISCV64_1, .name = "fake", .ncpus = 1,
				 .nregions = 1 };
	cfg->regions[0] = (struct machine_region){ .kind = REGION_RAM, .name = "ram",
						   .size = 4u << 20, .page_size = 4096 };
}

static void fake_host(struct machine *cfg, enum host_class cls, const char *name, const char *path,
		      bool readonly)
{
	struct machine_host *h = &cfg->hosts[cfg->nhosts++];

	h->cls      = cls;
	h->readonly = readonly;
	snprintf(h->name, sizeof(h->name), "%s", name);
	snprintf(h->path, sizeof(h->path), "%s", path);
}

void fake_device(struct machine *cfg, const char *type, const char *host)
{
	struct machine_device *d = &cfg->devices[cfg->ndevices++];

	d->slot = SLOT_NONE;
	snprintf(d->type, sizeof(d->type), "%s", type);
	snprintf(d->host, sizeof(d->host), "%s", host);
}

void fake_disk(struct machine *cfg, const char *name, const char *path, bool readonly)
{
	fake_host(cfg, HOST_DISK, name, path, readonly);
	fake_device(cfg, "virtio-blk", name);
}

void fake_serial(struct machine *cfg, const char *name, const char *spec)
{
	fake_host(cfg, HOST_SERIAL, name, spec, false);
}

int fake_try_planned(struct fake *f, const struct machine *cfg, struct fail *why)
{
	memset(f, 0, sizeof(*f));
	f->vm.cfg    = *cfg;
	f->accel.ops = fake_notify.wanted ? &fake_notify_ops
		       : fake_own_irqchip ? &fake_own_irqchip_ops : &fake_ops;
	f->accel.vm  = &f->vm;
	f->vm.accel  = &f->accel;
	pthread_mutex_init(&f->vm.control_lock, NULL);
	pthread_mutex_init(&f->vm.machine_lock, NULL);
	clock_open(&f->vm.clock);
	if (board_check(&f->vm.cfg, why) || loop_open(&f->vm.loop, why) ||
	    memory_open(&f->vm.memory, &f->vm.cfg, why)) {
		fake_close(f);
		return -1;
	}
	f->vm.device_host = (struct device_host){
		.cfg    = &f->vm.cfg,
		.memory = &f->vm.memory,
		.clock  = &f->vm.clock,
		.loop   = f->vm.loop,
		.accel  = &f->accel,
		.lock   = &f->vm.machine_lock,
		.event  = fake_event,
		.panic  = fake_panic,
		.arg    = f,
	};
	if (board_open(&f->vm.board, &f->vm.device_host, why)) {
		fake_close(f);
		return -1;
	}
	return 0;
}

int fake_try(struct fake *f, const struct machine *cfg, struct fail *why)
{
	struct machine *m = malloc(sizeof(*m));
	int             rc;

	if (!m)
		abort();
	*m = *cfg;
	memset(f, 0, sizeof(*f));
	rc = board_plan(m, why) || fake_try_planned(f, m, why) ? -1 : 0;
	free(m);
	return rc;
}

void fake_open(struct fake *f, const struct machine *cfg)
{
	struct fail why;
	char        text[512];

	if (fake_try(f, cfg, &why) == 0)
		return;
	printf("Bail out! %s\n", fail_text(&why, text, sizeof(text)));
	exit(1);
}

void fake_close(struct fake *f)
{
	board_close(f->vm.board);
	memory_close(&f->vm.memory);
	loop_close(f->vm.loop);
	f->vm.board = NULL;
	f->vm.loop  = NULL;
}

void fake_start(struct fake *f)
{
	struct fail why;

	board_reset(f->vm.board);
	clock_start(&f->vm.clock);
	board_resume(f->vm.board, &why);
}

struct device *fake_find(struct fake *f, const char *type)
{
	for (unsigned i = 0; i < f->vm.board->ndevices; i++)
		if (!strcmp(f->vm.board->devices[i]->ops->type, type))
			return f->vm.board->devices[i];
	return NULL;
}

static void fake_timeout(void *arg, uint32_t events)
{
	(void)events;
	loop_stop(((struct fake *)arg)->vm.loop);
}

void fake_run(struct fake *f, unsigned ms)
{
	struct fail        why;
	struct loop_timer *t = loop_timer_add(f->vm.loop, fake_timeout, f, &why);

	loop_timer_set(t, io_now_ns() + (uint64_t)ms * 1000000);
	loop_run(f->vm.loop, &why);
	loop_timer_remove(f->vm.loop, t);
}

bool fake_wait_irq(struct fake *f, unsigned ms)
{
	unsigned before = f->changes;

	f->stop_on_irq = true;
	fake_run(f, ms);
	f->stop_on_irq = false;
	return f->changes != before;
}

uint64_t rd(struct fake *f, uint64_t gpa, unsigned size)
{
	uint64_t v = UINT64_MAX;

	board_mmio_read(f->vm.board, gpa, size, &v);
	return v;
}

void wr(struct fake *f, uint64_t gpa, unsigned size, uint64_t value)
{
	board_mmio_write(f->vm.board, gpa, size, value);
}

void fake_save(struct fake *f, const char *type, struct fake_sections *p)
{
	struct device    *d = fake_find(f, type);
	struct state_section sections[MACHINE_SECTIONS_MAX];

	p->n = d->ops->sections(d, sections, MACHINE_SECTIONS_MAX);
	for (size_t i = 0; i < p->n; i++)
		memcpy(p->data[i], sections[i].s, sections[i].table->size);
}

int fake_load(struct fake *f, const char *type, const struct fake_sections *p, struct fail *why)
{
	struct device    *d = fake_find(f, type);
	struct state_section sections[MACHINE_SECTIONS_MAX];
	size_t            n = d->ops->sections(d, sections, MACHINE_SECTIONS_MAX);

	for (size_t i = 0; i < n; i++) {
		if (sections[i].table->check && sections[i].table->check(p->data[i], why))
			return -1;
		memcpy(sections[i].s, p->data[i], sections[i].table->size);
	}
	return board_post_load(f->vm.board, why);
}
