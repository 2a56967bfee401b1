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

/* One connection of a move: the preamble, then chunks both ways (docs/protocol.md 1, 2, 4).
 * Everything received is hostile. A peer that closes, resets, is silent or sends what is invalid is
 * FAIL_PEER: all count as a lost connection. */

#define WIRE_PREAMBLE_BYTES 16u
/* 1: chunks of format version 1. Version 0 had others. */
#define WIRE_VERSION        1
#define WIRE_OLDEST         1

/* Deadlines of docs/protocol.md 4. */
#define WIRE_SECOND     ((uint64_t)1000000000)
#define WIRE_CONNECT_NS (10 * WIRE_SECOND)
#define WIRE_GREET_NS   (10 * WIRE_SECOND)      /* preamble and first message */
#define WIRE_AGREE_NS   (60 * WIRE_SECOND)      /* the target starts its vmrun */
#define WIRE_IDLE_NS    (60 * WIRE_SECOND)      /* between two chunks */
#define WIRE_READY_NS   (20 * WIRE_SECOND)      /* READY to GO */
#define WIRE_SEND_NS    (30 * WIRE_SECOND)      /* one chunk into the socket */
#define WIRE_ACK_NS     (60 * WIRE_SECOND)      /* ROUND to ROUND-ACK, STATE to READY */
#define WIRE_GO_NS      (30 * WIRE_SECOND)      /* GO to RUNNING, QUERY to ANSWER */
#define WIRE_DRAIN_NS   (2 * WIRE_SECOND)       /* after a refusal, see wire_drain() */

/* A descriptor to watch while the peer is waited for: when it is readable fn is called, which
 * may end the wait with -1. */
struct wire_watch {
	int   fd;                                      /* -1: none */
	int (*fn)(void *arg, struct fail *why);
	void *arg;
};

/* Where a payload is received. It grows as needed, up to LIMIT_CHUNK_BYTES and padding. */
struct wire_buffer {
	uint8_t *bytes;
	size_t   capacity;
};

struct wire {
	int               fd;
	char              peer[ADDRESS_TEXT_MAX];      /* for messages */
	struct wire_watch watch[2];
	uint64_t          sent, received;              /* bytes */
	uint64_t          sequence, expected;          /* of the next chunk sent, received */
	uint64_t          until_ns;                    /* wire_phase(); 0 for none */
	uint64_t          rate;                        /* --bandwidth, bytes a second; 0 for none */
	uint64_t          free_ns;                     /* when the next paced chunk may be sent */
	/* Payloads are received into this one, if it is not NULL, else into `own`. It stays its
	 * owner's, who keeps a payload by setting another one before the next is received. */
	struct wire_buffer *into;
	struct wire_buffer  own;
};

/* Takes fd, on failure too. */
int wire_open(struct wire **out, int fd, const char *peer, struct fail *why);
void wire_close(struct wire *w);                       /* NULL is fine */
void wire_buffer_free(struct wire_buffer *b);          /* a zeroed one may be freed */

/* Exchanges preambles; the side that connected sends first. */
int wire_greet(struct wire *w, bool connected, struct fail *why);
/* *version: the one that both support. *magic false: not a vmmigrate at all, which gets no
 * reply. */
void wire_preamble_put(uint8_t out[WIRE_PREAMBLE_BYTES]);
int wire_preamble_get(const uint8_t in[WIRE_PREAMBLE_BYTES], int *version, bool *magic,
		      struct fail *why);

/* Connects, greets. */
int wire_connect(struct wire **out, const struct address *a, bool insecure, struct fail *why);

/* A page chunk, encoded with w->sequence. paced: not faster than the bandwidth cap. */
int wire_send_pages(struct wire *w, const struct page_chunk *p, bool paced, struct fail *why);
/* A chunk of any other type. */
int wire_send(struct wire *w, uint16_t type, const void *payload, size_t len, bool paced,
	      struct fail *why);
int wire_send_message(struct wire *w, const struct message *m, struct fail *why);
int wire_send_abort(struct wire *w, const char *reason, struct fail *why);

/* The next chunk; *payload is valid until the next one is received into the same buffer. A payload
 * that does not match its hash is an error, but for a page chunk, which can be sent again: then
 * *damaged. Optional chunks of unknown types are skipped. */
int wire_recv(struct wire *w, struct chunk *c, const uint8_t **payload, bool *damaged,
	      uint64_t timeout_ns, struct fail *why);
/* The next chunk, which must be a message. */
int wire_recv_message(struct wire *w, struct message *m, uint64_t timeout_ns, struct fail *why);
/* Sets a deadline for everything received and sent from now on, which no message extends; 0:
 * none. */
void wire_phase(struct wire *w, uint64_t ns);
/* After the last message to a peer that may still be sending: shuts our side down and reads for
 * a while. Data that nobody reads would make the kernel reset the connection, and discard what
 * the peer has not read yet. */
void wire_drain(struct wire *w);
/* Something can be received without waiting, or the connection is closed. */
bool wire_pending(const struct wire *w);

#endif
