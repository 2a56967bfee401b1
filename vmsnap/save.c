#include "vmsnap/save.h"

#include "format/machine.h"
#include "format/snapshot.h"
#include "libcommon/control.h"
#include "libcommon/fault.h"
#include "libcommon/io.h"
#include "libcommon/version.h"
#include "vmsnap/interrupt.h"
#include "vmsnap/publish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Order of a save. Nothing waits for the file or pipe between the pause and the resume:
 *
 *   lease, configuration, rounds while the VM runs
 *   pause, state, last sync, the rest into our own buffer, resume
 *   the buffered rest, state and END to the file; fsync
 *   finish: vmrun confirms that the lease was never broken
 *   the file gets its name, its folder is fsynced
 *   commit: vmrun may forget what changed before this snapshot
 *
 * With --stop-after the resume is left out: what follows happens while the VM stands still, then it quits. Any failure
 * closes the lease, and with it ends the pause. */

#define SAVE_QUIT_MS 30000u

struct save {
	const struct options *o;
	struct save_report   *r;
	struct control       *control;
	struct lease         *lease;
	struct precopy       *precopy;
	struct snap_writer   *writer;
	struct publish        file;          /* fd -1 for standard output */
	const char           *what;          /* file's name, for messages */
	uint8_t              *config, *state;
	size_t                config_len, state_len;
};

static int save_pages(void *arg, const struct page_batch *b, struct fail *why)
{
	return snap_writer_pages(((struct save *)arg)->writer, b, why);
}

static int save_round_end(void *arg, uint32_t round, struct fail *why)
{
	if (snap_writer_round_end(((struct save *)arg)->writer, round, why))
		return -1;
	fault_point("vmsnap.round");
	return 0;
}

static void save_abandon(void *arg)
{
	publish_abandon(arg);
}

static int save_open_file(struct save *s, struct fail *why)
{
	int rc;

	s->file.fd = s->file.dir = -1;
	s->what    = "standard output";
	if (!s->o->file)
		return 0;
	interrupt_hold();
	rc = publish_open(&s->file, s->o->file, s->o->force, why);
	interrupt_release(save_abandon, &s->file);
	s->what = s->o->file;
	return rc;
}

static int save_open_lease(struct save *s, struct fail *why)
{
	char holder[32];

	snprintf(holder, sizeof(holder), "vmsnap[%ld]", (long)getpid());
	if (control_open(&s->control, s->o->vm, why) || lease_open(&s->lease, s->control, LEASE_KIND_LOG, holder, why))
		return -1;
	/* The lease lives without the connection; events that nobody reads would fill it. */
	control_close(s->control);
	s->control = NULL;
	return lease_config(s->lease, &s->config, &s->config_len, why);
}

static int save_header(struct save *s, struct snap_header *h, struct fail *why)
{
	struct machine *m = malloc(sizeof(*m));
	int             rc;

	if (!m)
		return fail_sys(why, "configuration");
	rc = machine_read(m, s->config, s->config_len, why);
	if (rc == 0) {
		*h = (struct snap_header){
			.required   = s->o->state_only ? SNAP_STATE_ONLY : 0,
			.arch       = m->type == MACHINE_X86_64_1 ? 62 : 243,     /* ELF e_machine */
			.vm         = m->uuid,
			.snapshot   = s->r->snapshot,
			.created_ns = io_realtime_ns(),
		};
		snprintf(h->name, sizeof(h->name), "%s", m->name);
		snprintf(h->creator, sizeof(h->creator), "vmferry %s", VMFERRY_VERSION);
		snprintf(s->r->vm, sizeof(s->r->vm), "%s", m->name);
	}
	free(m);
	return rc;
}

static int save_open_writer(struct save *s, struct fail *why)
{
	struct snap_header h;
	int                fd = s->o->file ? s->file.fd : STDOUT_FILENO;

	if (uuid_random(&s->r->snapshot, why) || save_header(s, &h, why))
		return -1;
	if (snap_writer_open(&s->writer, fd, &h, s->o->level, s->what, why))
		return -1;
	return snap_writer_config(s->writer, s->config, s->config_len, why);
}

