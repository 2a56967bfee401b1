/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_WIRE_H
#define VMMIGRATE_WIRE_H

#include "format/snapshot/snapshot.h"
#include "libcommon/fail.h"
#include "vmmigrate/address.h"
#include "vmmigrate/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One connection of a move: the preamble, then chunks both ways (docs/protocol.md 1, 2, 4). Everything that comes is hostile.
 * A closed, reset, silent or senseless peer is FAIL_PEER: "as a lost connection". */

#define WIRE_PREAMBLE_BYTES 16u
#define WIRE_VERSION        0
#define WIRE_OLDEST         0

#define WIRE_SECOND         ((uint64_t)1000000000)
#define WIRE_CONNECT_NS     (10 * WIRE_SECOND)
#define WIRE_GREET_NS       (10 * WIRE_SECOND)
#define WIRE_AGREE_NS       (60 * WIRE_SECOND)
#define WIRE_IDLE_NS        (60 * WIRE_SECOND)
#define WIRE_READY_NS       (20 * WIRE_SECOND)
#define WIRE_SEND_NS        (30 * WIRE_SECOND)
#define WIRE_ACK_NS         (60 * WIRE_SECOND)
#define WIRE_GO_NS          (30 * WIRE_SECOND)
#define WIRE_DRAIN_NS       (2 * WIRE_SECOND)

/* Something to look at while the peer is waited for: fd readable calls fn, which may end the wait with -1. */
struct wire_watch {
	int   fd;                                      /* -1: none */
	int (*fn)(void *arg, struct fail *why);
	void *arg;
};

struct wire {
	int               fd;
	char              peer[ADDRESS_TEXT_MAX];      /* for messages */
	struct wire_watch watch[2];
	uint64_t          sent, received;              /* bytes */
	uint64_t          until_ns;                    /* no receiving or sending beyond it: the phase's deadline; 0 none */
	uint64_t          rate, free_ns;               /* bandwidth cap: bytes a second, 0 none; when the line is free again */
	uint8_t          *buf;                         /* payload received last */
	size_t            capacity;
};

/* Takes fd, on failure too. */
int wire_open(struct wire **out, int fd, const char *peer, struct fail *why);
void wire_close(struct wire *w);                       /* NULL is fine */

/* Exchanges preambles; the side that connected speaks first. */
int wire_greet(struct wire *w, bool connected, struct fail *why);
/* *version: the one both speak. magic: false when it is no vmmigrate at all, which gets no answer. */
void wire_preamble_put(uint8_t out[WIRE_PREAMBLE_BYTES]);
int wire_preamble_get(const uint8_t in[WIRE_PREAMBLE_BYTES], int *version, bool *magic, struct fail *why);

/* Connects, greets. */
int wire_connect(struct wire **out, const struct address *a, bool insecure, struct fail *why);

/* A finished chunk (page_chunk_encode), at the cap's pace when paced. */
int wire_send_chunk(struct wire *w, const uint8_t *chunk, size_t len, bool paced, struct fail *why);
/* Makes and sends a chunk of another type. */
int wire_send(struct wire *w, uint16_t type, const void *payload, size_t len, struct fail *why);
int wire_send_message(struct wire *w, const struct message *m, struct fail *why);
int wire_send_abort(struct wire *w, const char *reason, struct fail *why);

/* The next chunk; *payload is valid until the next call. A payload that does not match its hash fails, but for a page chunk:
 * then *damaged. Optional chunks of unknown types are skipped. */
int wire_recv(struct wire *w, struct chunk *c, const uint8_t **payload, bool *damaged, uint64_t timeout_ns, struct fail *why);
/* The next chunk, which must be a message. */
int wire_recv_message(struct wire *w, struct message *m, uint64_t timeout_ns, struct fail *why);
/* The phase that begins now is over in that time, whatever comes; 0: no such deadline. */
void wire_phase(struct wire *w, uint64_t ns);
/* After the last message to a peer that may still be sending: ends our side and reads on for a while, so that the kernel does not
 * reset the connection and take back what the peer has not read. */
void wire_drain(struct wire *w);
/* Something can be received now. */
bool wire_pending(const struct wire *w);

#endif
