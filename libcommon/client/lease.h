/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_CLIENT_LEASE_H
#define LIBCOMMON_CLIENT_LEASE_H

#include "libcommon/bitmap.h"
#include "libcommon/fail.h"
#include "libcommon/paths.h"
#include "libcommon/uuid.h"

#include <stdbool.h>
#include <stdint.h>

/* A lease: what a saver, mover or inspector holds of a VM (design.md 3, docs/control.md "The lease").
 *
 * `vmferry-lease` on the control socket, argument {"kind": "read"|"log"|"incoming", "holder": "vmsnap[1234]"}, answers
 * with one descriptor: a SOCK_SEQPACKET channel with a thread of its own in vmrun. The lease lives as long as the
 * channel. Each request is one struct lease_msg, answered by one with the same verb and serial; vmrun may also send
 * LEASE_LOST (serial 0) by itself, and answers LEASE_LOST to everything after it has revoked the lease.
 * Bytes of RAM never pass through vmrun. */

enum lease_kind { LEASE_KIND_READ, LEASE_KIND_LOG, LEASE_KIND_INCOMING };

enum lease_verb {
	LEASE_LOST = 1,     /* only from vmrun: text says why; the channel closes */
	LEASE_REGIONS,      /* -> a[0] regions; one message each follows: struct lease_region in `region`, 1 fd: RAM; read-only but for incoming */
	LEASE_CONFIG,       /* -> fd: memfd with the configuration tree, a[0] bytes */
	LEASE_LOG_START,    /* a[0] region; -> 2 fds: round bitmap (shared memfd, bitmap_bytes) and present bitmap (read-only memfd). Every
			     * present page is dirty in it from the start. Kind log only */
	LEASE_SYNC,         /* harvests: ORs into the round bitmaps; -> a[0] pages newly dirty, a[1] ns it took */
	LEASE_CLEAR,        /* a[0] region, a[1] first page, a[2] pages: only after this answer may pages of the range be read. Soft: answered at once */
	LEASE_THROTTLE,     /* a[0] percent of time the vCPUs are held, 0 to 99 */
	LEASE_PAUSE,        /* a[0] deadline in ms from now; uuid: the epoch (snapshot) that begins; vCPUs stopped, devices quiet when answered */
	LEASE_RESUME,       /* removes this lease's pause; the lease lives on */
	LEASE_STATE,        /* paused only; -> fd: memfd with the VM tree with state, a[0] bytes. Can dirty memory: sync after it */
	LEASE_FILL,         /* a[0] region, a[1] first page, a[2] pages: absent pages become present; answered when they are */
	LEASE_FINISH,       /* a[0] outcome: 0 done, 1 given up. Answer confirms an unbroken lease since it was given */
	LEASE_COMMIT,       /* uuid: that snapshot is safe on disk; the epoch before it is dropped */
	LEASE_RELEASE,      /* uuid: move-id, of MOVING. Record RELEASED fsynced when answered; this VM never runs again by itself */
	/* kind incoming */
	LEASE_WRITTEN,      /* RAM has been written by descriptor: vmrun takes the present pages from the memfd (SEEK_DATA) */
	LEASE_LOAD,         /* fd: memfd with the VM tree with state, a[0] bytes; all or nothing; overrides were given to vmrun */
	LEASE_READY,        /* uuid: move-id; text: source's host:port; a[0] source's generation. Record READY fsynced when answered */
	LEASE_START,        /* uuid: move-id; disks locked, record OWNED fsynced, runs when answered; else RETURNED recorded and the error */
	LEASE_ABORT,        /* uuid: move-id; incoming before OWNED: record becomes RETURNED (or none if never READY), exits. After it nothing */
	LEASE_RETAKE,       /* source, after the peer answered RETURNED for this move (uuid): record RETAKEN, runs on when answered. a[0] 1: not it, but a human has said so */
	LEASE_DONE,         /* source, after RUNNING was confirmed; a[0] its generation, 0: ours + 1. Record MOVED; vmrun exits with status 20 */
	/* kind log */
	LEASE_QUIT,         /* paused only: the VM ends without having run since PAUSE was answered; vmrun exits with status 0 */
	LEASE_RENEW,        /* paused only; a[0] deadline in ms from now. The answer confirms that the pause is unbroken */
	LEASE_FLUSH,        /* disks: flushes what was written since the last flush, reads the samples that were written since they
			     * were read; -> a[0] ns it took, a[1] ns that pausing and saving state take, 0 when unknown */
	LEASE_CLAIM,        /* incoming, first of all when vmrun was given a token: fd: the VM's lock (moves.h), held */
	LEASE_MOVING,       /* source: uuid: move-id; text: peer. Record MOVING fsynced when answered; a lease that ends before RELEASE aborts the move */
	LEASE_RETAKING,     /* source: uuid: move-id; a[0] 1: record RETAKING, 0: RELEASED again */
	LEASE_IMAGE,        /* text: "kernel" or "initrd" -> fd: read-only memfd with it, a[0] bytes; refused when it is not at hand */
	LEASE_IMAGE_PUT,    /* incoming: text: "kernel" or "initrd"; fd: it, a[0] bytes, of the digest that the configuration has */
	LEASE_VERBS
};
/* `start` is LEASE_START; `state` LEASE_STATE ...: the words of design.md 3. */

enum lease_status { LEASE_OK = 0, LEASE_REFUSED = 1, LEASE_FAILED = 2 };

