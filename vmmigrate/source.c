/* SPDX-License-Identifier: MIT */
#include "vmmigrate/source.h"

#include "format/tree/machine.h"
#include "libcommon/client/control.h"
#include "libcommon/fault.h"
#include "libcommon/io.h"
#include "libcommon/client/moves.h"
#include "libcommon/version.h"
#include "vmmigrate/answer.h"
#include "vmmigrate/find.h"
#include "vmmigrate/handover.h"
#include "vmmigrate/move_images.h"
#include "vmmigrate/sender.h"
#include "vmmigrate/outcome.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOURCE_GAP_PAGES 512u                 /* holes smaller than this do not split an extent */
#define SOURCE_JUDGE_NS  (10 * WIRE_SECOND)   /* vmrun gets that long to say what became of a release */

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
	bool                  may_be_ready;      /* STATE has been sent: the target may have recorded READY */
	bool                  released;
};

static int source_stopped(void *arg, struct fail *why)
{
	struct source *s = arg;

	s->r->interrupted = true;
	return fail_set(why, FAIL_PEER, "interrupted");
}

/* vmrun says nothing by itself but that the lease is lost: the next call hears why. */
static int source_lost(void *arg, struct fail *why)
{
	struct source *s = arg;

	if (s->lease->flushing)     /* its answer, or it hears why */
		return 0;
	return lease_sync(s->lease, NULL, NULL, why);
}

/* ---- take: the lease, who the VM is, what its record says ---- */

/* What the record of the VM says of earlier moves: nothing that is still open. */
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

static int source_take(struct source *s, struct fail *why)
{
	/* First: its process must not inherit the lease, which would live as long as it. */
	if (s->o->answer && answer_open(&s->answer, &s->o->answer_at, s->o->insecure, why))
		return -1;
	if (control_open(&s->control, s->o->vm, why) || find_identity(s->control, &s->r->vm, s->r->name, why))
		return -1;
	if (source_record(s, why) || find_lease(&s->lease, s->control, LEASE_KIND_LOG, why) ||
	    lease_config(s->lease, &s->config, &s->config_len, why))
		return -1;
	return machine_read(s->machine, s->config, s->config_len, why) || move_images_offer(&s->images, s->lease, s->machine, why) ? -1 : 0;
}

/* ---- agree ---- */

/* Where a region's memory is populated, roughly; what does not fit the message is left out: it is a hint. */
static void source_extents(struct message *m, const struct lease_ram *ram)
{
	off_t at = 0, end = (off_t)ram->r.size;

	while (!ram->r.backing && at < end && m->nextents < MESSAGE_EXTENTS) {
		off_t data = lseek(ram->fd, at, SEEK_DATA), hole = data < 0 ? -1 : lseek(ram->fd, data, SEEK_HOLE);

		if (hole < 0)
			return;
		uint64_t               first = (uint64_t)data / PAGE_SIZE_4K, last = ((uint64_t)hole + PAGE_SIZE_4K - 1) / PAGE_SIZE_4K;
		struct message_extent *e     = m->nextents ? &m->extents[m->nextents - 1] : NULL;

		if (e && e->region == ram->r.id && first - (e->first + e->count) < SOURCE_GAP_PAGES)
			e->count = last - e->first;
		else
			m->extents[m->nextents++] = (struct message_extent){ .region = ram->r.id, .first = first, .count = last - first };
		at = hole;
	}
}

