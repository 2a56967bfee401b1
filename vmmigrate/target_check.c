/* SPDX-License-Identifier: MIT */
#include "vmmigrate/target_check.h"

#include "libcommon/client/control.h"
#include "libcommon/client/moves.h"
#include "vmmigrate/find.h"
#include "vmmigrate/unresolved.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const target_features[TARGET_FEATURES] = { "audit", "zstd" };

static int check_needs(const struct message *hello, struct fail *why)
{
	for (uint32_t i = 0; i < hello->nfeatures; i++) {
		size_t k = 0;

		while (k < TARGET_FEATURES && strcmp(hello->features[i], target_features[k]))
			k++;
		if (k == TARGET_FEATURES)
			return fail_set(why, FAIL_VERSION,
					"unsupported feature '%s', required by the source",
					hello->features[i]);
	}
	return 0;
}

/* Region by region as in the tree. The sum cannot overflow: it is at most LIMIT_REGIONS times
 * LIMIT_REGION_BYTES, which machine_read() has checked. */
static int check_regions(const struct message *hello, const struct machine *m, uint64_t *populated,
			 struct fail *why)
{
	*populated = 0;
	if (hello->nregions != m->nregions)
		return fail_set(why, FAIL_CORRUPT,
				"number of regions differs: %u in HELLO, %u in the VM tree",
				hello->nregions, m->nregions);
	for (uint32_t i = 0; i < hello->nregions; i++) {
		const struct message_region *r = &hello->regions[i];

		if (r->id != m->regions[i].id || r->size != m->regions[i].size)
			return fail_set(why, FAIL_CORRUPT,
					"region %" PRIu64 " in HELLO differs from the VM tree",
					r->id);
		if (r->populated > r->size)
			return fail_set(why, FAIL_CORRUPT,
					"region %" PRIu64 ": populated exceeds its size", r->id);
		*populated += r->populated;
	}
	return 0;
}

/* HELLO's ask; without a host the address that the connection came from. It goes into the record,
 * because a listener that is started after this process has ended must know whom to query. */
static int check_ask(const struct message *hello, int fd, char out[ADDRESS_TEXT_MAX],
		     struct fail *why)
{
	struct address ask, from;

	if (address_parse(&ask, hello->ask[0] ? hello->ask : ":" ADDRESS_PORT, true, why) ||
	    address_of_socket(&from, fd, true, why))
		return -1;
	if (!ask.host[0])
		memcpy(ask.host, from.host, sizeof(ask.host));
	address_text(&ask, out);
	if (strlen(out) >= sizeof(((struct move_record *)0)->peer))
		return fail_set(why, FAIL_CORRUPT, "HELLO: ask address too long");
	return 0;
}

int target_check_hello(const struct message *hello, const struct machine *m, int fd,
		       struct target_hello *out, struct fail *why)
{
	if (check_needs(hello, why))
		return -1;
	if (hello->page_size != PAGE_SIZE_4K)
		return fail_set(why, FAIL_VERSION,
				"unsupported page size: %" PRIu64 " bytes (supported: %u)",
				hello->page_size, PAGE_SIZE_4K);
	/* A move adds one to the generation, which the record stores as a signed number. */
	if (uuid_is_nil(&hello->vm) || uuid_is_nil(&hello->move) || hello->generation >= INT64_MAX)
		return fail_set(why, FAIL_CORRUPT, "HELLO: invalid vm, move or generation");
	if (!uuid_equal(&hello->vm, &m->uuid) || strcmp(hello->name, m->name))
		return fail_set(why, FAIL_CORRUPT, "VM tree and HELLO name different VMs");
	if (check_regions(hello, m, &out->populated, why))
		return -1;
	return check_ask(hello, fd, out->ask, why);
}

int target_check_memory(uint64_t bytes, struct fail *why)
{
	uint64_t have = 0;
	char     line[128];
	FILE    *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f)) {
		uint64_t kb;

		if (sscanf(line, "MemAvailable: %" SCNu64, &kb) == 1 ||
		    sscanf(line, "SwapFree: %" SCNu64, &kb) == 1)
			have += kb * 1024;
	}
	if (f)
		fclose(f);
	/* Refused now rather than killed later: a VM that the kernel kills for memory after it has
	 * moved is lost. */
	if (have && bytes > have)
		return fail_set(why, FAIL_LIMIT,
				"not enough memory on the target: %" PRIu64 " MiB needed, %" PRIu64
				" MiB available", bytes >> 20, have >> 20);
	return 0;
}

