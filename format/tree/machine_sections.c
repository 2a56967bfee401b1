/* SPDX-License-Identifier: MIT */
#include "format/tree/machine_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Which state sections an owner must have: docs/format.md, "State nodes". Those of the VM and of
 * its CPUs are in machine_type.c, those of devices in format/state/state_tables.c. A save, a
 * restore and whoever says that a snapshot can be restored go by them. */

/* The owner's rules, SECTION_RULES at most; NULL: a device type that this build does not know. */
static const struct section_rule *section_rules(const struct machine *m, enum machine_owner kind,
						uint32_t i)
{
	switch (kind) {
	case OWNER_VM:
		return machine_types[m->type].vm_sections;
	case OWNER_CPU:
		return machine_types[m->type].cpu_sections;
	case OWNER_DEVICE:
		break;
	}
	for (size_t k = 0; device_sections[k].type; k++)
		if (strcmp(device_sections[k].type, m->devices[i].type) == 0)
			return device_sections[k].sections;
	return NULL;
}

int machine_required_sections(const struct machine *m, enum machine_owner kind, uint32_t i,
			      struct state_section out[MACHINE_SECTIONS_MAX], size_t *n,
			      struct fail *why)
{
	const struct section_rule *rules = section_rules(m, kind, i);
	const char *type = kind == OWNER_DEVICE ? m->devices[i].type : machine_type_name(m->type);

	if (!rules)
		return fail_set(why, FAIL_VERSION, "device type '%s' not supported by this build",
				type);
	*n = 0;
	for (size_t k = 0; k < SECTION_RULES && rules[k].table; k++) {
		const struct state_table *t     = rules[k].table;
		uint32_t                  count = rules[k].count, nodes;

		if (count == SECTION_EACH_CPU)
			count = m->ncpus;
		nodes = count ? count : 1;
		if (nodes > MACHINE_SECTIONS_MAX - *n)
			return fail_set(why, FAIL_LIMIT, "%s: more than %u state nodes", type,
					MACHINE_SECTIONS_MAX);
		for (uint32_t u = 0; u < nodes; u++, (*n)++) {
			out[*n] = (struct state_section){ .table = t };
			if (count)
				snprintf(out[*n].node, sizeof(out[*n].node), "%s@%" PRIx32, t->name,
					 u);
			else
				snprintf(out[*n].node, sizeof(out[*n].node), "%s", t->name);
		}
	}
	return 0;
}

/* Both lists are short; their order is the owner's business. */
static int sections_agree(const struct state_section *want, size_t nwant,
			  const struct state_section *have, size_t nhave, const char *where,
			  struct fail *why)
{
	size_t k;

	for (size_t i = 0; i < nwant; i++) {
		for (k = 0; k < nhave &&
			    (strcmp(want[i].node, have[k].node) || want[i].table != have[k].table);)
			k++;
		if (k == nhave)
			return fail_set(why, FAIL_VERSION,
					"%s: state '%s' not supported by this build", where,
					want[i].node);
	}
	if (nhave != nwant)
		return fail_set(why, FAIL_VERSION, "%s: %zu state nodes, expected %zu", where,
				nhave, nwant);
	return 0;
}

int machine_live_sections(const struct machine *m, const struct machine_sections *p,
			  enum machine_owner kind, uint32_t i, const char *where,
			  struct state_section list[MACHINE_SECTIONS_MAX], size_t *n,
			  struct fail *why)
{
	struct state_section want[MACHINE_SECTIONS_MAX];
	size_t               nwant;

	if (machine_required_sections(m, kind, i, want, &nwant, why))
		return fail_prefix(why, "%s: ", where);
	*n = 0;
	switch (kind) {
	case OWNER_VM:
		*n = p->vm_sections ? p->vm_sections(p->arg, list, MACHINE_SECTIONS_MAX) : 0;
		break;
	case OWNER_CPU:
		*n = p->cpu_sections ? p->cpu_sections(p->arg, i, list, MACHINE_SECTIONS_MAX) : 0;
		break;
	case OWNER_DEVICE:
		*n = 0;
		if (p->device_sections)
			*n = p->device_sections(p->arg, i, list, MACHINE_SECTIONS_MAX);
		break;
	}
	if (*n > MACHINE_SECTIONS_MAX)
		return fail_set(why, FAIL_LIMIT, "%s: %zu state nodes exceed the limit of %u",
				where, *n, MACHINE_SECTIONS_MAX);
	return sections_agree(want, nwant, list, *n, where, why);
}
