/* SPDX-License-Identifier: MIT */
#include "vmmigrate/target.h"

#include "format/tree/machine.h"
#include "libcommon/client/moves.h"
#include "libcommon/fault.h"
#include "libcommon/version.h"
#include "vmmigrate/find.h"
#include "vmmigrate/move_images.h"
#include "vmmigrate/note.h"
#include "vmmigrate/outcome.h"
#include "vmmigrate/receiver.h"
#include "vmmigrate/slots.h"
#include "vmmigrate/spawn.h"
#include "vmmigrate/target_check.h"
#include "vmmigrate/target_fill.h"
#include "vmmigrate/wire.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct target {
	const struct options *o;
	struct wire          *wire;
	struct message       *hello, *m;          /* the first message; buffer for all others */
	struct machine       *machine;
	uint8_t              *config;
	size_t                config_len;
	struct target_hello   checked;
	struct spawn          vmrun;
	struct receiver      *receiver;
	struct move_images    images;
	bool                  refused;            /* AGREE said no: no ABORT after it */
	bool                  maybe_ready;        /* READY may be recorded: the record decides */
	struct slots         *slots;
	unsigned              slot;
};

/* ---- agree ---- */

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

/* While the source is waited for: the lease's channel becomes readable when vmrun exits. */
static int target_lost_vmrun(void *arg, struct fail *why)
{
	struct target *t = arg;
	char           line[256];

	spawn_last_line(&t->vmrun, line, sizeof(line));
	return fail_set(why, FAIL_REFUSED, "target vmrun exited%s%s", line[0] ? ": " : "", line);
}

/* The user has given vmrun an image of its own (-- --kernel, -- --initrd). */
static bool target_image_given(void *arg, const char *name)
{
	const struct target *t = arg;

	return spawn_override(t->o->overrides, name) != NULL;
}

/* What is cheap and certain first: vmrun is started only for a VM that may be taken, and with its
 * lock held. Its own refusal names what this host lacks. */
static int target_prepare(struct target *t, struct fail *why)
{
	uint64_t bytes;

	if (machine_read(t->machine, t->config, t->config_len, why) ||
	    target_check_hello(t->hello, t->machine, t->wire->fd, &t->checked, why))
		return -1;
	bytes = t->checked.populated + move_images_bytes(t->hello);
	if (target_check_memory(bytes, why) ||
	    target_check_claim(t->hello, t->machine, &t->vmrun, why))
		return -1;
	if (spawn_open(&t->vmrun, t->o, t->machine, t->config, t->config_len, t->wire, why) ||
	    target_check_shape(t->hello, t->machine, t->vmrun.lease, why))
		return -1;
	if (move_images_expect(&t->images, t->hello, t->machine, t->vmrun.lease,
			       target_image_given, t, why))
		return -1;
	return receiver_open(&t->receiver, t->vmrun.lease, why);
}

/* AGREE with accept false, and why. Returns -1. */
static int target_refuse(struct target *t, struct fail *why)
{
	struct fail ignored;
	char        reason[400];

	fail_text(why, reason, sizeof(reason));
	snprintf(t->m->reason, sizeof(t->m->reason), "%s", reason);
	/* What the source sent and nobody read would make the kernel reset the connection, and
	 * the refusal would be lost with it. */
	if (wire_send_message(t->wire, t->m, &ignored) == 0)
		wire_drain(t->wire);
	t->refused = true;
	return fail_prefix(why, "refused: ");
}

static int target_agree(struct target *t, struct fail *why)
{
	if (target_config(t, why))
		return -1;
	int rc = target_prepare(t, why);

	memset(t->m, 0, sizeof(*t->m));
	t->m->type   = MSG_AGREE;
	t->m->accept = rc == 0;
	snprintf(t->m->creator, sizeof(t->m->creator), "vmferry %s", VMFERRY_VERSION);
	for (size_t i = 0; i < TARGET_FEATURES; i++)
		snprintf(t->m->features[t->m->nfeatures++], sizeof(t->m->features[0]), "%s",
			 target_features[i]);
	if (rc)
		return target_refuse(t, why);
	move_images_to_agree(&t->images, t->m);
	if (wire_send_message(t->wire, t->m, why))
		return -1;
	t->wire->watch[0] = (struct wire_watch){ t->vmrun.lease->fd, target_lost_vmrun, t };
	fault_point("vmmigrate.target.agreed");
	return 0;
}

