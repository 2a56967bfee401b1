/* SPDX-License-Identifier: MIT */
#include "vmsnap/save.h"

#include "format/snapshot/snapshot.h"
#include "format/tree/machine.h"
#include "libcommon/client/control.h"
#include "libcommon/fault.h"
#include "libcommon/io.h"
#include "libcommon/version.h"
#include "vmsnap/destination.h"
#include "vmsnap/inuse.h"
#include "vmsnap/save_images.h"
#include "vmsnap/space.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Order of a save. Between the pause and the resume nothing waits for the file or pipe:
 *
 *   lease, configuration, images; rounds and disk flushes while the VM runs
 *   pause, state, last sync, the rest into the pause buffer, resume
 *   the pause buffer and the state to the file
 *   finish: vmrun confirms that the lease was never broken
 *   END to the file; fsync
 *   the file gets its name, its folder is fsynced
 *   commit: vmrun counts changes from this snapshot on
 *
 * END comes after the confirmation, since to a reader END means that all before it is valid.
 * Commit comes last: a snapshot that is not on disk must not be the base of the next.
 *
 * With --stop-after the resume is left out: what follows happens while the VM is paused. The
 * deadline of the pause is renewed from step to step, and QUIT by the lease is the last one: vmrun
 * carries it out only if the pause is unbroken. Any failure closes the lease, and with it ends the
 * pause. */

/* A vmrun that quits closes its disks, which may be flushed first. */
#define SAVE_QUIT_MS 30000u
/* Pages of a chunk to a pipe: 256 KiB, which the second-level cache holds. */
#define SAVE_PIPE_PAGES 64u

struct save {
	const struct options *o;
	struct save_report   *r;
	struct control       *control;
	struct lease         *lease;
	struct precopy       *precopy;
	struct snap_writer   *writer;
	struct space          space;
	struct save_images    images;        /* until they are written */
	bool                  begun;         /* save_begin */
	struct destination    to;
	uint8_t              *config, *state;
	size_t                config_len, state_len;
};

/* Before the first page, once logging has been started: space for all of it, then the images. */
static int save_begin(struct save *s, struct fail *why)
{
	uint64_t images = save_images_space(&s->images);
	uint64_t end    = snap_writer_bytes(s->writer) + images;

	if (s->begun)
		return 0;
	s->begun = true;
	/* With compression it will be less, by how much is unknown. */
	if (!s->o->level)
		end = space_forecast(s->lease) + images;
	if (space_need(&s->space, end, why) || save_images_write(&s->images, s->writer, why))
		return -1;
	s->r->images      = s->images.n;
	s->r->image_bytes = save_images_size(&s->images);
	save_images_close(&s->images);
	return 0;
}

static int save_pages(void *arg, struct page_batch *b, struct fail *why)
{
	struct save *s = arg;

	if (save_begin(s, why) ||
	    space_next(&s->space, snap_writer_bytes(s->writer), sizeof(*b), why))
		return -1;
	return snap_writer_pages(s->writer, b, why);
}

static struct page_batch *save_batch(void *arg, struct fail *why)
{
	struct save *s = arg;

	return snap_writer_batch(s->writer, why);
}

static int save_round_end(void *arg, uint32_t round, struct fail *why)
{
	struct save *s = arg;

	(void)round;      /* the format counts by itself, from 0 too */
	if (snap_writer_round_end(s->writer, why))
		return -1;
	/* Too many runs for an index: a save that cannot be completed fails before the pause. */
	if (!precopy_report(s->precopy)->pause_begin_ns && snap_writer_index_check(s->writer, why))
		return -1;
	fault_point("vmsnap.round");
	return 0;
}

static int save_open_lease(struct save *s, struct fail *why)
{
	char holder[32];

	snprintf(holder, sizeof(holder), "vmsnap[%ld]", (long)getpid());
	if (control_open(&s->control, s->o->vm, why) ||
	    lease_open(&s->lease, s->control, LEASE_KIND_LOG, holder, why))
		return -1;
	return lease_config(s->lease, &s->config, &s->config_len, why);
}