/* ---- claim ---- */

static int check_count_ready(void *arg, const struct move_record *r, struct fail *why)
{
	unsigned *n = arg;

	(void)why;
	*n += r->state == MOVE_READY;
	return 0;
}

static int check_unresolved(struct fail *why)
{
	struct fail ignored;
	unsigned    n = 0;

	/* The listener queries the sources of this many: nobody would ask about one more. A record
	 * that cannot be read is not counted; this VM's own is checked below. */
	moves_list(check_count_ready, &n, &ignored);
	if (n >= UNRESOLVED_MAX)
		return fail_set(why, FAIL_LIMIT,
				"%u VMs unresolved on the target; see vmmigrate status there", n);
	return 0;
}

/* No vmrun of this VM runs here. It would refuse the lock as well, after SPAWN_CLAIM_MS and without
 * saying under which name it runs. */
static int check_running(const struct message *hello, const struct machine *m, struct fail *why)
{
	struct control *c = NULL;
	struct uuid     vm;
	struct fail     ignored;
	char            name[VM_NAME_MAX + 1];

	if (find_vm(&hello->vm, &c, &ignored) != FOUND_ALIVE)
		return 0;
	if (find_identity(c, &vm, name, &ignored))
		snprintf(name, sizeof(name), "%s", m->name);
	control_close(c);
	return fail_set(why, FAIL_REFUSED,
			"already running on the target as %s; see vmmigrate status there", name);
}

/* Does the record forbid this move? Called with the VM's lock held, so that the answer stays true;
 * vmrun, which gets the lock, checks again when it records READY. */
static int check_record(const struct message *hello, const struct machine *m, struct fail *why)
{
	struct move_record *r = malloc(sizeof(*r));
	enum move_state     state;
	uint64_t            generation;
	bool                found, open;
	int                 rc = -1;

	if (!r)
		return fail_sys(why, "record");
	if (moves_read_synced(&hello->vm, r, &found, why))
		goto out;
	open = found && moves_open(r->state);
	if (found && moves_find(r, &hello->move, &state, &generation))
		fail_set(why, FAIL_OWNER, "duplicate move UUID: record state %s on the target",
			 move_state_names[state]);
	else if (open && (r->state == MOVE_READY || r->generation >= hello->generation))
		fail_set(why, FAIL_OWNER,
			 "%s: record of an earlier move on the target, state %s; "
			 "see vmmigrate status %s there", m->name, move_state_names[r->state],
			 m->name);
	else if (found && r->generation > hello->generation)
		fail_set(why, FAIL_OWNER,
			 "%s: stale generation %" PRIu64 ", the target has recorded %" PRIu64 "; "
			 "to accept it: vmmigrate resolve %s --disown there", m->name,
			 hello->generation, r->generation, m->name);
	else
		rc = 0;
out:
	free(r);
	return rc;
}

int target_check_claim(const struct message *hello, const struct machine *m, struct spawn *s,
		       struct fail *why)
{
	if (check_unresolved(why) || check_running(hello, m, why))
		return -1;
	if (spawn_claim(s, &hello->vm, why))
		return -1;
	return check_record(hello, m, why);
}

/* ---- shape ---- */

static int check_tree(const struct machine *m, struct lease *l, struct fail *why)
{
	struct machine *theirs = calloc(1, sizeof(*theirs));
	uint8_t        *fdt    = NULL;
	size_t          len;
	int             rc = -1;

	if (!theirs)
		fail_sys(why, "configuration");
	else if (lease_config(l, &fdt, &len, why) == 0 && machine_read(theirs, fdt, len, why) == 0)
		rc = machine_same_shape(m, theirs, why);
	free(fdt);
	free(theirs);
	return rc;
}

int target_check_shape(const struct message *hello, const struct machine *m, struct lease *l,
		       struct fail *why)
{
	if (check_tree(m, l, why))
		return -1;
	if (l->nrams != hello->nregions)
		return fail_set(why, FAIL_VERSION, "number of regions differs: %u, target %u",
				hello->nregions, l->nrams);
	for (uint32_t i = 0; i < l->nrams; i++) {
		const struct message_region *r = &hello->regions[i];

		if (r->id != l->rams[i].r.id || r->size != l->rams[i].r.size)
			return fail_set(why, FAIL_VERSION, "region %u differs", l->rams[i].r.id);
	}
	return 0;
}