/* ---- memory and state ---- */

static int target_load(struct target *t, struct fail *why)
{
	struct target_fill fill = {
		.wire = t->wire, .m = t->m, .vmrun = &t->vmrun, .receiver = t->receiver,
		.images = &t->images, .name = t->hello->name, .image_cache = t->o->image_cache,
		.populated = t->checked.populated,
	};
	struct chunk   c;
	const uint8_t *state;
	struct lease  *l = t->vmrun.lease;

	if (target_fill(&fill, &c, &state, why))
		return -1;
	if (c.len > LIMIT_TREE_BYTES)
		return fail_set(why, FAIL_PEER, "state of %u bytes exceeds the limit", c.len);
	if (lease_written(l, why) || lease_load(l, state, c.len, why))
		return -1;
	fault_point("vmmigrate.target.loaded");
	/* Loading may take long. A source that has aborted or closed the connection in the meantime
	 * must not find a READY here, which then would have to be resolved. */
	if (wire_pending(t->wire)) {
		if (wire_recv_message(t->wire, t->m, WIRE_GREET_NS, why))
			return -1;
		return fail_set(why, FAIL_ENDED, "aborted by the source: %s",
				t->m->type == MSG_ABORT ? t->m->reason :
				message_type_names[t->m->type]);
	}
	return 0;
}

/* Records READY, then says it. From here on only GO or ABORT, or the source's answer to QUERY,
 * decide. maybe_ready is set first: a call that fails may have been carried out all the same. */
