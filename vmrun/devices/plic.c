/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/plic.h"

#include "format/state/state_plic.h"
#include "vmrun/accel/accel.h"
#include "vmrun/devices/device_list.h"

#include <jansson.h>
#include <stdio.h>

/* The register map. */
#define PLIC_PENDING  0x1000u
#define PLIC_ENABLE   0x2000u        /* 0x80 a context */
#define PLIC_CONTEXT  0x200000u      /* 0x1000 a context: threshold, claim/complete */

struct plic {
	struct device             d;
	struct plic_state         s;
	struct plic_context_state context[PLIC_HARTS_MAX];
	/* What each hart's line was last set to. */
	bool                      out[PLIC_HARTS_MAX];
	uint32_t                  harts;
	uint64_t                  claims;
};

static bool plic_bit(const uint32_t *words, uint32_t irq)
{
	return words[irq / 32] >> (irq % 32) & 1;
}

static void plic_bit_set(uint32_t *words, uint32_t irq, bool on)
{
	uint32_t bit = (uint32_t)1 << (irq % 32);

	words[irq / 32] = on ? words[irq / 32] | bit : words[irq / 32] & ~bit;
}

/* The source a hart would claim: highest priority above floor, lowest number among equals; 0 for
 * none. */
static uint32_t plic_best(const struct plic *p, uint32_t hart, uint32_t floor)
{
	uint32_t best = 0;

	for (uint32_t w = 0; w < PLIC_WORDS; w++) {
		uint32_t ready = p->s.pending[w] & p->context[hart].enable[w];

		for (; ready; ready &= ready - 1) {
			uint32_t irq = w * 32 + (uint32_t)__builtin_ctz(ready);

			if (p->s.priority[irq] > floor) {
				best  = irq;
				floor = p->s.priority[irq];
			}
		}
	}
	return best;
}

static void plic_output(struct plic *p, bool force)
{
	struct accel *a = p->d.host->accel;

	for (uint32_t h = 0; h < p->harts; h++) {
		bool on = plic_best(p, h, p->context[h].threshold) != 0;

		if (on == p->out[h] && !force)
			continue;
		p->out[h] = on;
		a->ops->irq(a, h, IRQ_S_EXT, on);
	}
}

/* The gateway: a high line becomes a request unless one is being served. A request stays when the
 * line falls. */
static void plic_gate(struct plic *p, uint32_t irq)
{
	if (plic_bit(p->s.level, irq) && !plic_bit(p->s.claimed, irq))
		plic_bit_set(p->s.pending, irq, true);
}

void plic_line(struct device *d, uint32_t irq, bool level)
{
	struct plic *p = (struct plic *)d;

	if (irq == 0 || irq >= PLIC_SOURCES || plic_bit(p->s.level, irq) == level)
		return;
	plic_bit_set(p->s.level, irq, level);
	plic_gate(p, irq);
	plic_output(p, false);
}

static uint32_t plic_claim(struct plic *p, uint32_t hart)
{
	/* The threshold holds back notifications, not claims. */
	uint32_t irq = plic_best(p, hart, 0);

	if (irq) {
		plic_bit_set(p->s.pending, irq, false);
		plic_bit_set(p->s.claimed, irq, true);
		p->claims++;
		plic_output(p, false);
	}
	return irq;
}

static void plic_complete(struct plic *p, uint32_t hart, uint32_t irq)
{
	if (irq == 0 || irq >= PLIC_SOURCES || !plic_bit(p->context[hart].enable, irq))
		return;
	plic_bit_set(p->s.claimed, irq, false);
	plic_gate(p, irq);
	plic_output(p, false);
}

/* The hart of a supervisor context; false for machine contexts and harts that do not exist. */
static bool plic_hart(const struct plic *p, uint64_t context, uint32_t *hart)
{
	*hart = (uint32_t)(context / 2);
	return context % 2 == 1 && context / 2 < p->harts;
}

