#include "vmrun/setup.h"

#include "format/snapshot.h"
#include "libcommon/io.h"
#include "libcommon/page_sink.h"
#include "vmrun/note.h"

#include <errno.h>
#include <inttypes.h>
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

/* Everything up to END, verified; into memory that nobody runs on yet. */
static int restore_pages(struct vm *vm, struct snap_stream *s, struct fail *why)
{
	struct restore r = { 0 };
	struct chunk   c;
	const uint8_t *payload;
	uint64_t       at;
	int            rc = restore_open(&r, vm, why);

	while (rc == 0) {
		int more = snap_stream_next(s, &c, &payload, &at, why);

		if (more <= 0) {
			rc = more;
			break;
		}
		if (c.type == CHUNK_PAGES)
			rc = restore_batch(&r, snap_stream_batch(s), why);
	}
	restore_close(&r);
	return rc;
}

/* Reads on to the configuration; the header has been read. */
static int restore_config(struct snap_stream *s, const struct options *o, bool trusted, struct machine *m, struct fail *why)
{
	const struct snap_header *h = snap_stream_header(s);
	struct chunk              c;
	const uint8_t            *payload, *fdt;
	uint64_t                  at;
	size_t                    len;
	int                       more;

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
	return setup_overrides(m, o, trusted, why);
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
	if (restore_config(s, o, setup_trusted(fd), m, why) || setup_apart(m, fd, "the snapshot", why))
		goto out;
	if (setup_vm(out, m, o, loop, why))
		goto out;
	if (setup_images_given(*out, o, why) || restore_pages(*out, s, why))
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
