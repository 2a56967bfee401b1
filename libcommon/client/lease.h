/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_CLIENT_LEASE_H
#define LIBCOMMON_CLIENT_LEASE_H

#include "libcommon/bitmap.h"
#include "libcommon/fail.h"
#include "libcommon/paths.h"
#include "libcommon/uuid.h"

#include <stdbool.h>
#include <stdint.h>

/* A lease: a client's session with vmrun (docs/control.md 6).
 *
 * The command vmferry-lease on the control socket, with arguments {"kind": "log", "holder":
 * "vmsnap[1234]"}, is answered with one descriptor: a SOCK_SEQPACKET channel that a thread of its
 * own serves in vmrun. The lease lives as long as the channel. Each request is one struct
 * lease_msg, answered by one with the same verb and serial. vmrun may also send LEASE_LOST (serial
 * 0) by itself, and answers everything with it after it has revoked the lease. Bytes of RAM never
 * pass through vmrun: the holder has descriptors of it. */

/* ---- kinds: what a lease is for; used by both ends ---- */

enum lease_kind { LEASE_KIND_READ, LEASE_KIND_LOG, LEASE_KIND_INCOMING, LEASE_KINDS };

/**
 * struct lease_kind_info - one row a kind
 * @name:      on the control socket, in answers and on command lines
 * @title:     in messages
 * @exclusive: one holder at a time. A holder that is just ending may still have it, so a client
 *             whose request is refused tries again for LEASE_WAIT_MS
 * @writes:    RAM is writable by the descriptor, until READY
 */
struct lease_kind_info {
	const char *name;
	const char *title;
	bool        exclusive;
	bool        writes;
};
extern const struct lease_kind_info lease_kinds[LEASE_KINDS];

/* The kind of that name; false: there is none. */
bool lease_kind_parse(enum lease_kind *kind, const char *name);

/* ---- messages ---- */

/* Numbers on the channel: never reused. docs/control.md 6 has, for each, what it asks and answers,
 * and which kinds of lease may use it in which phases of the VM; section 8 what those of a
 * hand-over do. */
enum lease_verb {
	LEASE_LOST = 1,      /* from vmrun only: text says why; the channel closes */
	LEASE_REGIONS,       /* a[0] regions; then a message each: `region`, descriptor of RAM;
			      * backing 1: a[0] pages that are present now */
	LEASE_CONFIG,        /* memfd with the configuration tree, a[0] bytes */
	LEASE_LOG_START,     /* of region a[0]: round bitmap and present bitmap */
	LEASE_SYNC,          /* dirty log into the round bitmaps; a[0] pages newly dirty, a[1] ns */
	LEASE_CLEAR,         /* region a[0], pages a[1], count a[2]: may be read once answered */
	LEASE_THROTTLE,      /* vCPUs are held a[0] percent of the time, 0 to 99 */
	LEASE_PAUSE,         /* deadline a[0] ms; uuid: epoch that begins */
	LEASE_RESUME,        /* ends this lease's pause */
	LEASE_STATE,         /* paused: memfd with the VM tree with state, a[0] bytes */
	LEASE_FILL,          /* region a[0], pages a[1], count a[2]: present once answered */
	LEASE_FINISH,        /* a[0]: 0 done, 1 aborted */
	LEASE_COMMIT,        /* uuid: that snapshot is safe on disk */
	LEASE_RELEASE,       /* uuid: move; the VM never runs here again by itself */
	LEASE_WRITTEN,       /* incoming: RAM was written through its descriptor */
	LEASE_LOAD,          /* incoming: memfd with the VM tree with state, a[0] bytes */
	LEASE_READY,         /* incoming: uuid: move; text: source; a[0] its generation */
	LEASE_START,         /* incoming: uuid: move; the VM runs once answered */
	LEASE_ABORT,         /* incoming: uuid: move; the VM is discarded */
	LEASE_RETAKE,        /* source: uuid: move; a[0]: 1 confirmed by a human */
	LEASE_DONE,          /* source: uuid: move; a[0] the target's generation, 0 unknown */
	LEASE_QUIT,          /* paused: the VM ends without having run since PAUSE */
	LEASE_RENEW,         /* paused: new deadline a[0] ms */
	LEASE_FLUSH,         /* disks flushed and sampled; a[0] ns, a[1] ns of pause and state */
	LEASE_CLAIM,         /* incoming: descriptor of the VM's lock, held */
	LEASE_MOVING,        /* source: uuid: move; text: peer */
	LEASE_RETAKING,      /* source: uuid: move; a[0]: 1 RETAKING, 0 RELEASED again */
	LEASE_IMAGE,         /* text: "kernel" or "initrd"; memfd with it, a[0] bytes */
	LEASE_IMAGE_PUT,     /* incoming: text as above; descriptor with it, a[0] bytes */
	LEASE_VERBS
};

