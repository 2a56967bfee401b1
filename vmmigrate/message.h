/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_MESSAGE_H
#define VMMIGRATE_MESSAGE_H

#include "libcommon/fail.h"
#include "libcommon/paths.h"
#include "libcommon/uuid.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The control messages of a move: docs/protocol.md 3. One struct for all; which members a type has
 * is one table in message.c, which serves writing, reading and the fuzzer. */

enum message_type {
	MSG_HELLO, MSG_AGREE, MSG_ROUND, MSG_ROUND_ACK, MSG_RESEND, MSG_RESENT, MSG_AUDIT,
	MSG_AUDIT_END, MSG_AUDITED, MSG_STOPPED, MSG_READY, MSG_RELEASED, MSG_GO, MSG_RUNNING,
	MSG_RETURNED, MSG_ABORT, MSG_QUERY, MSG_ANSWER,
	MESSAGE_TYPES
};
extern const char *const message_type_names[MESSAGE_TYPES];     /* "HELLO" ... */

/* ANSWER: what a record, or the lack of one, says of a move (docs/protocol.md 7). */
enum answer_state {
	ANSWER_READY, ANSWER_RELEASED, ANSWER_OWNED, ANSWER_RETURNED, ANSWER_ABORTED,
	ANSWER_UNDECIDED, ANSWER_UNKNOWN, ANSWER_SUPERSEDED,
	ANSWER_STATES
};
extern const char *const answer_state_names[ANSWER_STATES];

/* The limits of docs/protocol.md 3: all arrays of a message have a fixed size, so that no count
 * of a peer's decides about memory. */
#define MESSAGE_BYTES_MAX   (1u << 20)
#define MESSAGE_FEATURES    32u
#define MESSAGE_REGIONS     16u
#define MESSAGE_EXTENTS     1024u
#define MESSAGE_AUDIT_PAGES 4096u
#define MESSAGE_LIST        64u
#define MESSAGE_IMAGES      2u
#define MESSAGE_SHA256      32u

struct message_region { uint64_t id, size, populated; };
struct message_extent { uint64_t region, first, count; };
struct message_page   { uint64_t region, page; };
struct message_image  {
	char     name[VM_NAME_MAX + 1];
	uint64_t size;
	uint8_t  sha256[MESSAGE_SHA256];
};

struct message {
	enum message_type     type;
	struct uuid           vm, move;
	bool                  has_move;      /* ABORT: vm and move are there */
	char                  name[VM_NAME_MAX + 1];
	char                  creator[64];
	char                  ask[256];
	char                  reason[1001];
	uint64_t              generation, page_size, round, chunk, region, first, pages, differ;
	bool                  audit, accept, alive, zero;
	bool                  from_target;   /* QUERY */
	enum answer_state     state;
	uint32_t              nfeatures;     /* HELLO: needs; AGREE: features */
	char                  features[MESSAGE_FEATURES][32];
	uint32_t              nregions, nextents, nlist, nimages;
	/* what follows is not zeroed by message_read(): the counts above bound it */
	struct message_region regions[MESSAGE_REGIONS];
	struct message_extent extents[MESSAGE_EXTENTS];
	struct message_page   list[MESSAGE_LIST];
	struct message_image  images[MESSAGE_IMAGES];      /* HELLO: what the source has available;
							    * AGREE: what is wanted, names alone */
	uint64_t              hashes[MESSAGE_AUDIT_PAGES]; /* AUDIT without zero: `pages` of them */
};

/* Text of the message, malloc'd, not NUL-terminated; *len at most MESSAGE_BYTES_MAX. */
int message_write(const struct message *m, char **text, size_t *len, struct fail *why);

/* Hostile text into *m, which is undefined after a failure (FAIL_PEER). Every number, string and
 * count is within the bounds of docs/protocol.md when it succeeds. */
int message_read(struct message *m, const void *text, size_t len, struct fail *why);

#endif
