#include "vmrun/setup.h"

#include "format/snapshot.h"
#include "libcommon/io.h"
#include "libcommon/page_sink.h"
#include "vmrun/note.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct restore {
	struct vm       *vm;
	struct page_sink sinks[LIMIT_REGIONS];      /* one a region of vm->memory */
};

static int restore_open(struct restore *r, struct vm *vm, struct fail *why)
{
	r->vm = vm;
	for (unsigned i = 0; i < vm->memory.nregions; i++) {
		const struct region *g = &vm->memory.regions[i];

		if (page_sink_open(&r->sinks[i], g->fd, g->npages, g->cfg.name, why))
			return -1;
	}
	return 0;
}

static void restore_close(struct restore *r)
{
	for (unsigned i = 0; i < LIMIT_REGIONS; i++)
		page_sink_close(&r->sinks[i]);
}

static int restore_batch(struct restore *r, const struct page_batch *b, struct fail *why)
{
	for (unsigned i = 0; i < r->vm->memory.nregions; i++)
		if (r->vm->memory.regions[i].cfg.id == b->region)
			return page_sink_batch(&r->sinks[i], b, why);
	return fail_set(why, FAIL_CORRUPT, "pages of region %" PRIu32 ", which the machine does not have", b->region);
}

/* Everything up to END, verified; into memory that nobody runs on yet. The chunk behind the
 * configuration has been read already. */
static int restore_pages(struct vm *vm, struct snap_stream *s, struct fail *why)
{
	struct restore r = { 0 };
	struct chunk   c;
	const uint8_t *payload;
	uint64_t       at;
	int            rc = restore_open(&r, vm, why), more = 1;

	while (rc == 0 && more) {
		const struct page_batch *b = snap_stream_batch(s);

		if (b)
			rc = restore_batch(&r, b, why);
		if (rc == 0)
			more = snap_stream_next(s, &c, &payload, &at, why);
		if (more < 0)
			rc = -1;
	}
	restore_close(&r);
	return rc;
}

/* The key by which snapshots of this host are known. Without one none is. */
static void restore_key(struct snap_stream *s, struct fail *why)
{
	struct hostkey k;

	if (hostkey_open(&k, false, why))
		return;
	snap_stream_key(s, &k);
	hostkey_clear(&k);
}

/* May recorded paths be used, and if not, why. */
static struct trust restore_trust(const struct snap_stream *s, const struct fail *no_key)
{
	struct trust t = { 0 };

	if (no_key->kind != FAIL_NONE && no_key->sys != ENOENT) {
		fail_text(no_key, t.why, sizeof(t.why));
		return t;
	}
	switch (snap_stream_auth_config(s)) {
	case SNAP_AUTH_OK:
		t.recorded = true;
		break;
	case SNAP_AUTH_ALTERED:
		snprintf(t.why, sizeof(t.why), "the snapshot was altered after this host had written it");
		break;
	case SNAP_AUTH_OTHER:
	case SNAP_AUTH_NONE:
		snprintf(t.why, sizeof(t.why), "the snapshot was not written by this user on this host");
		break;
	}
	return t;
}

/* Reads on to the configuration and what says who wrote it; the header has been read. */
static int restore_config(struct snap_stream *s, const struct options *o, struct machine *m, struct fail *why)
{
	const struct snap_header *h      = snap_stream_header(s);
	struct fail               no_key = { 0 };
	struct chunk              c;
	const uint8_t            *payload, *fdt;
	uint64_t                  at;
	size_t                    len;
	int                       more;

	restore_key(s, &no_key);
	if (h->required & SNAP_STATE_ONLY)
		return fail_set(why, FAIL_REFUSED, "%s: saved with --state-only, its memory is not in it", o->source);
	while (!(fdt = snap_stream_config(s, &len))) {
		more = snap_stream_next(s, &c, &payload, &at, why);
		if (more < 0)
			return -1;
		if (more == 0)
			return fail_set(why, FAIL_CORRUPT, "%s: no configuration", o->source);
	}
	if (machine_read(m, fdt, len, why))
		return fail_prefix(why, "%s: ", o->source);
	if (snap_stream_next(s, &c, &payload, &at, why) < 0)
		return -1;

	const struct trust trust = restore_trust(s, &no_key);

	return setup_overrides(m, o, &trust, why);
}

/* Recorded paths were used because the configuration is ours: so must be the rest. */
static int restore_own(const struct snap_stream *s, const struct options *o, struct fail *why)
{
	if (o->trust_paths || snap_stream_auth_config(s) != SNAP_AUTH_OK || snap_stream_auth_all(s) == SNAP_AUTH_OK)
		return 0;
	return fail_set(why, FAIL_REFUSED, "%s: altered after this host had written it (--trust-paths takes it as it is)",
			o->source);
}

/* A VM that its user had stopped stays stopped, as in a move. */
static void restore_stopped(struct vm *vm, const struct options *o)
{
	if (!vm->recorded->stopped || o->cont || o->paused)
		return;
	vm->run.holders |= HOLD_USER;
	note("%s: it was stopped when it was saved, and is restored stopped: 'vmrun ctl %s cont' resumes it "
	     "(--restore with --cont: at once)", vm->cfg.name, vm->cfg.name);
}

int vm_restore(struct vm **out, const struct options *o, struct loop *loop, struct fail *why)
{
	struct machine     *m = malloc(sizeof(*m));
	struct snap_stream *s = NULL;
	const uint8_t      *fdt;
	size_t              len;
	uint8_t             header[SNAP_HEADER_BYTES];
	bool                file = strcmp(o->source, "-") != 0;
	int                 fd = -1, rc = -1;

	if (!m) {
		errno = ENOMEM;
		return fail_sys(why, "machine");
	}
	fd = setup_source(o->source, why);
	if (fd < 0 || snap_header_load(fd, o->source, file, "vmrun --restore -", header, why) ||
	    snap_stream_open_at(&s, fd, header, o->source, why))
		goto out;
	if (restore_config(s, o, m, why) || setup_apart(m, fd, "the snapshot", why))
		goto out;
	if (setup_vm(out, m, o, loop, why))
		goto out;
	if (setup_images_given(*out, o, why) || restore_pages(*out, s, why) || restore_own(s, o, why))
		goto out;
	fdt = snap_stream_state(s, &len);
	if (!fdt) {
		fail_set(why, FAIL_CORRUPT, "%s: no state", o->source);
		goto out;
	}
	/* Others may go on from the same snapshot: the guest is told that it is a copy. */
	if (vm_load(*out, fdt, len, why) || vm_disks_check(*out, why) || board_copied((*out)->board, why))
		goto out;
	restore_stopped(*out, o);
	rc = 0;
out:
	snap_stream_close(s);
	io_close(&fd);
	free(m);
	return rc;
}
