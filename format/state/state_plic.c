/* SPDX-License-Identifier: MIT */
#include "format/state/state_plic.h"

static const struct field plic_fields[] = {
	F_U32_ARRAY(struct plic_state, priority, 1, PLIC_PRIO),
	F_X32_ARRAY(struct plic_state, pending, 1, UINT32_MAX),
	F_X32_ARRAY(struct plic_state, claimed, 1, UINT32_MAX),
	F_X32_ARRAY(struct plic_state, level, 1, UINT32_MAX),
	F_END
};

static int plic_check(const void *state, struct fail *why)
{
	const struct plic_state *s = state;

	if (s->priority[0] || (s->pending[0] | s->claimed[0] | s->level[0]) & 1)
		return fail_set(why, FAIL_CORRUPT, "interrupt source 0 in use");
	for (unsigned w = 0; w < PLIC_WORDS; w++) {
		if (s->pending[w] & s->claimed[w])
			return fail_set(why, FAIL_CORRUPT,
					"word %u: sources both pending and claimed", w);
		if (s->level[w] & ~s->claimed[w] & ~s->pending[w])
			return fail_set(why, FAIL_CORRUPT,
					"word %u: lines high, but neither pending nor claimed", w);
	}
	return 0;
}

const struct state_table plic_state_table = {
	.name = "plic", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct plic_state), .fields = plic_fields, .check = plic_check,
};

static const struct field context_fields[] = {
	F_X32_ARRAY(struct plic_context_state, enable, 1, UINT32_MAX),
	F_U32(struct plic_context_state, threshold, 1, PLIC_PRIO),
	F_END
};

static int context_check(const void *state, struct fail *why)
{
	const struct plic_context_state *s = state;

	return s->enable[0] & 1 ? fail_set(why, FAIL_CORRUPT, "interrupt source 0 enabled") : 0;
}

const struct state_table plic_context_state_table = {
	.name = "plic-context", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct plic_context_state), .fields = context_fields, .check = context_check,
};
