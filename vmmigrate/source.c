/* SPDX-License-Identifier: MIT */
#include "vmmigrate/source.h"

#include "format/tree/machine.h"
#include "libcommon/client/control.h"
#include "libcommon/client/moves.h"
#include "libcommon/fault.h"
#include "libcommon/io.h"
#include "vmmigrate/answer.h"
#include "vmmigrate/find.h"
#include "vmmigrate/move_images.h"
#include "vmmigrate/outcome.h"
#include "vmmigrate/sender.h"
#include "vmmigrate/source_handover.h"
#include "vmmigrate/source_hello.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

/* How long, and for how many messages, the reply to ABORT is waited for. */
#define SOURCE_ABORT_NS       (2 * WIRE_SECOND)
#define SOURCE_ABORT_MESSAGES 4

struct source {
	const struct options *o;
	struct progress      *progress;
	struct source_result *r;
	int                   stop_fd;
	struct control       *control;
	struct lease         *lease;
	struct machine       *machine;
	uint8_t              *config, *state;
	size_t                config_len, state_len;
	uint64_t              generation;
	struct answer        *answer;
	struct wire          *wire;
	struct sender        *sender;
	struct precopy       *precopy;
	struct move_images    images;
	struct message       *m;
	bool                  paused;
	bool                  may_be_ready;      /* STATE was sent: the target may record READY */
	bool                  released;
};

static int source_stopped(void *arg, struct fail *why)
{
	struct source *s = arg;

	s->r->interrupted = true;
	return fail_set(why, FAIL_PEER, "interrupted");
}

/* vmrun sends nothing unasked but the notice that the lease is lost: the next call returns why. */
static int source_lost(void *arg, struct fail *why)
{
	struct source *s = arg;

	/* What is readable then is the reply to the flush, which whoever started it reads. */
	if (s->lease->flushing)
		return 0;
	return lease_sync(s->lease, NULL, NULL, why);
}

/* ---- open: the VM's identity, its record, the lease, its configuration ---- */

/* Refuses when an earlier move of the VM is not over. */
static int source_record(struct source *s, struct fail *why)
{
	struct judged *j  = calloc(1, sizeof(*j));
	int            rc = -1;

	if (!j)
		return fail_sys(why, "record");
	if (find_judged(&s->r->vm, false, j, why) == 0) {
		if (!j->found || moves_final(j->r.state))
			rc = 0;
		else if (j->r.state == MOVE_READY)
			fail_set(why, FAIL_OWNER,
				 "%s: the move to this host is unresolved; see vmmigrate status %s",
				 s->r->name, s->r->name);
		else if (j->r.state == MOVE_MOVING)
			fail_set(why, FAIL_REFUSED, "%s: move to %s already in progress",
				 s->r->name, j->r.peer);
		else
			fail_set(why, FAIL_OWNER,
				 "%s: released to %s by an earlier move; "
				 "use vmmigrate resume %s, or resolve", s->r->name, j->r.peer,
				 s->r->name);
		s->generation = j->found ? j->r.generation : 0;
		control_close(j->c);
	}
	free(j);
	return rc;
}

static int source_open(struct source *s, struct fail *why)
{
	/* First: the process must not inherit the lease, which would then outlive this one. */
	if (s->o->answer && answer_open(&s->answer, &s->o->answer_at, s->o->insecure, why))
		return -1;
	if (control_open(&s->control, s->o->vm, why) ||
	    find_identity(s->control, &s->r->vm, s->r->name, why))
		return -1;
	/* The record first: it says more than vmrun's refusal of the lease would. */
	if (source_record(s, why) || find_lease(&s->lease, s->control, LEASE_KIND_LOG, why) ||
	    lease_config(s->lease, &s->config, &s->config_len, why))
		return -1;
	if (machine_read(s->machine, s->config, s->config_len, why))
		return -1;
	return move_images_offer(&s->images, s->lease, s->machine, why);
}

/* ---- agree ---- */

static int source_agree(struct source *s, struct fail *why)
{
	if (wire_connect(&s->wire, &s->o->to, s->o->insecure, why))
		return -1;
	s->wire->rate     = s->o->bandwidth;
	s->wire->watch[0] = (struct wire_watch){ .fd = s->stop_fd, .fn = source_stopped, .arg = s };
	s->wire->watch[1] = (struct wire_watch){ .fd = s->lease->fd, .fn = source_lost, .arg = s };
	source_hello(s->m, &(struct source_hello){
		.vm = s->r->vm, .move = s->r->move, .name = s->r->name,
		.generation = s->generation, .audit = s->o->audit, .compressed = s->o->level != 0,
		.ask = s->answer ? answer_where(s->answer) : &s->o->ask,
		.lease = s->lease, .images = &s->images,
	});
	if (wire_send_message(s->wire, s->m, why) ||
	    wire_send(s->wire, CHUNK_CONFIG, s->config, s->config_len, false, why) ||
	    wire_recv_message(s->wire, s->m, WIRE_AGREE_NS, why))
		return -1;
	if (s->m->type == MSG_ABORT)
		return fail_set(why, FAIL_PEER, "%s: %s", s->r->peer, s->m->reason);
	if (s->m->type != MSG_AGREE)
		return fail_set(why, FAIL_PEER, "%s: expected AGREE, got %s", s->r->peer,
				message_type_names[s->m->type]);
	if (!s->m->accept)
		return fail_set(why, FAIL_PEER, "%s: refused %s: %.240s", s->r->peer, s->r->name,
				s->m->reason);
	if (move_images_from_agree(&s->images, s->m, why))
		return -1;
	fault_point("vmmigrate.source.agreed");
	/* MOVING is on disk before the target can be READY: a target that asks later what became
	 * of this move must find a trace of it, since without one nothing is decided. */
	return lease_moving(s->lease, &s->r->move, s->r->peer, why);
}

