/* SPDX-License-Identifier: MIT */
#include "vmmigrate/target.h"

#include "format/tree/machine.h"
#include "libcommon/fault.h"
#include "libcommon/client/moves.h"
#include "libcommon/version.h"
#include "vmmigrate/find.h"
#include "vmmigrate/move_images.h"
#include "vmmigrate/spawn.h"
#include "vmmigrate/note.h"
#include "vmmigrate/receiver.h"
#include "vmmigrate/outcome.h"
#include "vmmigrate/slots.h"
#include "vmmigrate/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TARGET_STOP_MS    10000u
#define TARGET_UNRESOLVED_MAX 64u                   /* VMs in doubt; the asker has as many places */
#define TARGET_GROWTH     ((uint64_t)64 << 20)

static const char *const target_features[] = { "audit", "zstd" };

struct target {
	const struct options *o;
	struct wire          *wire;
	struct message       *hello, *m;
	struct machine       *machine, *theirs;
	uint8_t              *config;
	size_t                config_len;
	struct spawn          vmrun;
	struct receiver      *receiver;
	struct move_images    images;
	char                  ask[ADDRESS_TEXT_MAX];
	bool                  round_due;          /* ROUND came and is not yet acknowledged */
	uint64_t              round, chunk;
	bool                  refused;            /* AGREE said no: nothing more is said */
	bool                  was_ready;          /* READY was recorded, or may have been: vmrun and record decide */
	uint64_t              populated;          /* bytes in use at the source, as HELLO has it */
	uint64_t              checked;            /* pages received when the free memory was last looked at */
	struct slots         *slots;
	unsigned              slot;
};

/* ---- agree ---- */

static int target_needs(const struct target *t, struct fail *why)
{
	for (uint32_t i = 0; i < t->hello->nfeatures; i++) {
		size_t k = 0, n = sizeof(target_features) / sizeof(target_features[0]);

		while (k < n && strcmp(t->hello->features[i], target_features[k]))
			k++;
		if (k == n)
			return fail_set(why, FAIL_VERSION,
					"unsupported feature '%s', required by the source",
					t->hello->features[i]);
	}
	return 0;
}

/* Regions as the tree has them; their populated bytes are within them, and so is the sum. */
static int target_regions(struct target *t, struct fail *why)
{
	const struct message *h = t->hello;
	const struct machine *m = t->machine;

	if (h->nregions != m->nregions)
		return fail_set(why, FAIL_CORRUPT,
				"number of regions differs: %u in HELLO, %u in the VM tree",
				h->nregions, m->nregions);
	for (uint32_t i = 0; i < h->nregions; i++) {
		const struct message_region *r = &h->regions[i];

		if (r->id != m->regions[i].id || r->size != m->regions[i].size)
			return fail_set(why, FAIL_CORRUPT,
					"region %" PRIu64 " in HELLO differs from the VM tree",
					r->id);
		if (r->populated > r->size)
			return fail_set(why, FAIL_CORRUPT,
					"region %" PRIu64 ": populated exceeds its size", r->id);
		t->populated += r->populated;      /* at most LIMIT_REGIONS times LIMIT_REGION_BYTES */
	}
	return 0;
}

/* Where this move's source can be asked: HELLO's ask, without a host the address that the connection came from. */
static int target_ask_address(struct target *t, struct fail *why)
{
	struct address ask, from;

	if (address_parse(&ask, t->hello->ask[0] ? t->hello->ask : ":" ADDRESS_PORT, true, why) || address_of_socket(&from, t->wire->fd, true, why))
		return -1;
	if (!ask.host[0])
		memcpy(ask.host, from.host, sizeof(ask.host));
	address_text(&ask, t->ask);
	return strlen(t->ask) < sizeof(((struct move_record *)0)->peer) ? 0 :
	       fail_set(why, FAIL_CORRUPT, "HELLO: ask address too long");
}

