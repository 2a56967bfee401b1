/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_CONTROL_SERVER_H
#define VMRUN_CONTROL_SERVER_H

#include "libcommon/client/moves.h"
#include "libcommon/paths.h"
#include "vmrun/host/accept.h"
#include "vmrun/control/control_server.h"
#include "vmrun/control/qmp.h"
#include "vmrun/host/loop.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What the files of this folder share. The socket, its clients and QMP are used by the main thread
 * alone; events come from any thread and are protected by `events_lock`; leases and the record by
 * vm->control_lock. */

#define SERVER_CLIENTS_MAX 32u
#define SERVER_OUT_MAX     (4u << 20)      /* queued for one client, which is dropped beyond */
#define SERVER_EVENTS_MAX  32u             /* event names remembered */

struct vm;
struct lease_session;

struct server_line {                       /* one line to be sent to a client */
	struct server_line *next;
	int                 fd;            /* sent with its first byte; -1 for none */
	size_t              len, sent;
	char                text[];
};

struct server_client {
	struct server_client  *next;
	struct control_server *server;
	struct loop_watch     *watch;
	int                    fd;
	pid_t                  pid;
	bool                   negotiated;
	bool                   doomed;     /* closed once its output is sent */
	bool                   dead;       /* closed by the next sweep */
	struct qmp_scan        scan;
	char                  *in;
	size_t                 in_len, in_capacity;
	struct server_line    *out, **out_tail;
	size_t                 out_bytes;
};

struct server_event {                      /* the last of its name */
	uint64_t seq;
	char    *name;
	json_t  *event;
};

struct control_server {
	struct vm            *vm;
	char                  path[PATHS_MAX], lock_path[PATHS_MAX];
	int                   listen_fd, lock_fd;
	struct acceptor      *acceptor;
	struct server_client *clients;
	unsigned              nclients;

	pthread_mutex_t       events_lock;
	int                   wake_fd;     /* events are queued, or a session's thread has ended */
	struct loop_watch    *wake_watch;
	struct loop_timer    *alone;       /* incoming: ends a VM that nobody fills */
	int                   starter_fd;  /* incoming: pidfd of who started us; -1: not watched */
	struct loop_watch    *starter_watch;
	struct server_line   *queued, **queued_tail;
	uint64_t              event_seq;
	struct server_event   remembered[SERVER_EVENTS_MAX];

	/* under vm->control_lock */
	struct lease_session *sessions;
	struct move_record    move;        /* this VM's record; on disk too, unless stale */
	bool                  have_move;
	bool                  stale;       /* the disk may differ: tried again by `retry` */
	struct loop_timer    *retry;
	int                   move_lock;   /* the claim; -1: incoming, not passed to us yet */
	char                  token[CONTROL_TOKEN_MAX + 1];      /* of our starter; "": none */
	bool                  token_used;  /* the first lease was taken */
	bool                  loaded;      /* incoming: state is in place */
	bool                  written;     /* incoming: and RAM */
	uint64_t              pause_ns[2]; /* of the last two pauses with state; 0: not measured */
	bool                  spoilt;      /* incoming: a load failed midway; can never start */
};

/* socket.c: NAME.sock, its lock, and what the lock file tells of a VM that has ended. */
int  socket_open(struct control_server *s, const char *path, struct fail *why);
void socket_close(struct control_server *s, json_t *epitaph);      /* takes the reference */
bool socket_is_live(const char *socket);                           /* its lock is taken */
/* The epitaph of the VM that had this socket: a new reference, NULL when it lives or has left none.
 * wait_ms: how long a VM that is just ending is waited for. */
json_t *socket_epitaph(const char *socket, unsigned wait_ms);

/* client.c */
void client_accept(void *server, int fd);
void client_close(struct server_client *c);
/* Queues text and a newline, and takes fd (-1 for none). A client that is too far behind is marked
 * dead. */
void client_send(struct server_client *c, const char *text, size_t len, int fd);
void client_flush(struct server_client *c);
void client_sweep(struct control_server *s);                            /* closes the dead */

/* events.c */
/* Every event that is sent (docs/control.md 5); name NULL at the end. opposite: the event that this
 * one undoes, so that only the last of the two is still true and remembered; NULL for none. */
struct event_kind {
	const char *name, *opposite;
};
extern const struct event_kind events_kinds[];
/* Sets vm->control; NULL clears it. */
void    events_attach(struct vm *vm, struct control_server *s);
/* Main thread: moves queued events to every client's queue. */
void    events_deliver(struct control_server *s);
/* {"seq": N, "events": [...]}, a new reference. */
json_t *events_remembered(struct control_server *s);
void    events_forget(struct control_server *s);
/* Why the VM has ended: "guest-shutdown". */
void    events_end_reason(struct control_server *s, char *out, size_t capacity);

/* server.c */
void server_wake(struct control_server *s);               /* any thread */

#endif