/* Up to the pause, and through it as far as memory goes. */
static int save_copy(struct save *s, struct progress *progress, struct fail *why)
{
	const struct precopy_sink    sink = { .pages = save_pages, .round_end = save_round_end, .arg = s };
	const struct precopy_options po = {
		.max_downtime_ns   = s->o->max_downtime_ns,
		.max_rounds        = s->o->max_rounds,
		.pause_buffer      = s->o->pause_buffer,
		.pause_deadline_ms = s->o->pause_deadline_ms,
		.progress          = &progress_ops,
		.progress_arg      = progress,
	};

	if (s->o->state_only) {
		s->r->copy.converged      = true;
		s->r->copy.pause_begin_ns = io_now_ns();
		if (lease_pause(s->lease, s->o->pause_deadline_ms, &s->r->snapshot, why))
			return -1;
		return lease_state(s->lease, &s->state, &s->state_len, why);
	}
	if (precopy_open(&s->precopy, s->lease, &po, &sink, why) || precopy_rounds(s->precopy, why) ||
	    precopy_pause(s->precopy, &s->r->snapshot, &s->state, &s->state_len, why))
		return -1;
	s->r->copy = *precopy_report(s->precopy);
	return 0;
}

static int save_resume(struct save *s, struct fail *why)
{
	fault_point("vmsnap.paused");
	if (s->o->stop_after)
		return 0;
	if (lease_resume(s->lease, why))
		return -1;
	s->r->pause_ns = io_now_ns() - s->r->copy.pause_begin_ns;
	fault_point("vmsnap.resumed");
	return 0;
}

static int save_complete(struct save *s, struct fail *why)
{
	if (s->precopy && precopy_drain(s->precopy, why))
		return -1;
	if (snap_writer_state(s->writer, s->state, s->state_len, why) || snap_writer_end(s->writer, s->r->content, why))
		return -1;
	s->r->bytes = snap_writer_bytes(s->writer);
	return lease_finish(s->lease, true, why);
}

/* Gives the file its name, or the pipe its end. From here on signals wait: what is published is published. */
static int save_publish(struct save *s, struct fail *why)
{
	fault_point("vmsnap.before-publish");
	interrupt_hold();
	if (s->o->file) {
		if (publish_finish(&s->file, why))
			return -1;
	} else if (close(STDOUT_FILENO)) {
		return fail_sys(why, "standard output: close");
	}
	s->r->published = true;
	fault_point("vmsnap.published");
	return 0;
}

static void save_commit(struct save *s)
{
	/* Memory is not in it: the changes since the last whole snapshot still count from there. */
	if (s->o->state_only)
		return;
	fault_point("vmsnap.before-commit");
	s->r->committed = lease_commit(s->lease, &s->r->snapshot, &s->r->commit_why) == 0;
}

/* The VM ends where it stands. Our lease is kept until the VM has gone: without it it would run. */
static int save_stop(struct save *s, struct fail *why)
{
	json_t *event;

	if (!s->o->stop_after)
		return 0;
	if (control_open(&s->control, s->o->vm, why) || control_execute(s->control, "quit", NULL, NULL, NULL, NULL, SAVE_QUIT_MS, why)) {
		if (why->kind != FAIL_ENDED)
			return fail_prefix(why, "%s is complete, but the VM would not quit and goes on: ", s->what);
	} else {
		while (control_event(s->control, &event, SAVE_QUIT_MS, why) == 0)
			json_decref(event);
		if (why->kind != FAIL_ENDED)
			return fail_prefix(why, "%s is complete, but the VM did not end: ", s->what);
	}
	s->r->stopped  = true;
	s->r->pause_ns = io_now_ns() - s->r->copy.pause_begin_ns;
	return 0;
}

int save_run(const struct options *o, struct progress *progress, struct save_report *r, struct fail *why)
{
	uint64_t    begin = io_now_ns();
	struct save s = { .o = o, .r = r };
	int         rc = -1;

	*r = (struct save_report){ 0 };
	snprintf(r->vm, sizeof(r->vm), "%s", o->vm);
	if (save_open_file(&s, why) || save_open_lease(&s, why) || save_open_writer(&s, why))
		goto out;
	if (save_copy(&s, progress, why) || save_resume(&s, why))
		goto out;
	if (save_complete(&s, why) || save_publish(&s, why))
		goto out;
	save_commit(&s);
	rc = save_stop(&s, why);
out:
	lease_close(s.lease);         /* first of all: it may hold the pause */
	if (o->file)
		publish_abandon(&s.file);
	snap_writer_close(s.writer);
	precopy_close(s.precopy);
	control_close(s.control);
	publish_close(&s.file);
	free(s.config);
	free(s.state);
	r->total_ns = io_now_ns() - begin;
	return rc;
}
