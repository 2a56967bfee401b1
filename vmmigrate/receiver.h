/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_RECEIVER_H
#define VMMIGRATE_RECEIVER_H

#include "format/snapshot/snapshot.h"
#include "libcommon/client/lease.h"
#include "vmmigrate/message.h"
#include "vmmigrate/wire.h"

#include <stdbool.h>

/* Page chunks off the wire into the memory of an incoming VM, by descriptor, never through a
 * mapping, where each first write would cost a page fault. They are verified by the caller's thread
 * and written by another one, in the order in which they came: a later chunk supersedes earlier
 * ones. Counts chunks, and keeps which damaged ones are still to come again (docs/protocol.md 6).
 */

#define RECEIVER_RESENDS 64u      /* a link that damages more is not worth trying */

struct receiver;
int receiver_open(struct receiver **out, struct lease *l, struct fail *why);
void receiver_close(struct receiver *r);

/* Where the next chunk must be received (struct wire's into): what receiver_pages() was given is in
 * use until it has been written. Valid until receiver_close(). */
struct wire_buffer *receiver_buffer(struct receiver *r);
/* One page chunk, whose header was checked, in receiver_buffer(); damaged: its payload does not
 * match its hash. *resend: RESEND is to be sent for chunk number *number. FAIL_PEER for invalid
 * contents; a failure to write an earlier chunk is reported too, here and by each later call. */
int receiver_pages(struct receiver *r, const struct chunk *c, const uint8_t *payload, bool damaged,
		   bool *resend, uint64_t *number,
		   struct fail *why);
/* RESENT was received. */
int receiver_resent(struct receiver *r, uint64_t number, struct fail *why);
/* ROUND was received: it must be acknowledged once receiver_clean() is true and receiver_applied()
 * has returned 0. */
int receiver_round(struct receiver *r, uint64_t chunk, struct fail *why);
bool receiver_clean(const struct receiver *r);         /* no damaged chunk is missing */
/* Waits until all pages received so far are in memory. */
int receiver_applied(struct receiver *r, struct fail *why);
uint64_t receiver_data_pages(const struct receiver *r);      /* received; not those of zeros */

/* One AUDIT message against our memory, as receiver_applied() leaves it; receiver_audited fills an
 * AUDITED message with the result. */
int receiver_audit(struct receiver *r, const struct message *m, struct fail *why);
void receiver_audited(const struct receiver *r, struct message *m);

#endif
