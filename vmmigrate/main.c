/* SPDX-License-Identifier: MIT */
#include "libcommon/fail.h"
#include "libcommon/text.h"
#include "libcommon/units.h"
#include "vmmigrate/listen.h"
#include "vmmigrate/options.h"
#include "vmmigrate/source.h"
#include "vmmigrate/status.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Signals are read from a descriptor by whoever waits for the peer: none interrupts a step of the
 * hand-over. */
static int main_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void move_report_json(const struct source_result *r, const char *move)
{
	progress_json(stderr, json_pack("{s:s, s:o, s:o, s:s, s:I, s:b, s:I, s:I, s:I, s:I, s:b, "
					"s:f, s:f, s:b}",
					"event", "moved", "vm", text_json(r->name),
					"peer", text_json(r->peer), "move", move,
					"rounds", (json_int_t)r->pages.nrounds,
					"converged", (int)r->pages.converged,
					"pages", (json_int_t)r->pages.pages_total,
					"pages_paused", (json_int_t)r->pages.pages_paused,
					"bytes", (json_int_t)r->bytes,
					"resent", (json_int_t)r->resends,
					"audited", (int)r->audited,
					"downtime_ms", progress_ms(r->downtime_ns),
					"total_ms", progress_ms(r->total_ns),
					"alive", (int)r->alive));
}

static void move_report(const struct options *o, const struct source_result *r)
{
	char bytes[UNITS_TEXT], down[UNITS_TEXT], total[UNITS_TEXT], move[UUID_TEXT];

	uuid_text(&r->move, move);
	if (o->progress == PROGRESS_JSON) {
		move_report_json(r, move);
		return;
	}
	fprintf(stderr,
		"%s: moved to %s: %" PRIu32 " round%s, %s, downtime %s, total time %s%s%s\n",
		r->name, r->peer, r->pages.nrounds, r->pages.nrounds == 1 ? "" : "s",
		units_bytes(r->bytes, bytes), units_ms(r->downtime_ns, down),
		units_ms(r->total_ns, total), r->audited ? ", audited" : "",
		r->pages.converged ? "" :
		"; not converged: the guest dirties memory faster than the link can send");
}

static int move_main(const struct options *o)
{
	struct source_result r   = { .vm = { { 0 } } };
	struct fail          why = { 0 };
	struct progress      progress;
	int                  stop_fd = main_signals(), rc;

	progress_open(&progress, o->progress, stderr, o->vm);
	rc = source_move(o, stop_fd, &progress, &r, &why);
	progress_clear(&progress);
	if (rc == 0) {
		if (!o->quiet)
			move_report(o, &r);
		if (r.note[0])
			fprintf(stderr, "vmmigrate: %s: %s\n", r.name, r.note);
		if (r.alive)
			return 0;
		fprintf(stderr, "vmmigrate: %s: owned by %s, where its vmrun has exited\n", r.name,
			r.peer);
		return fail_status(FAIL_OWNER);
	}
	struct signalfd_siginfo si;
	int                     status = fail_report("vmmigrate", &why);

	/* Interrupted, and the VM runs on: say which signal. In doubt stays in doubt. */
	if (r.interrupted && why.kind == FAIL_PEER &&
	    read(stop_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		return 128 + (int)si.ssi_signo;
	return status;
}

int main(int argc, char **argv)
{
	struct options o;
	struct fail    why = { 0 };
	int            rc  = -1;

	options_parse(&o, argc, argv);      /* prints usage and exits by itself */
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* Progress and log go to pipes: a reader that has gone must not end a move. */
	signal(SIGPIPE, SIG_IGN);
	switch (o.verb) {
	case VERB_MOVE:
		return move_main(&o);
	case VERB_LISTEN:
		rc = listen_run(&o, &why);
		break;
	case VERB_STATUS:
		rc = status_run(&o, &why);
		break;
	case VERB_RESUME:
		rc = resume_run(&o, main_signals(), &why);
		break;
	case VERB_RESOLVE:
		rc = resolve_run(&o, &why);
		break;
	}
	return rc < 0 ? fail_report("vmmigrate", &why) : rc;
}
