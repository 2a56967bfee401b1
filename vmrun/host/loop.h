/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_HOST_LOOP_H
#define VMRUN_HOST_LOOP_H

#include "libcommon/fail.h"

#include <stdint.h>

/* The main thread's epoll loop: console, control socket, signals, requests from vCPUs. Callbacks
 * run on the main thread without any lock held. loop_add, _change and _remove may be called from
 * any thread; once loop_remove, called on the main thread, has returned, the callback does not
 * run any more. */

struct loop;
struct loop_watch;
typedef void loop_fn(void *arg, uint32_t events);      /* EPOLLIN ... */

int loop_open(struct loop **out, struct fail *why);
void loop_close(struct loop *l);
/* NULL on failure. */
struct loop_watch *loop_add(struct loop *l, int fd, uint32_t events, loop_fn *fn, void *arg,
			    struct fail *why);
void loop_change(struct loop *l, struct loop_watch *w, uint32_t events);
void loop_remove(struct loop *l, struct loop_watch *w);    /* NULL allowed; the fd stays open */

/* Runs until loop_stop. Deadline timers: fn once, at ns on io_now_ns's clock; 0 disarms. */
struct loop_timer;
struct loop_timer *loop_timer_add(struct loop *l, loop_fn *fn, void *arg, struct fail *why);
void loop_timer_set(struct loop_timer *t, uint64_t at_ns);
void loop_timer_remove(struct loop *l, struct loop_timer *t);
int loop_run(struct loop *l, struct fail *why);
void loop_stop(struct loop *l);

#endif