static int save_header(struct save *s, struct snap_header *h, struct fail *why)
{
	struct machine *m = malloc(sizeof(*m));
	int             rc;

	if (!m)
		return fail_sys(why, "configuration");
	rc = machine_read(m, s->config, s->config_len, why);
	if (rc == 0)
		rc = inuse_check(&s->to.publish, s->control, m, why);
	if (rc == 0 && s->o->with_images)
		rc = save_images_fetch(&s->images, s->lease, m, why);
	if (rc == 0) {
		*h = (struct snap_header){
			.required   = s->o->state_only ? SNAP_STATE_ONLY : 0,
			.arch       = machine_types[m->type].elf_machine,
			.vm         = m->uuid,
			.snapshot   = s->r->snapshot,
			.created_ns = (int64_t)io_realtime_ns(),
		};
		snprintf(h->name, sizeof(h->name), "%s", m->name);
		snprintf(h->creator, sizeof(h->creator), "vmferry %s", VMFERRY_VERSION);
		snprintf(s->r->vm, sizeof(s->r->vm), "%s", m->name);
	}
	free(m);
	return rc;
}

/* No key, no failure: the restore then requires --trust-paths, or options for all paths. */
static void save_key(struct save *s)
{
	struct hostkey k;

	if (hostkey_open(&k, true, &s->r->auth_why))
		return;
	snap_writer_key(s->writer, &k);
	hostkey_clear(&k);
	s->r->authenticated = true;
}

static int save_open_writer(struct save *s, struct fail *why)
{
	struct snap_header h;

	if (uuid_random(&s->r->snapshot, why) || save_header(s, &h, why))
		return -1;
	/* The lease does not need the connection, whose buffer would fill with unread events. */
	control_close(s->control);
	s->control = NULL;
	space_open(&s->space, s->to.fd, s->to.what, s->o->layout == SNAP_FLAT);
	if (snap_writer_open(&s->writer, s->to.fd, &h,
			     &(struct snap_writer_options){ .layout = s->o->layout,
							    .level = s->o->level,
							    .threads = s->o->threads },
			     s->to.what, why))
		return -1;
	save_key(s);
	return snap_writer_config(s->writer, s->config, s->config_len, why);
}

