/* SPDX-License-Identifier: MIT */
#include "vminspect/regs.h"

#include "format/tree/tree.h"
#include "vminspect/options.h"
#include "vminspect/show.h"

#include <inttypes.h>
#include <stdio.h>

/* A kind of CPU: what its list is called in JSON, and who knows its registers. */
static const struct regs_kind {
	const char *list;
	int (*run)(const struct regs_cpu *cpu, struct fail *why);
} regs_kinds[MACHINE_CPUS] = {
	[MACHINE_CPU_RISCV64] = { .list = "harts", .run = regs_riscv },
	[MACHINE_CPU_X86_64]  = { .list = "cpus",  .run = regs_x86 },
};

static const struct regs_kind *regs_kind_of(const struct machine *m)
{
	return &regs_kinds[machine_types[m->type].cpu];
}

int regs_load(const struct regs_cpu *cpu, const struct state_table *const *tables,
	      void *const *into, size_t ntables, struct fail *why)
{
	const void *tree  = cpu->view->trees[1];
	int         state = tree_child(tree, cpu->node, "state"), node;
	char        where[16];

	snprintf(where, sizeof(where), "cpu@%" PRIx32, cpu->n);
	for (size_t i = 0; i < ntables; i++) {
		node = state < 0 ? state : tree_child(tree, state, tables[i]->name);
		if (node < 0)
			return fail_set(why, FAIL_CORRUPT, "%s: %s: missing registers (%s)",
					cpu->view->in.what, where, tables[i]->name);
		if (state_load(tables[i], into[i], tree, node, where, NULL, why))
			return fail_prefix(why, "%s: ", cpu->view->in.what);
	}
	return 0;
}

int regs_set(json_t *o, const char *key, json_t *v, struct fail *why)
{
	return json_object_set_new(o, key, v) ? fail_set(why, FAIL_SYSTEM, "out of memory") : 0;
}

static int regs_owner(void *arg, enum machine_owner kind, uint32_t n, int node, const char *where,
		      struct fail *why)
{
	struct regs_cpu *cpu = arg;

	(void)where;
	if (kind != OWNER_CPU)
		return 0;
	cpu->n    = n;
	cpu->node = node;
	return regs_kind_of(&cpu->view->state)->run(cpu, why);
}

int regs_run(const struct args *a, struct fail *why)
{
	const struct view_want want = { .verify = false };
	struct snapshot_view  *v    = NULL;
	json_t                *list = json_array();
	int                    rc   = -1;

	if (!list) {
		fail_set(why, FAIL_SYSTEM, "out of memory");
		goto out;
	}
	if (view_open(&v, a->file, &want, why))
		goto out;

	struct regs_cpu cpu = { .view = v, .list = a->json ? list : NULL };

	if (machine_owners(&v->state, v->trees[1], regs_owner, &cpu, why))
		goto out;
	rc = 0;
	if (a->json) {
		json_t *top = json_pack("{s:O}", regs_kind_of(&v->state)->list, list);

		if (show_json(top))
			rc = fail_sys(why, "standard output");
	}
out:
	json_decref(list);
	view_close(v);
	return rc;
}