enum lease_status { LEASE_OK = 0, LEASE_REFUSED = 1, LEASE_FAILED = 2 };

struct lease_region {
	uint32_t id, kind;           /* enum region_kind */
	uint64_t size, gpa;
	uint32_t page_size, backing; /* 0: from offset 0 of a memfd; 1: by pread at `base` only */
	uint64_t base;
	char     name[32];
};

struct lease_msg {
	uint32_t    verb;            /* enum lease_verb */
	uint32_t    serial;          /* of the request; answers repeat it */
	uint32_t    status;          /* enum lease_status; requests 0 */
	uint32_t    kind;            /* enum fail_kind: the exit status survives the socket */
	uint64_t    a[6];
	struct uuid uuid;
	union {
		char                text[256];  /* NUL-terminated */
		struct lease_region region;     /* of the messages behind a REGIONS answer */
	};
};

/* ---- the client ---- */

struct lease_ram {
	struct lease_region r;
	uint64_t            npages;
	uint64_t            present_hint; /* backing 1: pages present when the lease was taken */
	int                 fd;           /* RAM */
	int                 round_fd;     /* backing 1: file of `round`; else not used */
	bitmap_word        *round;        /* mapped, NULL before lease_log_start() */
	uint64_t            present;      /* pages there were at lease_log_start() */
};

/* Sets the bits of blocks (libcommon/populated.h) in which pages may be present or marked; after
 * lease_log_start(). None is ever cleared. */
void lease_ram_look(const struct lease_ram *ram, uint64_t *blocks);

/* Offset of the region's first page in ram->fd, for pread. */
static inline uint64_t lease_ram_base(const struct lease_ram *ram)
{
	return ram->r.backing ? ram->r.base : 0;
}

struct lease {
	int              fd;
	uint32_t         serial;
	uint32_t         nrams;
	struct lease_ram rams[16];
	char             vm[PATHS_MAX];   /* for messages */
	bool             flushing;        /* in lease_flush(): what is readable is its answer */
	int              vmrun;           /* pidfd of vmrun, -1 when it cannot be told */
	enum fail_kind   lost;            /* FAIL_NONE while it lives; else every call fails so */
	int              lost_sys;
	char             lost_why[320];
};

/* Pages of a region. */
struct lease_range { uint64_t first, count; };

struct control;

/* For so long a refused lease of an exclusive kind is asked for again. */
#define LEASE_WAIT_MS 1000u

/**
 * lease_open_token - take a lease over an open control connection, and fetch the region map
 * @out:    out, closed by lease_close()
 * @c:      connection; only used during the call
 * @kind:   of lease
 * @holder: 1 to 63 characters that name us to others, such as "vmsnap[1234]"
 * @token:  of the incoming vmrun that we started; NULL for none
 * @why:    FAIL_PEER when refused, with the text that vmrun gives
 *
 * A struct lease belongs to one thread at a time: nothing in it is locked.
 *
 * Return: 0 or -1.
 */
int lease_open_token(struct lease **out, struct control *c, enum lease_kind kind,
		     const char *holder, const char *token, struct fail *why);
/* The same without a token. */
int lease_open(struct lease **out, struct control *c, enum lease_kind kind, const char *holder,
	       struct fail *why);

/* The same over a channel that exists already; fd is taken over, on failure too. */
int lease_adopt(struct lease **out, int fd, const char *vm, struct fail *why);

/* Ends the lease: vmrun removes its pause and throttle, and ends its log. NULL allowed. */
void lease_close(struct lease *l);

/* All functions below are one request (a verb of docs/control.md 6) and wait for its answer, at
 * most 60 s, or 300 s where vmrun writes to disk or loads memory. They return 0 or -1:
 *
 *   FAIL_PEER "lease lost: REASON"   vmrun has revoked the lease, does not answer or answers
 *                                    nonsense; every later call fails in the same way
 *   FAIL_ENDED                       likewise: the VM has ended, or vmrun has been killed
 *   FAIL_SYSTEM                      likewise: no descriptor was free for what vmrun passed
 *   the kind that vmrun names        this request was refused or has failed; the lease lives on
 */

/* The configuration tree, and (paused only) the VM tree with state: malloc'd, at most 4 MiB. Saving
 * state can dirty memory: lease_sync() after it. */
int lease_config(struct lease *l, uint8_t **fdt, size_t *len, struct fail *why);
int lease_state(struct lease *l, uint8_t **fdt, size_t *len, struct fail *why);

/**
 * lease_image - kernel or initrd
 * @name: "kernel" or "initrd"
 * @fd:   out, read-only; the caller's
 * @len:  out, bytes
 * @why:  FAIL_REFUSED when vmrun has neither the image nor the file it came from
 *
 * lease_image_put() gives one to an incoming VM; its digest must be that of the configuration. The
 * descriptor stays the caller's.
 */