/* All of HELLO: nothing of it is refused later. */
static int target_hello(struct target *t, struct fail *why)
{
	if (target_needs(t, why))
		return -1;
	if (t->hello->page_size != PAGE_SIZE_4K)
		return fail_set(why, FAIL_VERSION,
				"unsupported page size: %" PRIu64 " bytes (supported: %u)",
				t->hello->page_size, PAGE_SIZE_4K);
	if (uuid_is_nil(&t->hello->vm) || uuid_is_nil(&t->hello->move) || t->hello->generation >= INT64_MAX)
		return fail_set(why, FAIL_CORRUPT, "HELLO: invalid vm, move or generation");
	if (!uuid_equal(&t->hello->vm, &t->machine->uuid) || strcmp(t->hello->name, t->machine->name))
		return fail_set(why, FAIL_CORRUPT, "VM tree and HELLO name different VMs");
	return target_regions(t, why) || target_ask_address(t, why) ? -1 : 0;
}

static int target_count_ready(void *arg, const struct move_record *r, struct fail *why)
{
	(void)why;
	*(unsigned *)arg += r->state == MOVE_READY;
	return 0;
}

/* With the VM's claim in hand: does its record forbid this move? vmrun looks once more when it is READY. */
static int target_record(const struct target *t, struct fail *why)
{
	struct move_record *r = malloc(sizeof(*r));
	enum move_state     state;
	uint64_t            generation;
	bool                found, open;
	int                 rc = -1;

	if (!r)
		return fail_sys(why, "record");
	if (moves_read_synced(&t->hello->vm, r, &found, why))
		goto out;
	open = found && moves_open(r->state);
	if (found && moves_find(r, &t->hello->move, &state, &generation))
		fail_set(why, FAIL_OWNER, "duplicate move UUID: record state %s on the target",
			 move_state_names[state]);
	else if (open && (r->state == MOVE_READY || r->generation >= t->hello->generation))
		fail_set(why, FAIL_OWNER,
			 "%s: record of an earlier move on the target, state %s; "
			 "see vmmigrate status %s there", t->machine->name,
			 move_state_names[r->state], t->machine->name);
	else if (found && r->generation > t->hello->generation)
		fail_set(why, FAIL_OWNER,
			 "%s: stale generation %" PRIu64 ", the target has recorded %" PRIu64 "; "
			 "to accept it: vmmigrate resolve %s --disown there", t->machine->name,
			 t->hello->generation, r->generation, t->machine->name);
	else
		rc = 0;
out:
	free(r);
	return rc;
}

/* Nobody else here may run, fill or settle this VM: no live VM of that UUID, no other arrival. */
static int target_claim(struct target *t, struct fail *why)
{
	struct control *c = NULL;
	struct uuid     vm;
	struct fail     ignored;
	char            name[VM_NAME_MAX + 1];
	unsigned        unresolved = 0;

	moves_list(target_count_ready, &unresolved, &ignored);
	if (unresolved >= TARGET_UNRESOLVED_MAX)
		return fail_set(why, FAIL_LIMIT,
				"%u VMs unresolved on the target; see vmmigrate status there",
				unresolved);
	if (find_vm(&t->hello->vm, &c, &ignored) == FOUND_ALIVE) {
		if (find_identity(c, &vm, name, &ignored))
			snprintf(name, sizeof(name), "%s", t->machine->name);
		control_close(c);
		return fail_set(why, FAIL_REFUSED,
				"already running on the target as %s; see vmmigrate status there",
				name);
	}
	return spawn_claim(&t->vmrun, &t->hello->vm, why) || target_record(t, why) ? -1 : 0;
}

/* What is populated at the source must find room here; a VM that is killed for memory after it has moved is lost. */
static int target_memory(uint64_t need, struct fail *why)
{
	uint64_t have = 0;
	char     line[128];
	FILE    *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f)) {
		uint64_t kb;

		if (sscanf(line, "MemAvailable: %" SCNu64, &kb) == 1 || sscanf(line, "SwapFree: %" SCNu64, &kb) == 1)
			have += kb * 1024;
	}
	if (f)
		fclose(f);
	if (have && need > have)
		return fail_set(why, FAIL_LIMIT,
				"not enough memory on the target: %" PRIu64 " MiB needed, %" PRIu64
				" MiB available", need >> 20, have >> 20);
	return 0;
}

