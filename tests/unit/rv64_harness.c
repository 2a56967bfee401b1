/* SPDX-License-Identifier: MIT */
#include "tests/unit/rv64_harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the board that is not there: vm.board points at the rig ---- */

static struct rig *rig_of(struct board *b) { return (struct rig *)(void *)b; }

bool board_mmio_read(struct board *b, uint64_t gpa, unsigned size, uint64_t *value)
{
	(void)b, (void)size;
	if (gpa < RIG_MMIO || gpa >= RIG_MMIO + GUEST_PAGE)
		return false;
	*value = gpa - RIG_MMIO;
	return true;
}

bool board_mmio_write(struct board *b, uint64_t gpa, unsigned size, uint64_t value)
{
	if (gpa < RIG_MMIO || gpa >= RIG_MMIO + GUEST_PAGE)
		return false;
	rig_of(b)->mmio_at    = gpa - RIG_MMIO;
	rig_of(b)->mmio_value = value;
	rig_of(b)->mmio_size  = size;
	while (rig_of(b)->mmio_stuck)
		usleep(1000);
	return true;
}

void board_console_write(struct board *b, const uint8_t *data, size_t len)
{
	(void)b;
	printf("# guest: %.*s\n", (int)len, (const char *)data);
}

size_t board_console_read(struct board *b, uint8_t *data, size_t len)
{
	(void)b;
	if (len)
		data[0] = 'x';
	return len ? 1 : 0;
}

void vm_event(struct vm *vm, enum vm_event e)
{
	atomic_fetch_or(&((struct rig *)(void *)vm)->events, 1u << e);
}

void rig_open(struct rig *g, uint64_t gpa, uint64_t size, uint32_t ncpus)
{
	struct fail why;
	char        text[400];

	memset(g, 0, sizeof(*g));
	g->vm.board           = (struct board *)(void *)g;
	g->vm.cfg.type        = MACHINE_RISCV64_1;
	g->vm.cfg.ncpus       = ncpus;
	g->vm.cfg.timebase_hz = 10000000;
	g->vm.cfg.nregions    = 1;
	g->vm.cfg.regions[0]  = (struct machine_region){
		.name = "ram", .gpa = gpa, .size = size, .page_size = GUEST_PAGE,
	};
	if (memory_open(&g->vm.memory, &g->vm.cfg, &why)) {
		printf("Bail out! %s\n", fail_text(&why, text, sizeof(text)));
		exit(1);
	}
	clock_open(&g->vm.clock);
	clock_start(&g->vm.clock);
}

void rig_close(struct rig *g)
{
	memory_close(&g->vm.memory);
}

void *rig_host(struct rig *g, uint64_t gpa)
{
	struct region *r = memory_region(&g->vm.memory, gpa, 1);

	return r ? r->host + (gpa - r->cfg.gpa) : NULL;
}

void rig_code(struct rig *g, uint64_t gpa, const uint32_t *words, size_t count)
{
	guest_copy_in(&g->vm.memory, gpa, words, count * 4);
}

void rig_put(struct rig *g, uint64_t gpa, uint64_t value)
{
	guest_copy_in(&g->vm.memory, gpa, &value, 8);
}

uint64_t rig_get(struct rig *g, uint64_t gpa)
{
	/* harts may be writing it */
	return __atomic_load_n((uint64_t *)rig_host(g, gpa), __ATOMIC_SEQ_CST);
}

void bare_open(struct rig *g)
{
	struct soft *m = calloc(1, sizeof(*m));
	struct hart *h = calloc(1, sizeof(*h));
	struct fail  why;

	if (!m || !h)
		abort();
	m->a.vm     = h->vm = &g->vm;
	m->nharts   = 1;
	m->harts[0] = h;
	m->timebase = 10000000;
	m->tick_div = 100;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->acks, NULL);
	pthread_cond_init(&m->timer_wake, NULL);
	pthread_cond_init(&h->wake, NULL);
	h->soft = m;
	if (rv64_code_open(h, &why))
		abort();
	g->soft = m;
	g->h    = h;
}

void bare_close(struct rig *g)
{
	rv64_code_close(g->h);
	free(g->h);
	free(g->soft);
}

void bare_start(struct rig *g, uint64_t pc)
{
	g->h->s.ssip = false;
	rv64_reset(g->h, true, pc, 0);
	rv64_tlb_flush(g->h);
}

void bare_run(struct rig *g)
{
	struct hart *h = g->h;

	h->s.wfi = false;
	h->stuck = false;
	memcpy(h->x, h->s.x, sizeof(h->s.x));
	h->x[RV64_SINK] = 0;
	rv64_tlb_mode(h);
	atomic_store(&h->limit, 0);
	rv64_run(h);
	memcpy(h->s.x, h->x, sizeof(h->s.x));
}