static uint64_t plic_read(struct device *d, uint64_t at, unsigned size)
{
	struct plic *p = (struct plic *)d;
	uint32_t     hart;

	if (size != 4 || at % 4)
		return 0;
	if (at < PLIC_SOURCES * 4)
		return p->s.priority[at / 4];
	if (at >= PLIC_PENDING && at < PLIC_PENDING + PLIC_WORDS * 4)
		return p->s.pending[(at - PLIC_PENDING) / 4];
	if (at >= PLIC_ENABLE && at < PLIC_CONTEXT) {
		uint64_t word = at % 0x80 / 4;

		return plic_hart(p, (at - PLIC_ENABLE) / 0x80, &hart) &&
		       word < PLIC_WORDS ? p->context[hart].enable[word] : 0;
	}
	if (at < PLIC_CONTEXT || !plic_hart(p, (at - PLIC_CONTEXT) / 0x1000, &hart))
		return 0;
	if (at % 0x1000 == 0)
		return p->context[hart].threshold;
	return at % 0x1000 == 4 ? plic_claim(p, hart) : 0;
}

static void plic_write(struct device *d, uint64_t at, unsigned size, uint64_t value)
{
	struct plic *p = (struct plic *)d;
	uint32_t     v = (uint32_t)value, hart;

	if (size != 4 || at % 4)
		return;
	if (at < PLIC_SOURCES * 4) {
		if (at)
			p->s.priority[at / 4] = v & PLIC_PRIO;
	} else if (at >= PLIC_ENABLE && at < PLIC_CONTEXT) {
		uint64_t word = at % 0x80 / 4;

		if (!plic_hart(p, (at - PLIC_ENABLE) / 0x80, &hart) || word >= PLIC_WORDS)
			return;
		p->context[hart].enable[word] = word ? v : v & ~(uint32_t)1;
	} else if (at >= PLIC_CONTEXT && plic_hart(p, (at - PLIC_CONTEXT) / 0x1000, &hart)) {
		if (at % 0x1000 == 0)
			p->context[hart].threshold = v & PLIC_PRIO;
		else if (at % 0x1000 == 4)
			plic_complete(p, hart, v);
	}
	plic_output(p, false);
}

static int plic_open(struct device *d, struct fail *why)
{
	struct plic *p = (struct plic *)d;

	p->harts = d->host->cfg->ncpus;
	/* A foreign tree may name one for a machine whose accelerator has its own controller. */
	if (!d->host->accel->ops->irq)
		return fail_set(why, FAIL_CORRUPT, "%s: not valid for this machine type", d->node);
	if (p->harts == 0 || p->harts > PLIC_HARTS_MAX)
		return fail_set(why, FAIL_LIMIT,
				"%s: number of harts out of range: %u (valid: 1 to %u)", d->node,
				p->harts, PLIC_HARTS_MAX);
	return 0;
}

static void plic_reset(struct device *d)
{
	struct plic *p = (struct plic *)d;

	p->s = (struct plic_state){ 0 };
	for (uint32_t h = 0; h < PLIC_HARTS_MAX; h++)
		p->context[h] = (struct plic_context_state){ 0 };
	plic_output(p, true);
}

static size_t plic_sections(struct device *d, struct state_section *out, size_t max)
{
	struct plic *p = (struct plic *)d;
	size_t       n = 0;

	if (n < max)
		out[n++] = (struct state_section){ .node = "plic", .table = &plic_state_table,
						   .s = &p->s };
	for (uint32_t h = 0; h < p->harts && n < max; h++) {
		out[n] = (struct state_section){ .table = &plic_context_state_table,
						 .s = &p->context[h] };
		snprintf(out[n].node, sizeof(out[n].node), "plic-context@%x", h);
		n++;
	}
	return n;
}

static int plic_post_load(struct device *d, struct fail *why)
{
	(void)why;
	plic_output((struct plic *)d, true);
	return 0;
}

static void plic_counters(struct device *d, struct json_t *into)
{
	const struct plic *p = (const struct plic *)d;

	json_object_set_new(into, "claims", json_integer((json_int_t)p->claims));
}

const struct device_ops plic_ops = {
	.type       = "sifive-plic",
	.compatible = "sifive,plic-1.0.0",
	.size       = sizeof(struct plic),
	.open       = plic_open,
	.reset      = plic_reset,
	.read       = plic_read,
	.write      = plic_write,
	.sections   = plic_sections,
	.post_load  = plic_post_load,
	.counters   = plic_counters,
};