/* The vmrun that was started must have built the machine that the source has. */
static int target_shape(const struct target *t, struct fail *why)
{
	const struct lease *l = t->vmrun.lease;
	uint8_t            *fdt;
	size_t              len;

	if (lease_config(t->vmrun.lease, &fdt, &len, why))
		return -1;
	int rc = machine_read(t->theirs, fdt, len, why);

	free(fdt);
	if (rc || machine_same_shape(t->machine, t->theirs, why))
		return -1;
	if (l->nrams != t->hello->nregions)
		return fail_set(why, FAIL_VERSION, "number of regions differs: %u, target %u",
				t->hello->nregions, l->nrams);
	for (uint32_t i = 0; i < l->nrams; i++)
		if (t->hello->regions[i].id != l->rams[i].r.id || t->hello->regions[i].size != l->rams[i].r.size)
			return fail_set(why, FAIL_VERSION, "region %u differs", l->rams[i].r.id);
	return 0;
}

static int target_config(struct target *t, struct fail *why)
{
	struct chunk   c;
	const uint8_t *payload;
	bool           damaged;

	if (wire_recv(t->wire, &c, &payload, &damaged, WIRE_GREET_NS, why))
		return -1;
	if (c.type != CHUNK_CONFIG || c.len == 0 || c.len > LIMIT_TREE_BYTES)
		return fail_set(why, FAIL_PEER, "%s: missing configuration after HELLO",
				t->wire->peer);
	t->config = malloc(c.len);
	if (!t->config)
		return fail_sys(why, "configuration");
	memcpy(t->config, payload, c.len);
	t->config_len = c.len;
	return 0;
}

static int target_lost_vmrun(void *arg, struct fail *why)
{
	struct target *t = arg;
	char           words[256];

	spawn_last_line(&t->vmrun, words, sizeof(words));
	return fail_set(why, FAIL_REFUSED, "target vmrun exited%s%s", words[0] ? ": " : "", words);
}

/* vmrun was given an image of its own. */
static bool target_image_given(void *arg, const char *name)
{
	const struct target *t = arg;

	return spawn_override(t->o->overrides, name) != NULL;
}

static int target_prepare(struct target *t, struct fail *why)
{
	if (machine_read(t->machine, t->config, t->config_len, why) || target_hello(t, why) ||
	    target_memory(t->populated + move_images_bytes(t->hello), why) || target_claim(t, why))
		return -1;
	if (spawn_open(&t->vmrun, t->o, t->machine, t->config, t->config_len, t->wire, why) || target_shape(t, why) ||
	    move_images_expect(&t->images, t->hello, t->machine, t->vmrun.lease, target_image_given, t, why))
		return -1;
	return receiver_open(&t->receiver, t->vmrun.lease, why);
}

static int target_agree(struct target *t, struct fail *why)
{
	char reason[400];

	if (target_config(t, why))
		return -1;
	int rc = target_prepare(t, why);

	memset(t->m, 0, sizeof(*t->m));
	t->m->type   = MSG_AGREE;
	t->m->accept = rc == 0;
	snprintf(t->m->creator, sizeof(t->m->creator), "vmferry %s", VMFERRY_VERSION);
	for (size_t i = 0; i < sizeof(target_features) / sizeof(target_features[0]); i++)
		snprintf(t->m->features[t->m->nfeatures++], sizeof(t->m->features[0]), "%s", target_features[i]);
	if (rc)
		snprintf(t->m->reason, sizeof(t->m->reason), "%s", fail_text(why, reason, sizeof(reason)));
	else
		move_images_to_agree(&t->images, t->m);
	if (rc) {
		struct fail ignored;

		if (wire_send_message(t->wire, t->m, &ignored) == 0)
			wire_drain(t->wire);
		t->refused = true;
		return fail_prefix(why, "refused: ");
	}
	if (wire_send_message(t->wire, t->m, why))
		return -1;
	t->wire->watch[0] = (struct wire_watch){ .fd = t->vmrun.lease->fd, .fn = target_lost_vmrun, .arg = t };
	fault_point("vmmigrate.target.agreed");
	return 0;
}

