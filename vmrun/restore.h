/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_RESTORE_H
#define VMRUN_RESTORE_H

#include "format/snapshot/snapshot.h"
#include "vmrun/boot/image_pieces.h"
#include "vmrun/setup.h"

#include <pthread.h>

/* The ways of restoring a VM, and what they share: restore.c has the VM's course from the command
 * line to its start, restore_copy.c reads memory from the snapshot, restore_cow.c maps it. */

struct restoring;

/**
 * struct restore_ops - one way
 * @open:  reads header and configuration: restore_machine() fills @m and @recorded. Main thread,
 *         before there is a VM. @backing: out, the file to be mapped, if any
 * @load:  all memory and the images, into a VM that does not run; then checks the rest of the
 *         snapshot. In a thread of its own
 * @state: after @load: the STATE tree; NULL: there is none
 * @close: frees what @open has opened, in part or not at all
 */
struct restore_ops {
	int            (*open)(struct restoring *r, struct machine *m, struct machine *recorded,
			       struct vm_backing *backing, struct fail *why);
	int            (*load)(struct restoring *r, struct fail *why);
	const uint8_t *(*state)(const struct restoring *r, size_t *len);
	void           (*close)(struct restoring *r);
};
extern const struct restore_ops restore_copy, restore_cow;

/* Reading a snapshot has a thread of its own, so that the control socket is served while a pipe
 * stalls. */
struct restoring {
	const struct restore_ops *ops;
	struct vm                *vm;
	const struct options     *o;
	int                       fd;                /* the source */
	int                       cancel, done;      /* eventfds: cancels the thread, signals that
						      * it has ended */
	struct snap_stream       *stream;            /* restore_copy */
	struct snap_image        *image;             /* restore_cow */
	enum snap_auth            auth, auth_all;    /* restore_cow */
	struct loop_watch        *watch;
	pthread_t                 thread;
	bool                      running;           /* the thread is to be joined */
	int                       rc;                /* once it has ended */
	struct fail               why;
};

/* Reads the configuration. auth: who wrote it; no_key: why there is no key to tell by, if so.
 * recorded: out, what m was before the options. */
int restore_machine(const struct restoring *r, const uint8_t *fdt, size_t len, enum snap_auth auth,
		    const struct fail *no_key, struct machine *m, struct machine *recorded,
		    struct fail *why);
/* Recorded paths were used because the configuration is authentic: the rest must be, too. */
int restore_own(const struct options *o, enum snap_auth config, enum snap_auth all,
		struct fail *why);
/* For kernel and initrd in the snapshot. */
struct image_pieces restore_images(const struct restoring *r);

#endif