static int target_ready(struct target *t, struct fail *why)
{
	t->maybe_ready = true;
	if (lease_ready(t->vmrun.lease, &t->hello->move, t->checked.ask, t->hello->generation,
			why))
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

/* Carries out the GO or ABORT in `order` and replies with its outcome, which m then is. order and m
 * may be one. l: the incoming lease while this process has it, else NULL. */
static enum target_outcome target_act(struct wire *w, const struct message *order, struct lease *l,
				      struct message *m)
{
	const struct uuid   vm = order->vm, move = order->move;
	const bool          go = order->type == MSG_GO;
	enum target_outcome out;
	struct fail         why;

	if (go)
		fault_point("vmmigrate.target.go-heard");
	outcome_act(&vm, &move, order->generation, go, l, m);
	out = target_outcome_of(m);
	/* What was done stays done: the source repeats GO until it gets a reply. */
	if (wire_send_message(w, m, &why))
		note("%s: %s", message_type_names[m->type], why.what);
	if (go)
		fault_point("vmmigrate.target.running-sent");
	return out;
}

/* READY has been said: waits for GO or ABORT, and carries it out. */
static enum target_outcome target_wait(struct target *t, struct fail *why)
{
	sigset_t set;

	/* A listener that is told to stop waits for this process: until it is decided who owns the
	 * VM, nobody runs it. */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	/* Nor does the end of vmrun end the wait: GO must be answered RETURNED then. */
	t->wire->watch[0].fd = -1;
	wire_phase(t->wire, WIRE_READY_NS);
	/* RELEASED comes at most once, before GO. */
	for (int i = 0; i < 2; i++) {
		if (wire_recv_message(t->wire, t->m, WIRE_READY_NS, why))
			return TARGET_UNRESOLVED;
		if (t->m->type != MSG_RELEASED)
			break;
	}
	wire_phase(t->wire, 0);
	if (t->m->type != MSG_GO && t->m->type != MSG_ABORT) {
		fail_set(why, FAIL_PEER, "unexpected %s", message_type_names[t->m->type]);
		return TARGET_UNRESOLVED;
	}
	/* Of this move only, whatever UUIDs the message carries. */
	t->m->vm         = t->hello->vm;
	t->m->move       = t->hello->move;
	t->m->generation = t->hello->generation;
	return target_act(t->wire, t->m, t->vmrun.lease, t->m);
}

/* READY could not be said. Is it recorded? Without an answer it must be assumed. */
static bool target_is_ready(const struct target *t)
{
	struct judged *j     = calloc(1, sizeof(*j));
	struct fail    why;
	bool           ready = true;

	if (j && find_judged(&t->hello->vm, false, j, &why) == 0) {
		ready = j->found && j->r.state == MOVE_READY &&
			uuid_equal(&j->r.move, &t->hello->move);
		control_close(j->c);
	}
	free(j);
	return ready;
}

/* Before READY was said the move is off, unless READY is recorded: then the VM is kept. */
static enum target_outcome target_failed(struct target *t, const struct fail *why, const char *text)
{
	struct fail ignored;

	if (t->maybe_ready && target_is_ready(t))
		return TARGET_UNRESOLVED;
	/* Nothing to say to a source that has aborted, or has had its refusal. */
	if (why->kind != FAIL_ENDED && !t->refused &&
	    wire_send_abort(t->wire, text, &ignored) == 0)
		wire_drain(t->wire);
	return TARGET_FAILED;
}

static enum target_outcome target_move(struct target *t)
{
	char                text[400], move[UUID_TEXT];
	struct fail         why = { 0 };
	enum target_outcome out;

	uuid_text(&t->hello->move, move);
	note("%s: incoming from %s, move %s", t->hello->name, t->wire->peer, move);
	t->vmrun.pid = t->vmrun.log_fd = t->vmrun.claim = -1;
	if (target_agree(t, &why) || target_load(t, &why) || target_ready(t, &why)) {
		fail_text(&why, text, sizeof(text));
		out = target_failed(t, &why, text);
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
	/* A vmrun that may have been READY ends by its record, not by us. */
	spawn_close(&t->vmrun, out != TARGET_FAILED || t->maybe_ready);
	return out;
}

/* ---- a connection ---- */

/* The first message; RELEASED may come once before GO. Preamble and message have WIRE_GREET_NS
 * together: a peer that sends one byte a second must not keep a slot. */
static int target_greet(struct target *t, struct fail *why)
{
	wire_phase(t->wire, WIRE_GREET_NS);
	if (wire_greet(t->wire, false, why) ||
	    wire_recv_message(t->wire, t->hello, WIRE_GREET_NS, why))
		return -1;
	if (t->hello->type == MSG_RELEASED &&
	    wire_recv_message(t->wire, t->hello, WIRE_GREET_NS, why))
		return -1;
	wire_phase(t->wire, 0);
	return 0;
}

/* GO or ABORT on a connection of its own (docs/protocol.md 5, "GO on a new connection"). One about
 * a move that is not known here does not end a listener with --once. */
static enum target_outcome target_order(struct target *t)
{
	enum target_outcome out = target_act(t->wire, t->hello, NULL, t->m);

	if (t->hello->type == MSG_ABORT)
		return out == TARGET_FAILED ? out : TARGET_NOTHING;
	return out == TARGET_UNRESOLVED ? TARGET_NOTHING : out;
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
		return target_order(t);
	case MSG_ABORT:
		/* Before READY was possible ABORT names no move: there is nothing to abort. */
		return t->hello->has_move ? target_order(t) : TARGET_NOTHING;
	default:
		note("%s: unexpected first message %s", t->wire->peer,
		     message_type_names[t->hello->type]);
		return TARGET_NOTHING;
	}
}

enum target_outcome target_serve(int fd, const struct options *o, struct slots *slots,
				 unsigned slot)
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
	if (wire_open(&t.wire, fd, peer, &why) || !t.hello || !t.m || !t.machine)
		note("%s: out of memory", peer);
	else
		out = target_first(&t);
	wire_close(t.wire);
	free(t.config);
	free(t.machine);
	free(t.m);
	free(t.hello);
	return out;
}