int lease_image(struct lease *l, const char *name, int *fd, uint64_t *len, struct fail *why);
int lease_image_put(struct lease *l, const char *name, int fd, uint64_t len, struct fail *why);

/* Starts the dirty log of all regions and maps their bitmaps: every present page is dirty. */
int lease_log_start(struct lease *l, struct fail *why);

/**
 * lease_sync - merge what the guest has written into the round bitmaps
 * @fresh:   out, pages that were not dirty before; NULL allowed
 * @took_ns: out, time it took vmrun; NULL allowed
 *
 * vmrun only sets bits; the holder takes whole words by atomic exchange (bitmap_take()).
 */
int lease_sync(struct lease *l, uint64_t *fresh, uint64_t *took_ns, struct fail *why);

/**
 * lease_clear_ranges - let the accelerator log writes to these pages again
 * @region: id
 * @r:      @n ranges of it, each inside of the region
 *
 * While the guest runs, a page that lease_sync() named may be read only after this: a write that
 * comes later is then named by a later sync. Up to 32 requests are under way at once, so that
 * scattered ranges do not cost a round trip each.
 */
int lease_clear_ranges(struct lease *l, uint32_t region, const struct lease_range *r, size_t n,
		       struct fail *why);

/* Holds the vCPUs for that part of the time, 0 to 99 percent, until the lease ends. */
int lease_throttle(struct lease *l, unsigned percent, struct fail *why);

/**
 * lease_flush - flush the disks and take their samples, while the guest runs
 * @tick:     called every 100 ms, because a slow disk can take long; NULL for none. Non-zero, with
 *            *why filled, aborts the call and loses the lease: the answer still to come would be
 *            taken for another's
 * @arg:      of @tick
 * @took_ns:  out, time it took
 * @fixed_ns: out, time that pausing the VM and saving its state take, as measured by vmrun; 0 when
 *            unknown
 */
int lease_flush(struct lease *l, int (*tick)(void *arg, struct fail *why), void *arg,
		uint64_t *took_ns, uint64_t *fixed_ns, struct fail *why);

/**
 * lease_pause - stop vCPUs, quiesce devices, and begin an epoch
 * @deadline_ms: 1 to 600000, from the request; past it vmrun revokes the lease and resumes the VM
 * @epoch:       uuid of the snapshot or move
 *
 * lease_renew() sets a new deadline; its answer confirms that the pause is unbroken. lease_resume()
 * ends the pause. lease_quit() ends the VM, which then has not run since lease_pause().
 */
int lease_pause(struct lease *l, unsigned deadline_ms, const struct uuid *epoch, struct fail *why);
int lease_renew(struct lease *l, unsigned deadline_ms, struct fail *why);
int lease_resume(struct lease *l, struct fail *why);
int lease_quit(struct lease *l, struct fail *why);

/* Returns when the pages of the region are present. */
int lease_fill(struct lease *l, uint32_t region, uint64_t first, uint64_t count, struct fail *why);

/* Ends logging. done: the answer confirms that the lease has been unbroken, and the pause stays;
 * else pause and epoch end too. */
int lease_finish(struct lease *l, bool done, struct fail *why);
/* After lease_finish(done): the snapshot is safe, so the epoch before it is dropped. */
int lease_commit(struct lease *l, const struct uuid *snapshot, struct fail *why);

/* The hand-over, docs/control.md 8 and docs/protocol.md 8; each is on disk when it is answered.
 * move: id of the move. A text (peer) that does not fit a message is FAIL_USAGE. */

/* Source: records the move, then (paused) gives the VM away, then either concludes it or takes the
 * VM back. confirmed: a human vouches for it, the peer has not said RETURNED. generation: the
 * target's, 0 when unknown. */
int lease_moving(struct lease *l, const struct uuid *move, const char *peer, struct fail *why);
int lease_release(struct lease *l, const struct uuid *move, struct fail *why);
int lease_retaking(struct lease *l, const struct uuid *move, bool on, struct fail *why);
int lease_retake(struct lease *l, const struct uuid *move, bool confirmed, struct fail *why);
int lease_done(struct lease *l, const struct uuid *move, uint64_t generation, struct fail *why);

/* Target, in this order. lock_fd (the VM's lock, libcommon/client/moves.h) stays the caller's; fdt
 * is at most 4 MiB; generation is the source's. */
int lease_claim(struct lease *l, int lock_fd, struct fail *why);
int lease_written(struct lease *l, struct fail *why);
int lease_load(struct lease *l, const void *fdt, size_t len, struct fail *why);
int lease_ready(struct lease *l, const struct uuid *move, const char *peer, uint64_t generation,
		struct fail *why);
int lease_start(struct lease *l, const struct uuid *move, struct fail *why);
int lease_abort(struct lease *l, const struct uuid *move, struct fail *why);

#endif