/* ---- pages, until STATE ---- */

static int target_message(struct target *t, const uint8_t *payload, size_t len, struct fail *why)
{
	struct message *m = t->m;

	if (message_read(m, payload, len, why))
		return -1;
	switch (m->type) {
	case MSG_ROUND:
		t->round_due = true;
		t->round     = m->round;
		t->chunk     = m->chunk;
		return receiver_round(t->receiver, m->chunk, why);
	case MSG_RESENT:
		return receiver_resent(t->receiver, m->chunk, why);
	case MSG_AUDIT:
		return receiver_audit(t->receiver, m, why);
	case MSG_AUDIT_END:
		receiver_audited(t->receiver, m);
		return wire_send_message(t->wire, m, why);
	case MSG_STOPPED:
		return control_execute(t->vmrun.control, "stop", NULL, NULL, NULL, NULL, TARGET_STOP_MS, why);
	case MSG_ABORT:
		return fail_set(why, FAIL_ENDED, "aborted by the source: %.250s", m->reason);
	default:
		return fail_set(why, FAIL_PEER, "unexpected %s", message_type_names[m->type]);
	}
}

/* It fills more memory than HELLO has announced: is there still room for the next piece? */
static int target_growth(struct target *t, struct fail *why)
{
	uint64_t pages = receiver_data_pages(t->receiver);

	if (pages * PAGE_SIZE_4K <= t->populated || pages - t->checked < TARGET_GROWTH / PAGE_SIZE_4K)
		return 0;
	t->checked = pages;
	return target_memory(TARGET_GROWTH, why);
}

static int target_pages(struct target *t, const struct chunk *c, const uint8_t *payload, bool damaged, struct fail *why)
{
	uint64_t number;
	bool     resend;

	if (receiver_pages(t->receiver, c, payload, damaged, &resend, &number, why) || target_growth(t, why))
		return -1;
	if (!resend)
		return 0;
	t->m->type  = MSG_RESEND;
	t->m->chunk = number;
	return wire_send_message(t->wire, t->m, why);
}

static int target_image(struct target *t, const uint8_t *payload, size_t len, struct fail *why)
{
	struct fail kept = { 0 };
	int         rc   = move_images_piece(&t->images, payload, len, t->vmrun.lease, t->o->image_cache, &kept, why);

	if (kept.kind != FAIL_NONE)
		note("%s: %s", t->hello->name, kept.what);
	return rc;
}

/* Everything up to STATE, which payload and c then hold. */
static int target_fill(struct target *t, struct chunk *c, const uint8_t **payload, struct fail *why)
{
	bool damaged;

	for (;;) {
		if (wire_recv(t->wire, c, payload, &damaged, WIRE_IDLE_NS, why))
			return -1;
		if (c->type == CHUNK_STATE && !t->round_due && receiver_clean(t->receiver) && move_images_whole(&t->images))
			return 0;
		if (c->type == CHUNK_PAGES ? target_pages(t, c, *payload, damaged, why) :
		    c->type == CHUNK_BLOB ? target_image(t, *payload, c->len, why) :
		    c->type == CHUNK_CONTROL ? target_message(t, *payload, c->len, why) :
		    fail_set(why, FAIL_PEER, "unexpected %s chunk", chunk_type_name(c->type)))
			return -1;
		if (!t->round_due || !receiver_clean(t->receiver))
			continue;
		t->round_due = false;
		t->m->type   = MSG_ROUND_ACK;
		t->m->round  = t->round;
		t->m->chunk  = t->chunk;
		if (wire_send_message(t->wire, t->m, why))
			return -1;
	}
}

static int target_load(struct target *t, struct fail *why)
{
	struct chunk   c;
	const uint8_t *payload;
	struct lease  *l = t->vmrun.lease;

	if (target_fill(t, &c, &payload, why))
		return -1;
	if (c.len > LIMIT_TREE_BYTES)
		return fail_set(why, FAIL_PEER, "state of %u bytes exceeds the limit", c.len);
	if (lease_written(l, why) || lease_load(l, payload, c.len, why))
		return -1;
	fault_point("vmmigrate.target.loaded");
	/* A source that is gone or has given up meanwhile would leave a READY that nobody settles. */
	if (wire_pending(t->wire)) {
		if (wire_recv_message(t->wire, t->m, WIRE_GREET_NS, why))
			return -1;
		return fail_set(why, FAIL_ENDED, "aborted by the source: %s",
				t->m->type == MSG_ABORT ? t->m->reason :
				message_type_names[t->m->type]);
	}
	return 0;
}

