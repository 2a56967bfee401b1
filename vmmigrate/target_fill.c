/* SPDX-License-Identifier: MIT */
#include "vmmigrate/target_fill.h"

#include "vmmigrate/note.h"
#include "vmmigrate/target_check.h"

#define FILL_STOP_MS 10000u
/* Free memory is checked each time this much more than HELLO announced has arrived: often enough
 * to stop before the host runs out, rarely enough for /proc/meminfo not to show in a profile. */
#define FILL_GROWTH  ((uint64_t)64 << 20)

static int fill_message(struct target_fill *f, const uint8_t *payload, size_t len, struct fail *why)
{
	struct message *m = f->m;

	if (message_read(m, payload, len, why))
		return -1;
	switch (m->type) {
	case MSG_ROUND:
		f->round_due = true;
		f->round     = m->round;
		f->chunk     = m->chunk;
		return receiver_round(f->receiver, m->chunk, why);
	case MSG_RESENT:
		return receiver_resent(f->receiver, m->chunk, why);
	case MSG_AUDIT:
		return receiver_audit(f->receiver, m, why);
	case MSG_AUDIT_END:
		receiver_audited(f->receiver, m);
		return wire_send_message(f->wire, m, why);
	case MSG_STOPPED:
		return control_execute(f->vmrun->control, "stop", NULL, NULL, NULL, NULL,
				       FILL_STOP_MS, why);
	case MSG_ABORT:
		return fail_set(why, FAIL_ENDED, "aborted by the source: %.250s", m->reason);
	default:
		return fail_set(why, FAIL_PEER, "unexpected %s", message_type_names[m->type]);
	}
}

static int fill_growth(struct target_fill *f, struct fail *why)
{
	uint64_t pages = receiver_data_pages(f->receiver);

	if (pages * PAGE_SIZE_4K <= f->populated ||
	    pages - f->checked < FILL_GROWTH / PAGE_SIZE_4K)
		return 0;
	f->checked = pages;
	return target_check_memory(FILL_GROWTH, why);
}

static int fill_pages(struct target_fill *f, const struct chunk *c, const uint8_t *payload,
		      bool damaged, struct fail *why)
{
	uint64_t number;
	bool     resend;

	if (receiver_pages(f->receiver, c, payload, damaged, &resend, &number, why) ||
	    fill_growth(f, why))
		return -1;
	if (!resend)
		return 0;
	f->m->type  = MSG_RESEND;
	f->m->chunk = number;
	return wire_send_message(f->wire, f->m, why);
}

static int fill_image(struct target_fill *f, const uint8_t *payload, size_t len, struct fail *why)
{
	struct fail cache = { 0 };
	int         rc    = move_images_piece(f->images, payload, len, f->vmrun->lease,
					      f->image_cache, &cache, why);

	/* The VM has the image all the same: a cache that is full or read-only fails no move. */
	if (cache.kind != FAIL_NONE)
		note("%s: %s", f->name, cache.what);
	return rc;
}

static int fill_chunk(struct target_fill *f, const struct chunk *c, const uint8_t *payload,
		      bool damaged, struct fail *why)
{
	switch (c->type) {
	case CHUNK_PAGES:
		return fill_pages(f, c, payload, damaged, why);
	case CHUNK_BLOB:
		return fill_image(f, payload, c->len, why);
	case CHUNK_CONTROL:
		return fill_message(f, payload, c->len, why);
	default:
		return fail_set(why, FAIL_PEER, "unexpected %s chunk", chunk_type_name(c->type));
	}
}

/* ROUND-ACK for the barrier, once every chunk before it is whole and in memory. A ROUND may be
 * waiting for chunks that were damaged: then the last RESENT completes it. */
static int fill_acknowledge(struct target_fill *f, struct fail *why)
{
	if (!f->round_due || !receiver_clean(f->receiver))
		return 0;
	if (receiver_applied(f->receiver, why))
		return -1;
	f->round_due = false;
	f->m->type   = MSG_ROUND_ACK;
	f->m->round  = f->round;
	f->m->chunk  = f->chunk;
	return wire_send_message(f->wire, f->m, why);
}

static int fill(struct target_fill *f, struct chunk *c, const uint8_t **state, struct fail *why)
{
	bool damaged;

	for (;;) {
		f->wire->into = receiver_buffer(f->receiver);
		if (wire_recv(f->wire, c, state, &damaged, WIRE_IDLE_NS, why))
			return -1;
		/* STATE is valid only when nothing of memory or images is missing. */
		if (c->type == CHUNK_STATE && !f->round_due && receiver_clean(f->receiver) &&
		    move_images_whole(f->images))
			return receiver_applied(f->receiver, why);
		if (fill_chunk(f, c, *state, damaged, why) || fill_acknowledge(f, why))
			return -1;
	}
}

int target_fill(struct target_fill *f, struct chunk *c, const uint8_t **state, struct fail *why)
{
	int rc = fill(f, c, state, why);

	f->wire->into = NULL;
	return rc;
}