/* ---- pages ---- */

static int source_precopy(struct source *s, struct fail *why)
{
	const struct precopy_options po = {
		.max_downtime_ns   = s->o->max_downtime_ns,
		.max_rounds        = s->o->max_rounds,
		.pause_by_sink     = true,
		.pause_deadline_ms = (unsigned)(s->o->pause_deadline_ns / 1000000),
		.progress          = &progress_ops,
		.progress_arg      = s->progress,
		.batch_pages       = s->o->level ? BATCH_PAGES : SENDER_BATCH,
		/* the target takes a source that is silent for WIRE_IDLE_NS for lost */
		.silence_ns        = WIRE_IDLE_NS / 3,
	};
	struct precopy_sink sink;

	if (sender_open(&s->sender, s->wire, s->lease, s->o->level, s->o->threads, why))
		return -1;
	sink = (struct precopy_sink){
		.batch = sender_batch, .pages = sender_pages, .round_end = sender_round_end,
		.tick = sender_tick, .arg = s->sender,
	};
	/* Images come before the first ROUND: docs/protocol.md 5. */
	if (move_images_send(&s->images, s->wire, sender_tick, s->sender, why) ||
	    precopy_open(&s->precopy, s->lease, &po, &sink, why))
		return -1;
	return precopy_rounds(s->precopy, why);
}

static int source_pause(struct source *s, struct fail *why)
{
	sender_unpace(s->sender);
	s->paused = true;
	if (precopy_pause(s->precopy, &s->r->move, &s->state, &s->state_len, why))
		return -1;
	fault_point("vmmigrate.source.paused");
	if (precopy_drain(s->precopy, why))
		return -1;
	if (s->o->audit && sender_audit(s->sender, why))
		return -1;
	s->r->audited = s->o->audit;
	return 0;
}

/* A VM that its user has stopped arrives stopped. */
static int source_stopped_by_user(struct source *s, struct fail *why)
{
	bool stopped;

	if (find_holder(s->control, "user", &stopped, why))
		return -1;
	s->m->type = MSG_STOPPED;
	return stopped ? wire_send_message(s->wire, s->m, why) : 0;
}

static int source_state(struct source *s, struct fail *why)
{
	/* The last moment to notice signals, an ABORT or a lost lease cheaply: once STATE is sent
	 * the target may be READY, and must be told ABORT until it replies. */
	if (source_stopped_by_user(s, why) || sender_tick(s->sender, why))
		return -1;
	s->may_be_ready = true;
	if (wire_send(s->wire, CHUNK_STATE, s->state, s->state_len, false, why) ||
	    wire_recv_message(s->wire, s->m, WIRE_ACK_NS, why))
		return -1;
	if (s->m->type == MSG_ABORT)
		return fail_set(why, FAIL_PEER, "%s: %s", s->r->peer, s->m->reason);
	if (s->m->type != MSG_READY || !uuid_equal(&s->m->move, &s->r->move) ||
	    !uuid_equal(&s->m->vm, &s->r->vm))
		return fail_set(why, FAIL_PEER, "%s: expected READY, got %s", s->r->peer,
				message_type_names[s->m->type]);
	fault_point("vmmigrate.source.ready-heard");
	return 0;
}

/* ---- release: the point of no return ---- */

static int source_release(struct source *s, struct fail *why)
{
	if (lease_release(s->lease, &s->r->move, why)) {
		if (s->lease->lost == FAIL_NONE) {
			/* Refused, for whatever reason: the VM continues here for certain. */
			why->kind = FAIL_PEER;
			return -1;
		}
		/* Without the lease a `release` that vmrun has not yet read can never take
		 * effect. */
		lease_close(s->lease);
		s->lease = NULL;
		if (outcome_release(&s->r->vm, &s->r->move, s->r->name, why))
			return -1;
	}
	s->released = true;
	fault_point("vmmigrate.source.released");
	return 0;
}