/* READY recorded and said. From here on only GO and ABORT, or the source's answer, decide. */
static int target_ready(struct target *t, struct fail *why)
{
	t->was_ready = true;
	if (lease_ready(t->vmrun.lease, &t->hello->move, t->ask, t->hello->generation, why))
		return -1;
	t->m->type = MSG_READY;
	t->m->vm   = t->hello->vm;
	t->m->move = t->hello->move;
	if (wire_send_message(t->wire, t->m, why))
		return -1;
	fault_point("vmmigrate.target.ready-sent");
	return 0;
}

/* ---- READY: GO or ABORT ---- */

static enum target_outcome target_outcome_of(const struct message *m)
{
	if (m->type == MSG_RUNNING)
		return TARGET_MOVED;
	return m->type == MSG_RETURNED ? TARGET_FAILED : TARGET_UNRESOLVED;
}

/* Carries out GO or ABORT and says what came of it. */
static enum target_outcome target_act(struct wire *w, const struct uuid *vm, const struct uuid *move, uint64_t generation, bool go,
				      struct lease *l, struct message *m)
{
	struct fail why;

	if (go)
		fault_point("vmmigrate.target.go-heard");
	outcome_act(vm, move, generation, go, l, m);

	enum target_outcome out = target_outcome_of(m);

	if (wire_send_message(w, m, &why))
		note("%s: %s", message_type_names[m->type], why.what);      /* it will ask again */
	if (go)
		fault_point("vmmigrate.target.running-sent");
	return out;
}

static enum target_outcome target_wait(struct target *t, struct fail *why)
{
	sigset_t set;

	/* A listener that is told to end waits for this: the VM is nobody's before it is settled. */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	t->wire->watch[0].fd = -1;
	wire_phase(t->wire, WIRE_READY_NS);
	/* RELEASED comes at most once, before GO. */
	for (int i = 0; i < 2; i++)
		if (wire_recv_message(t->wire, t->m, WIRE_READY_NS, why))
			return TARGET_UNRESOLVED;
		else if (t->m->type != MSG_RELEASED)
			break;
	wire_phase(t->wire, 0);
	if (t->m->type != MSG_GO && t->m->type != MSG_ABORT) {
		fail_set(why, FAIL_PEER, "unexpected %s", message_type_names[t->m->type]);
		return TARGET_UNRESOLVED;
	}
	return target_act(t->wire, &t->hello->vm, &t->hello->move, t->hello->generation, t->m->type == MSG_GO, t->vmrun.lease, t->m);
}

/* It failed before READY was said. Was it recorded? Then the VM is kept. */
static bool target_is_ready(const struct target *t)
{
	struct judged *j     = calloc(1, sizeof(*j));
	struct fail    why;
	bool           ready = true;

	if (j && find_judged(&t->hello->vm, false, j, &why) == 0) {
		ready = j->found && j->r.state == MOVE_READY && uuid_equal(&j->r.move, &t->hello->move);
		control_close(j->c);
	}
	free(j);
	return ready;
}

static enum target_outcome target_move(struct target *t)
{
	char                text[400], move[UUID_TEXT];
	struct fail         why = { 0 };
	enum target_outcome out = TARGET_FAILED;

