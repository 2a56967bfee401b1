/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_CONTROL_LEASE_SESSION_H
#define VMRUN_CONTROL_LEASE_SESSION_H

#include "libcommon/client/lease.h"
#include "libcommon/fail.h"
#include "vmrun/blk_all.h"
#include "vmrun/dirty.h"

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* vmrun's end of a lease (libcommon/client/lease.h is the holder's): a channel, a thread that
 * serves it, and what the holder may ask for. All verbs run under vm->control_lock, so that no two
 * sessions change the VM at once; what a session has taken of the VM is given back when its channel
 * ends. */

#define SESSION_HOLDER_MAX    64
#define SESSIONS_MAX          32u
#define SESSION_PAUSE_MS_MAX  600000u

struct control_server;

struct lease_session {
	struct lease_session  *next;       /* in control_server.sessions, under control_lock */
	struct control_server *server;
	enum lease_kind        kind;
	char                   holder[SESSION_HOLDER_MAX];
	int                    fd;         /* channel, non-blocking */
	int                    kick;       /* eventfd: the server closes */
	pthread_t              thread;

	/* under control_lock */
	bool                   gone;       /* the channel has ended: to be joined */
	bool                   lost;       /* revoked: answers LEASE_LOST to whatever comes */
	enum fail_kind         lost_kind;
	char                   lost_why[200];
	bool                   paused, throttled, epoch, finished;
	bool                   moving;         /* it wrote MOVING or RETAKING, which end with it */
	bool                   state_given;    /* in this pause */
	_Atomic uint64_t       deadline_ns;    /* of the pause, 0: none; the session's thread
						* reads it without the lock */
	bool                   logging;
	bool                   samples;    /* the disks keep some for us */
	bool                   rehearsed;  /* the cost of a pause was measured */
	uint64_t               hold_ns;    /* what the pause took */
	struct dirty_consumer  consumer;
};

struct session_call {
	const struct lease_msg *in;
	int                     in_fd;     /* -1 for none; stays the caller's */
	struct lease_msg       *out;
	uint64_t                begin_ns;  /* when the request came */
	int                     fds[2];    /* sent with the answer, then closed */
	size_t                  nfds;
};

/* ---- lease_session.c: life. Under control_lock unless said otherwise. ---- */

/* Main thread. *fd is the holder's end. A second lease of an exclusive kind is refused with the
 * name of who has the first. token: "" for none. */
int session_open(struct control_server *s, enum lease_kind kind, const char *holder,
		 const char *token, int *fd, struct fail *why);
/* Main thread, without control_lock: joins threads that have ended. */
void sessions_reap(struct control_server *s);
/* Main thread, without control_lock: ends all, tells the holders why the VM ended, joins. */
void sessions_close(struct control_server *s);
/* Revokes logging leases whose holders have ended, so that a new one is not refused because of
 * them. */
void sessions_drop_ended(struct control_server *s);
/* Who holds the lease of that (exclusive) kind; `none` when nobody does. */
const char *sessions_holder(const struct control_server *s, enum lease_kind kind,
			    const char *none);
/* A move has the VM's state, and has not released the VM yet. */
bool sessions_state_moving(const struct control_server *s);
json_t *sessions_json(const struct control_server *s);

/* ---- lease_verbs.c, lease_log.c, lease_images.c: what can be asked for ---- */

int  session_execute(struct lease_session *g, struct session_call *call, struct fail *why);
/* Starts what the verb needs of the disks before session_execute(). It is waited for without
 * control_lock, so that a disk that hangs stops neither commands nor the pause's deadline. False:
 * nothing to wait for. */
bool session_begin(struct lease_session *g, struct session_call *call, enum blk_wait *what);
/* The messages behind the answer to LEASE_REGIONS. */
int  session_region(struct lease_session *g, uint32_t i, struct lease_msg *out, int *fd,
		    struct fail *why);
int  session_image(struct lease_session *g, struct session_call *call, struct fail *why);
int  session_image_put(struct lease_session *g, struct session_call *call, struct fail *why);
int  session_log_start(struct lease_session *g, struct session_call *call, struct fail *why);
void session_log_stop(struct lease_session *g);

#endif