static void source_go_init(const struct source *s, struct source_handover *h)
{
	*h = (struct source_handover){
		.vm = s->r->vm, .move = s->r->move, .peer = s->o->to,
		.insecure = s->o->insecure, .generation = s->generation,
		.timeout_ns = s->o->handover_timeout_ns, .lease = s->lease,
		.stop_fd = s->stop_fd, .lock_fd = -1,
	};
	snprintf(h->name, sizeof(h->name), "%s", s->r->name);
}

static int source_go(struct source *s, struct fail *why)
{
	struct source_handover h;

	source_go_init(s, &h);
	h.wire   = s->wire;
	s->wire  = NULL;
	s->r->bytes = h.wire->sent;
	int rc = source_handover_run(&h, why);

	s->r->downtime_ns = h.running_ns - s->r->pages.pause_begin_ns;
	s->r->alive       = h.alive;
	snprintf(s->r->note, sizeof(s->r->note), "%s", h.note);
	return rc;
}

/* ---- the stages, in order; what a failure undoes is in source_abort ---- */

static int (*const source_stages[])(struct source *s, struct fail *why) = {
	source_open,
	source_agree,
	source_precopy,
	source_pause,
	source_state,
	source_release,      /* after this nothing can be undone */
	source_go,
};

/* ABORT on the connection of the move, which may still work; once STATE was sent also waits for the
 * reply. True: the target has confirmed that it does not have the VM. */
static bool source_send_abort(struct source *s, const char *reason)
{
	struct fail ignored;
	bool        told = false;

	if (!s->wire)
		return false;
	/* What is watched, a signal or the lease, is why we abort. */
	s->wire->watch[0].fd = s->wire->watch[1].fd = -1;
	s->m->type     = MSG_ABORT;
	s->m->vm       = s->r->vm;
	s->m->move     = s->r->move;
	s->m->has_move = true;
	s->m->generation = s->generation;
	snprintf(s->m->reason, sizeof(s->m->reason), "%s", reason);
	/* Messages that were on their way, such as READY, may come before the reply. Both limits
	 * keep a target that goes on sending from delaying our exit; source_abort() then tries on
	 * a new connection. */
	if (wire_send_message(s->wire, s->m, &ignored) == 0 && s->may_be_ready)
		for (int i = 0; i < SOURCE_ABORT_MESSAGES && !told; i++) {
			if (wire_recv_message(s->wire, s->m, SOURCE_ABORT_NS, &ignored))
				break;
			told = s->m->type == MSG_RETURNED || s->m->type == MSG_ABORT;
		}
	wire_close(s->wire);
	s->wire = NULL;
	return told;
}

/* Undoes what the stages before the release did. First the VM resumes and the lease ends, then the
 * target is told: ABORT may be said only of a move that can no longer be released. */
static void source_abort(struct source *s, struct fail *why)
{
	struct fail     ignored;
	struct source_handover h;
	char            reason[400];

	fail_text(why, reason, sizeof(reason));
	if (s->lease && s->lease->lost == FAIL_NONE) {
		if (s->paused)
			lease_resume(s->lease, &ignored);
		lease_finish(s->lease, false, &ignored);
	}
	lease_close(s->lease);
	s->lease = NULL;
	/* It may have been released: ABORT could make the target discard the only copy. */
	if (why->kind == FAIL_OWNER)
		return;
	if (!source_send_abort(s, reason) && s->may_be_ready) {
		source_go_init(s, &h);
		source_handover_abort(&h, reason);
	}
	if (s->r->name[0] && why->kind != FAIL_ENDED &&
	    find_vm(&s->r->vm, NULL, &ignored) == FOUND_NONE)
		fail_set(why, FAIL_ENDED, "%s: vmrun has exited (%.240s)", s->r->name, reason);
}

int source_move(const struct options *o, int stop_fd, struct progress *progress,
		struct source_result *r, struct fail *why)
{
	struct source s     = { .o = o, .stop_fd = stop_fd, .progress = progress, .r = r };
	uint64_t      begin = io_now_ns();
	int           rc    = 0;

	address_text(&o->to, r->peer);
	s.m       = calloc(1, sizeof(*s.m));
	s.machine = calloc(1, sizeof(*s.machine));
	if (!s.m || !s.machine)
		rc = fail_sys(why, "move");
	else
		rc = uuid_random(&r->move, why);
	for (size_t i = 0; i < sizeof(source_stages) / sizeof(source_stages[0]) && rc == 0; i++) {
		rc = source_stages[i](&s, why);
		if (s.precopy)
			r->pages = *precopy_report(s.precopy);
	}
	if (rc && !s.released && s.m)
		source_abort(&s, why);
	r->total_ns = io_now_ns() - begin;
	r->resends  = s.sender ? sender_resends(s.sender) : 0;
	precopy_close(s.precopy);
	sender_close(s.sender);
	move_images_close(&s.images);
	wire_close(s.wire);
	answer_close(s.answer);
	lease_close(s.lease);
	control_close(s.control);
	free(s.config);
	free(s.state);
	free(s.machine);
	free(s.m);
	return rc;
}