struct lease_msg {
	uint32_t    verb;            /* enum lease_verb */
	uint32_t    serial;          /* of the request; answers repeat it */
	uint32_t    status;          /* enum lease_status; requests 0 */
	uint32_t    kind;            /* enum fail_kind of a failure, so that exit statuses survive the socket */
	uint64_t    a[6];
	struct uuid uuid;
	char        text[256];       /* a failure's reason, a peer's address; NUL terminated */
};

struct lease_region {                /* travels in struct lease_msg.text of the LEASE_REGIONS answers */
	uint32_t id, kind;           /* enum region_kind */
	uint64_t size, gpa;
	uint32_t page_size, backing; /* 0 memfd: pread at offset 0; 1 mem: pread at `base` of the descriptor */
	uint64_t base;
	char     name[32];
};

/* ---- the client ---- */

struct lease_ram {
	struct lease_region r;
	uint64_t            npages;
	int                 fd;           /* RAM */
	bitmap_word        *round;        /* mapped, NULL before lease_log_start */
	const uint64_t     *present;      /* mapped, NULL before lease_log_start */
};

struct lease {
	int              fd;
	uint32_t         serial;
	uint32_t         nrams;
	struct lease_ram rams[16];
	char             vm[PATHS_MAX];   /* for messages */
	bool             flushing;        /* in lease_flush: what is readable is its answer */
	int              vmrun;           /* pidfd of the process behind the channel, -1 when it can't be told */
	enum fail_kind   lost;            /* FAIL_NONE while it lives; then every call fails with this and lost_why */
	int              lost_sys;
	char             lost_why[320];
};

struct lease_range { uint64_t first, count; };     /* pages */

struct control;
/* Takes a lease over an open control connection, fetches the region map. holder: "vmsnap[1234]". A refusal is tried again for
 * LEASE_WAIT_MS: the lease may be held by somebody who is just ending. token: of the incoming vmrun that we started; NULL: none. */
#define LEASE_WAIT_MS 1000u
int lease_open(struct lease **out, struct control *c, enum lease_kind kind, const char *holder, struct fail *why);
int lease_open_token(struct lease **out, struct control *c, enum lease_kind kind, const char *holder, const char *token, struct fail *why);
/* The same over a channel that is already there; fd is taken, on failure too. */
int lease_adopt(struct lease **out, int fd, const char *vm, struct fail *why);
void lease_close(struct lease *l);      /* the channel too: vmrun drops our pause; NULL is fine */

/* All: 0 or -1. A lost lease is FAIL_PEER "lease lost: REASON", FAIL_ENDED when the VM ended or its vmrun has died, FAIL_SYSTEM when
 * this process has no more descriptors. */
int lease_config(struct lease *l, uint8_t **fdt, size_t *len, struct fail *why);      /* malloc'd */
/* Kernel or initrd, by its resource's name; *fd: read-only. FAIL_REFUSED: this VM runs without having it at hand. */
int lease_image(struct lease *l, const char *name, int *fd, uint64_t *len, struct fail *why);
int lease_image_put(struct lease *l, const char *name, int fd, uint64_t len, struct fail *why);      /* fd stays the caller's */
int lease_log_start(struct lease *l, struct fail *why);                               /* all RAM regions */
int lease_sync(struct lease *l, uint64_t *fresh, uint64_t *took_ns, struct fail *why);
int lease_clear(struct lease *l, uint32_t region, uint64_t first, uint64_t count, struct fail *why);
/* Many ranges with their requests on the way at once: scattered pages cost no round trip each. */
int lease_clear_ranges(struct lease *l, uint32_t region, const struct lease_range *r, size_t n, struct fail *why);
int lease_throttle(struct lease *l, unsigned percent, struct fail *why);
/* Can take long: tick (NULL: none) is called every 100 ms, non-zero gives up and loses the lease.
 * took_ns: a[0]; fixed_ns: a[1]. */
int lease_flush(struct lease *l, int (*tick)(void *arg, struct fail *why), void *arg,
		uint64_t *took_ns, uint64_t *fixed_ns, struct fail *why);
int lease_pause(struct lease *l, unsigned deadline_ms, const struct uuid *epoch, struct fail *why);
int lease_renew(struct lease *l, unsigned deadline_ms, struct fail *why);
int lease_resume(struct lease *l, struct fail *why);
int lease_quit(struct lease *l, struct fail *why);
int lease_state(struct lease *l, uint8_t **fdt, size_t *len, struct fail *why);       /* malloc'd */
int lease_fill(struct lease *l, uint32_t region, uint64_t first, uint64_t count, struct fail *why);
int lease_finish(struct lease *l, bool done, struct fail *why);
int lease_commit(struct lease *l, const struct uuid *snapshot, struct fail *why);
int lease_moving(struct lease *l, const struct uuid *move, const char *peer, struct fail *why);
int lease_release(struct lease *l, const struct uuid *move, struct fail *why);
int lease_claim(struct lease *l, int lock_fd, struct fail *why);      /* lock_fd stays the caller's */
int lease_written(struct lease *l, struct fail *why);
int lease_load(struct lease *l, const void *fdt, size_t len, struct fail *why);
int lease_ready(struct lease *l, const struct uuid *move, const char *peer, uint64_t generation, struct fail *why);
int lease_start(struct lease *l, const struct uuid *move, struct fail *why);
int lease_abort(struct lease *l, const struct uuid *move, struct fail *why);
int lease_retake(struct lease *l, const struct uuid *move, bool by_word, struct fail *why);
int lease_retaking(struct lease *l, const struct uuid *move, bool on, struct fail *why);
int lease_done(struct lease *l, const struct uuid *move, uint64_t generation, struct fail *why);

#endif
