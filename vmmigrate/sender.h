/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_SENDER_H
#define VMMIGRATE_SENDER_H

#include "libcommon/client/lease.h"
#include "libcommon/client/precopy.h"
#include "vmmigrate/wire.h"

/* Pages from a lease onto the wire: the pre-copy engine's sink. It keeps no pages, only which pages
 * each chunk had that the target has not yet acknowledged: what arrives damaged is read from the
 * guest again (docs/protocol.md 6). */

#define SENDER_BATCH  64u        /* pages of a chunk: they stay in the cache; not compressed */
#define SENDER_WINDOW 1024u      /* chunks after the last ROUND-ACK: bounds that list */

struct sender;
/* level, threads: of compression, as encoder_open. w and l stay the caller's. */
int sender_open(struct sender **out, struct wire *w, struct lease *l, int level, unsigned threads,
		struct fail *why);
void sender_close(struct sender *s);

/* The sink's functions; the argument is the sender. */
struct page_batch *sender_batch(void *s, struct fail *why);
int sender_pages(void *s, struct page_batch *b, struct fail *why);
/* ROUND, then waits for ROUND-ACK. */
int sender_round_end(void *s, uint32_t round, struct fail *why);
/* Handles what the target has sent, and the wire's watches, without waiting. */
int sender_tick(void *s, struct fail *why);

/* After the last round, paused: describes all of memory, and takes the target's comparison. Pages
 * that differ are FAIL_PEER. */
int sender_audit(struct sender *s, struct fail *why);

/* Paused: no bandwidth cap any more, and --compress=auto does not take long. */
void sender_unpace(struct sender *s);
uint64_t sender_resends(const struct sender *s);       /* chunks sent again */

#endif