	uuid_text(&t->hello->move, move);
	note("%s: incoming from %s, move %s", t->hello->name, t->wire->peer, move);
	t->vmrun.pid = t->vmrun.log_fd = t->vmrun.claim = -1;
	if (target_agree(t, &why) || target_load(t, &why) || target_ready(t, &why)) {
		out = t->was_ready && target_is_ready(t) ? TARGET_UNRESOLVED : TARGET_FAILED;
		fail_text(&why, text, sizeof(text));
		if (out == TARGET_FAILED && why.kind != FAIL_ENDED && !t->refused &&
		    wire_send_abort(t->wire, text, &(struct fail){ 0 }) == 0)
			wire_drain(t->wire);
	} else {
		out = target_wait(t, &why);
		fail_text(&why, text, sizeof(text));
	}
	if (out == TARGET_MOVED)
		note("%s: running here", t->hello->name);
	else if (out == TARGET_FAILED)
		note("%s: move failed: %s", t->hello->name,
		     why.kind ? text : "aborted by the source");
	else
		note("%s: no GO from the source: VM kept paused, querying the source (%s)",
		     t->hello->name, why.kind ? text : t->m->reason);
	receiver_close(t->receiver);
	move_images_close(&t->images);
	/* Kept or discarded by record: its vmrun knows. Only one that was never READY is sure to end. */
	spawn_close(&t->vmrun, out != TARGET_FAILED || t->was_ready);
	return out;
}

/* ---- a connection ---- */

/* The first message; RELEASED may come once before GO. Preamble and message together have WIRE_GREET_NS. */
static int target_greet(struct target *t, struct fail *why)
{
	wire_phase(t->wire, WIRE_GREET_NS);
	if (wire_greet(t->wire, false, why) || wire_recv_message(t->wire, t->hello, WIRE_GREET_NS, why))
		return -1;
	if (t->hello->type == MSG_RELEASED && wire_recv_message(t->wire, t->hello, WIRE_GREET_NS, why))
		return -1;
	wire_phase(t->wire, 0);
	return 0;
}

static enum target_outcome target_first(struct target *t)
{
	struct fail why;

	if (target_greet(t, &why)) {
		note("%s", why.what);
		return TARGET_NOTHING;
	}
	if (!slots_enter(t->slots, t->slot, t->hello->type == MSG_HELLO)) {
		if (wire_send_abort(t->wire, "too many connections", &why) == 0)
			wire_drain(t->wire);
		return TARGET_NOTHING;
	}
	switch (t->hello->type) {
	case MSG_HELLO:
		return target_move(t);
	case MSG_QUERY:
		outcome_query(t->hello, t->m);
		wire_send_message(t->wire, t->m, &why);
		return TARGET_NOTHING;
	case MSG_GO:
		/* `unknown` to a stray GO is no move that came to an end here. */
		if (target_act(t->wire, &t->hello->vm, &t->hello->move, t->hello->generation, true, NULL, t->m) == TARGET_MOVED)
			return TARGET_MOVED;
		return t->m->type == MSG_RETURNED ? TARGET_FAILED : TARGET_NOTHING;
	case MSG_ABORT:
		if (t->hello->has_move && target_act(t->wire, &t->hello->vm, &t->hello->move, t->hello->generation, false, NULL, t->m) == TARGET_FAILED)
			return TARGET_FAILED;
		return TARGET_NOTHING;
	default:
		note("%s: unexpected first message %s", t->wire->peer, message_type_names[t->hello->type]);
		return TARGET_NOTHING;
	}
}

enum target_outcome target_serve(int fd, const struct options *o, struct slots *slots, unsigned slot)
{
	struct target       t   = { .o = o, .slots = slots, .slot = slot };
	struct address      from;
	struct fail         why;
	char                peer[ADDRESS_TEXT_MAX] = "?";
	enum target_outcome out = TARGET_NOTHING;

	if (address_of_socket(&from, fd, true, &why) == 0)
		address_text(&from, peer);
	t.hello   = calloc(1, sizeof(*t.hello));
	t.m       = calloc(1, sizeof(*t.m));
	t.machine = calloc(1, sizeof(*t.machine));
	t.theirs  = calloc(1, sizeof(*t.theirs));
	if (wire_open(&t.wire, fd, peer, &why) || !t.hello || !t.m || !t.machine || !t.theirs)
		note("%s: out of memory", peer);
	else
		out = target_first(&t);
	wire_close(t.wire);
	free(t.config);
	free(t.theirs);
	free(t.machine);
	free(t.m);
	free(t.hello);
	return out;
}