static void source_hello(struct source *s)
{
	struct message *m = s->m;
	char            ask[ADDRESS_TEXT_MAX];

	address_text(s->answer ? answer_where(s->answer) : &s->o->ask, ask);
	memset(m, 0, sizeof(*m));
	m->type       = MSG_HELLO;
	m->vm         = s->r->vm;
	m->move       = s->r->move;
	m->generation = s->generation;
	m->page_size  = PAGE_SIZE_4K;
	m->audit      = s->o->audit;
	snprintf(m->name, sizeof(m->name), "%s", s->r->name);
	snprintf(m->creator, sizeof(m->creator), "vmferry %s", VMFERRY_VERSION);
	snprintf(m->ask, sizeof(m->ask), "%.255s", ask);
	move_images_to_hello(&s->images, m);
	if (s->o->audit)
		snprintf(m->features[m->nfeatures++], sizeof(m->features[0]), "audit");
	if (s->o->level)
		snprintf(m->features[m->nfeatures++], sizeof(m->features[0]), "zstd");
	for (uint32_t i = 0; i < s->lease->nrams; i++) {
		const struct lease_ram *ram = &s->lease->rams[i];
		struct stat             st  = { 0 };

		source_extents(m, ram);
		m->regions[m->nregions++] = (struct message_region){
			.id = ram->r.id, .size = ram->r.size,
			.populated = !ram->r.backing && fstat(ram->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : ram->r.size,
		};
	}
}

static int source_agree(struct source *s, struct fail *why)
{
	if (wire_connect(&s->wire, &s->o->to, s->o->insecure, why))
		return -1;
	s->wire->rate     = s->o->bandwidth;
	s->wire->watch[0] = (struct wire_watch){ .fd = s->stop_fd, .fn = source_stopped, .arg = s };
	s->wire->watch[1] = (struct wire_watch){ .fd = s->lease->fd, .fn = source_lost, .arg = s };
	source_hello(s);
	if (wire_send_message(s->wire, s->m, why) || wire_send(s->wire, CHUNK_CONFIG, s->config, s->config_len, why) ||
	    wire_recv_message(s->wire, s->m, WIRE_AGREE_NS, why))
		return -1;
	if (s->m->type == MSG_ABORT)
		return fail_set(why, FAIL_PEER, "%s: %s", s->r->peer, s->m->reason);
	if (s->m->type != MSG_AGREE)
		return fail_set(why, FAIL_PEER, "%s: expected AGREE, got %s", s->r->peer, message_type_names[s->m->type]);
	if (!s->m->accept)
		return fail_set(why, FAIL_PEER, "%s: refused %s: %.240s", s->r->peer, s->r->name,
				s->m->reason);
	if (move_images_from_agree(&s->images, s->m, why))
		return -1;
	fault_point("vmmigrate.source.agreed");
	/* On disk before the target can be READY: whoever asks later what became of this move finds a trace of it. */
	return lease_moving(s->lease, &s->r->move, s->r->peer, why);
}

/* ---- pages ---- */

static int source_precopy(struct source *s, struct fail *why)
{
	struct precopy_sink    sink;
	struct precopy_options po = {
		.max_downtime_ns = s->o->max_downtime_ns, .max_rounds = s->o->max_rounds, .pause_by_sink = true,
		.pause_deadline_ms = (unsigned)(s->o->pause_deadline_ns / 1000000), .progress = &progress_ops, .progress_arg = s->progress,
		.silence_ns = WIRE_IDLE_NS / 3,
	};

	if (sender_open(&s->sender, s->wire, s->lease, s->o->level, why))
		return -1;
	sink = (struct precopy_sink){ .pages = sender_pages, .round_end = sender_round_end, .tick = sender_tick, .arg = s->sender };
	if (po.pause_deadline_ms == 0)
		po.pause_deadline_ms = 1;
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
	/* Last look at the user and at vmrun: from here on the target may stand in doubt. */
	if (source_stopped_by_user(s, why) || sender_tick(s->sender, why))
		return -1;
	s->may_be_ready = true;
	if (wire_send(s->wire, CHUNK_STATE, s->state, s->state_len, why) || wire_recv_message(s->wire, s->m, WIRE_ACK_NS, why))
		return -1;
	if (s->m->type == MSG_ABORT)
		return fail_set(why, FAIL_PEER, "%s: %s", s->r->peer, s->m->reason);
	if (s->m->type != MSG_READY || !uuid_equal(&s->m->move, &s->r->move) || !uuid_equal(&s->m->vm, &s->r->vm))
		return fail_set(why, FAIL_PEER, "%s: expected READY, got %s", s->r->peer, message_type_names[s->m->type]);
	fault_point("vmmigrate.source.ready-heard");
	return 0;
}

/* ---- release: the point of no return ---- */

/* `release` was not answered. What became of it? 0: released; -1: certainly not, or FAIL_OWNER when nobody can tell. */
static int source_release_lost(struct source *s, struct fail *why)
{
	uint64_t        until = io_now_ns() + SOURCE_JUDGE_NS;
	struct judged  *j     = calloc(1, sizeof(*j));
	struct fail     first = *why;
	enum move_state state;
	uint64_t        of;
	int             rc = -1;

	/* Closing the channel takes back what vmrun has not yet read of it; until it has seen that, it says MOVING. */
	lease_close(s->lease);
	s->lease = NULL;
	do {
		state = MOVE_STATES;
		if (j && find_judged(&s->r->vm, false, j, why) == 0) {
			if (!j->found || !moves_find(&j->r, &s->r->move, &state, &of))
				state = MOVE_STATES;
			control_close(j->c);
		}
	} while (state == MOVE_MOVING && j->alive && io_now_ns() < until && poll(NULL, 0, 20) == 0);
	if (state == MOVE_RELEASED)
		rc = 0;
	else if (state == MOVE_ABORTED)
		*why = first;
	/* A vmrun that has died while it was MOVING can't have released it, and nobody else can. */
	else if (state == MOVE_MOVING && !j->alive && outcome_without_vmrun(&j->r, MOVE_MOVING, MOVE_ABORTED, why) == 0)
		*why = first;
	else
		fail_set(why, FAIL_OWNER,
			 "%s: unresolved: no reply from vmrun to the release (%.160s); "
			 "see vmmigrate status %s", s->r->name, first.what, s->r->name);
	free(j);
	return rc;
}

static int source_release(struct source *s, struct fail *why)
{
	if (lease_release(s->lease, &s->r->move, why)) {
		if (s->lease->lost == FAIL_NONE) {
			why->kind = FAIL_PEER;      /* refused, whatever for: it runs on here, nothing is in doubt */
			return -1;
		}
		if (source_release_lost(s, why))
			return -1;
	}
	s->released = true;
	fault_point("vmmigrate.source.released");
	return 0;
}

static void source_handover_init(const struct source *s, struct handover *h)
{
	*h = (struct handover){ .vm = s->r->vm, .move = s->r->move, .peer = s->o->to, .insecure = s->o->insecure,
				.generation = s->generation, .timeout_ns = s->o->handover_timeout_ns, .lease = s->lease,
				.stop_fd = s->stop_fd, .lock_fd = -1 };
	snprintf(h->name, sizeof(h->name), "%s", s->r->name);
}

static int source_handover(struct source *s, struct fail *why)
{
	struct handover h;

	source_handover_init(s, &h);
	h.wire   = s->wire;
	s->wire  = NULL;
	s->r->bytes = h.wire->sent;
	int rc = handover_run(&h, why);

	s->r->downtime_ns = h.running_ns - s->r->pages.pause_begin_ns;
	s->r->alive       = h.alive;
	snprintf(s->r->note, sizeof(s->r->note), "%s", h.note);
	return rc;
}

/* ---- the stages, in order; what a failure undoes is in source_give_up ---- */

static const struct stage {
	const char *name;
	int       (*run)(struct source *s, struct fail *why);
} stages[] = {
	{ "take",     source_take     },
	{ "agree",    source_agree    },
	{ "pre-copy", source_precopy  },
	{ "pause",    source_pause    },
	{ "state",    source_state    },
	{ "release",  source_release  },      /* past this nothing is undone */
	{ "handover", source_handover },
};

/* The wire may still work: then the target hears there that it is off, and says that it has discarded. */
static bool source_tell(struct source *s, const char *reason)
{
	struct fail ignored;
	bool        told = false;

	if (!s->wire)
		return false;
	s->wire->watch[0].fd = s->wire->watch[1].fd = -1;
	s->m->type     = MSG_ABORT;
	s->m->vm       = s->r->vm;
	s->m->move     = s->r->move;
	s->m->has_move = true;
	s->m->generation = s->generation;
	snprintf(s->m->reason, sizeof(s->m->reason), "%s", reason);
	if (wire_send_message(s->wire, s->m, &ignored) == 0 && s->may_be_ready)
		for (int i = 0; i < 4 && !told; i++) {
			if (wire_recv_message(s->wire, s->m, 2 * WIRE_SECOND, &ignored))
				break;
			told = s->m->type == MSG_RETURNED || s->m->type == MSG_ABORT;
		}
	wire_close(s->wire);
	s->wire = NULL;
	return told;
}

/* First the VM runs again, then the target hears that it is off: a lease that is gone can't be released. */
static void source_give_up(struct source *s, struct fail *why)
{
	struct fail     ignored;
	struct handover h;
	char            reason[400];

	fail_text(why, reason, sizeof(reason));
	if (s->lease && s->lease->lost == FAIL_NONE) {
		if (s->paused)
			lease_resume(s->lease, &ignored);
		lease_finish(s->lease, false, &ignored);
	}
	lease_close(s->lease);
	s->lease = NULL;
	if (why->kind == FAIL_OWNER)      /* not certain that it was not released: ABORT must not be said */
		return;
	if (!source_tell(s, reason) && s->may_be_ready) {
		source_handover_init(s, &h);
		handover_abort(&h, reason);
	}
	if (s->r->name[0] && why->kind != FAIL_ENDED && find_vm(&s->r->vm, NULL, &ignored) == FOUND_NONE)
		fail_set(why, FAIL_ENDED, "%s: vmrun has exited (%.240s)", s->r->name, reason);
}

int source_move(const struct options *o, int stop_fd, struct progress *progress, struct source_result *r, struct fail *why)
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
	for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]) && rc == 0; i++) {
		rc = stages[i].run(&s, why);
		if (s.precopy)
			r->pages = *precopy_report(s.precopy);
	}
	if (rc && !s.released && s.m)
		source_give_up(&s, why);
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
