/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_HOST_CHARDEV_INTERNAL_H
#define VMRUN_HOST_CHARDEV_INTERNAL_H

#include "vmrun/host/accept.h"
#include "vmrun/host/chardev.h"
#include "vmrun/host/chardev_spec.h"

#include <pthread.h>
#include <stdatomic.h>

/* Between chardev.c (bytes in and out) and chardev_host.c (what a spec opens). */

/* Bytes read at once; read ahead of the guest from a terminal, to see Ctrl-a. */
#define CHARDEV_INPUT_ONCE 512u
#define CHARDEV_INPUT_MAX  16384u

struct chardev {
	enum chardev_kind  kind;
	struct loop       *loop;
	struct chardev_ops ops;
	char               where[256];
	bool               escape;           /* Ctrl-a is an escape */
	bool               waits;            /* the guest waits, output is not lost */
	bool               terminal;         /* made raw */

	/* Input: the main thread's, but for `stopped`. */
	int                in;               /* -1: none, or at its end */
	/* NULL while nothing is read, and for files: epoll refuses. */
	struct loop_watch *in_watch;
	bool               in_file;
	int                kick;             /* eventfd: offer again */
	struct loop_watch *kick_watch;
	_Atomic bool       stopped;          /* an offer is under way or was not taken whole */
	bool               escaped;          /* Ctrl-a was typed */
	uint8_t            input[CHARDEV_INPUT_MAX];
	size_t             input_at, input_len;

	int                listener;         /* unix */
	struct acceptor   *acceptor;
	uint64_t           listen_ino, listen_dev;
	int                slave;            /* pty: held open, so that the master never hangs up */

	/* Output: under lock. out is a descriptor apart from in, also when both are one file. */
	pthread_mutex_t    lock;
	pthread_cond_t     drained;
	int                out;              /* -1: text is dropped */
	bool               out_socket, out_blocking;
	struct loop_watch *out_watch;        /* only while something waits */
	uint8_t           *backlog;
	size_t             backlog_at, backlog_len, backlog_capacity;
	bool               asked;            /* chardev_capacity said no */
	uint64_t           written, lost;
};

/* Opens what spec names into c (zeroed, descriptors -1). */
int chardev_host_open(struct chardev *c, const char *spec, struct fail *why);
/* Main thread: a client of the unix socket. */
void chardev_accept(void *arg, int fd);      /* takes fd */
void chardev_unlink(struct chardev *c);

/* Main thread: begins to read c->in. */
int chardev_input_start(struct chardev *c, struct fail *why);
/* Main thread: closes both ends and drops the backlog. */
void chardev_hangup(struct chardev *c);
/* Under lock: nothing more is written to c->out. */
void chardev_out_gone(struct chardev *c);

#endif
