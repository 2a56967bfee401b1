/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BLK_ALL_H
#define VMRUN_BLK_ALL_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>

/* What is asked of all disks of a VM, through struct disk_ops of each (vmrun/devices/device.h). */

struct device;
struct pollfd;
struct vm;

/* The next disk of the VM at or after *i, which moves past it; NULL when there is none. */
struct device *blk_next_disk(struct vm *vm, unsigned *i);

/* Has the host truncated a disk below what its guest knows? FAIL_SYSTEM names it. */
int blk_sizes(struct vm *vm, struct fail *why);
/* Size, mtime and digest of each disk, read now, into vm->cfg.hosts. */
int blk_fingerprint(struct vm *vm, struct fail *why);

/* What a save or a move needs of the disks. It can take long, so nobody waits with control_lock
 * held. One of these starts it:
 *   blk_sync_start   flushes what was written since the last flush, and reads the samples that were
 *                    written since they were read
 *   blk_hold         holds requests back that have not begun, until none is in flight; a resume
 *                    undoes it
 * and blk_wait waits for it. Only one thread waits at a time. */
void blk_sync_start(struct vm *vm, bool sample);
void blk_hold(struct vm *vm, bool hold);
enum blk_wait { BLK_WAIT_SYNCED, BLK_WAIT_QUIET };
/* True when it is done. False: until_ns has passed (0: never), or one of the n `others` (8 at most)
 * has an event. */
bool blk_wait(struct vm *vm, enum blk_wait what, struct pollfd *others, unsigned n,
	      uint64_t until_ns);

/* Under control_lock: the result. None of these waits. */
int blk_synced(struct vm *vm, struct fail *why);
int blk_quiet(struct vm *vm, struct fail *why);
/* As blk_fingerprint, from the samples that blk_sync_start has read. */
int blk_sampled(struct vm *vm, struct fail *why);
void blk_forget_samples(struct vm *vm);

#endif