/* Up to the pause, and through it as far as memory goes. */
static int save_copy(struct save *s, struct progress *progress, struct fail *why)
{
	const struct precopy_sink sink = {
		.batch = save_batch, .pages = save_pages, .round_end = save_round_end, .arg = s,
	};
	const struct precopy_options po = {
		.max_downtime_ns   = s->o->max_downtime_ns,
		.max_rounds        = s->o->max_rounds,
		/* To a pipe from the cache; a file and a compressor gain more from long pieces. */
		.batch_pages       = s->o->file || s->o->level ? BATCH_PAGES : SAVE_PIPE_PAGES,
		.pause_buffer      = s->o->pause_buffer,
		.pause_deadline_ms = (unsigned)(s->o->pause_deadline_ns / 1000000),
		.pause_renew       = s->o->stop_after,
		.progress          = &progress_ops,
		.progress_arg      = progress,
	};
	uint64_t took, fixed;

	if (s->o->state_only) {
		s->r->copy.converged = true;
		/* So that the pause need not flush the disks, unless this vmrun has no FLUSH. */
		if (lease_flush(s->lease, NULL, NULL, &took, &fixed, why) &&
		    why->kind != FAIL_VERSION)
			return -1;
		s->r->copy.pause_begin_ns = io_now_ns();
		if (lease_pause(s->lease, (unsigned)(s->o->pause_deadline_ns / 1000000),
				&s->r->snapshot, why))
			return -1;
		return lease_state(s->lease, &s->state, &s->state_len, why);
	}
	if (precopy_open(&s->precopy, s->lease, &po, &sink, why) || precopy_rounds(s->precopy, why))
		return -1;
	/* Without a round nothing has been written yet, and images are not for the pause. */
	if (save_begin(s, why) ||
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

/* With --stop-after: fails if the pause was broken, else the deadline starts anew. */
static int save_renew(struct save *s, struct fail *why)
{
	if (!s->o->stop_after)
		return 0;
	return lease_renew(s->lease, (unsigned)(s->o->pause_deadline_ns / 1000000), why);
}

static int save_complete(struct save *s, struct fail *why)
{
	if (s->precopy && precopy_drain(s->precopy, why))
		return -1;
	if (snap_writer_state(s->writer, s->state, s->state_len, why))
		return -1;
	if (save_renew(s, why) || lease_finish(s->lease, true, why))
		return -1;
	if (snap_writer_end(s->writer, &s->r->digests, why))
		return -1;
	s->r->bytes     = snap_writer_bytes(s->writer);
	s->r->encode_ns = snap_writer_encode_ns(s->writer);
	s->r->wait_ns   = snap_writer_wait_ns(s->writer);
	s->r->nlevels   = snap_writer_levels(s->writer, s->r->levels);
	if (s->precopy)
		s->r->copy = *precopy_report(s->precopy);      /* with what the drain took */
	space_trim(&s->space, s->r->bytes);
	return 0;
}

static int save_publish(struct save *s, struct fail *why)
{
	fault_point("vmsnap.before-publish");
	if (s->o->file && save_renew(s, why))
		return -1;
	if (destination_publish(&s->to, why))
		return -1;
	s->r->published = true;
	fault_point("vmsnap.published");
	return 0;
}

static int save_commit(struct save *s, struct fail *why)
{
	int rc;

	/* Without memory it is no base: changes still count from the last complete snapshot. */
	if (s->o->state_only)
		return 0;
	fault_point("vmsnap.before-commit");
	rc = lease_commit(s->lease, &s->r->snapshot, why);
	s->r->committed  = rc == 0;
	s->r->commit_why = *why;
	fault_point("vmsnap.committed");
	return rc;
}

/* The VM ends where it was paused. The connection shows when vmrun has exited; without one the
 * reply must do. */
static int save_quit(struct save *s, struct fail *why)
{
	json_t *event;
	bool    watched = control_open(&s->control, s->o->vm, why) == 0;

	if (lease_quit(s->lease, why))
		return -1;
	while (watched && control_event(s->control, &event, SAVE_QUIT_MS, why) == 0)
		json_decref(event);
	return !watched || why->kind == FAIL_ENDED ? 0 : -1;
}

/* What fails here leaves a complete snapshot. Without --stop-after the save has succeeded all
 * the same, and main reports what was not done. FAIL_ENDED is success: a VM that ended while it
 * was paused would have lost the lease before, so it is our QUIT that ended it. */
static int save_finish(struct save *s, struct fail *why)
{
	if (!s->o->stop_after) {
		save_commit(s, why);
		return 0;
	}
	if ((save_commit(s, why) || save_quit(s, why)) && why->kind != FAIL_ENDED) {
		why->kind = FAIL_PEER;
		return fail_prefix(why, "%.90s: snapshot complete, but the VM was not stopped: ",
				   s->to.what);
	}
	s->r->stopped  = true;
	s->r->pause_ns = io_now_ns() - s->r->copy.pause_begin_ns;
	return 0;
}

int save_run(const struct options *o, struct progress *progress, struct save_report *r,
	     struct fail *why)
{
	uint64_t    begin = io_now_ns();
	struct save s = { .o = o, .r = r, .to = DESTINATION_NONE };
	int         rc = -1;

	*r = (struct save_report){ 0 };
	snprintf(r->vm, sizeof(r->vm), "%s", o->vm);
	if (destination_open(&s.to, o, why) || save_open_lease(&s, why) ||
	    save_open_writer(&s, why))
		goto out;
	if (save_copy(&s, progress, why) || save_resume(&s, why))
		goto out;
	if (save_complete(&s, why) || save_publish(&s, why))
		goto out;
	rc = save_finish(&s, why);
out:
	/* First of all: the VM may still be paused by it. */
	lease_close(s.lease);
	snap_writer_close(s.writer);
	precopy_close(s.precopy);
	control_close(s.control);
	save_images_close(&s.images);
	destination_close(&s.to);
	free(s.config);
	free(s.state);
	r->total_ns = io_now_ns() - begin;
	return rc;
}
