/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_DISKS_H
#define VMRUN_DEVICES_DISKS_H

#include "format/tree/machine.h"
#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>

/* The host's side of a disk: one regular file or block device, never created, never truncated, held
 * by OFD locks: one VM writes, or several read (disk_lock.c). */


/* DISK_HANDOVER: released and not yet taken by the target, or of an incoming VM. Only vmruns of
 * this VM can get the disk. */
enum disk_hold { DISK_FREE, DISK_HANDOVER, DISK_OWNED };

struct disk {
	int      fd;            /* -1: closed */
	/* A writable block device, opened O_EXCL while DISK_OWNED; else -1. */
	int      claim;
	bool     readonly, block;
	enum disk_hold hold;
	uint64_t size;          /* bytes, at open */
	char     name[VM_NAME_MAX + 1];
	/* Called after each write, by any thread (disk_sync_wrote); NULL: not wanted. */
	void   (*wrote)(void *arg, uint64_t at, uint64_t len);
	void    *wrote_arg;
};

/* Does not lock. */
int disk_open(struct disk *disk, const struct machine_host *host, struct fail *why);
void disk_close(struct disk *disk);
/* Both idempotent. disk_lock: to DISK_OWNED; from DISK_FREE for a VM that is started, from
 * DISK_HANDOVER for START and RETAKE, which wait up to 1 s for a range: a process that is about to
 * be refused may hold it for a moment. disk_hand_over: to DISK_HANDOVER; from DISK_FREE for an
 * incoming VM, while the source's vmrun still owns the disk. */
int disk_lock(struct disk *disk, struct fail *why);
int disk_hand_over(struct disk *disk, struct fail *why);
/* Does another process hold a lock on fd's file that conflicts with a user like disk? 1, 0, -1. */
int disk_locked(int fd, const struct disk *disk, struct fail *why);
/* disk_alias.c: refuses a disk that is in use as the loop device over it, or as its backing
 * file. */
int disk_aliases(const struct disk *disk, struct fail *why);

/* Requests: 0, or an errno. Any thread, also concurrently. */
int disk_read(const struct disk *disk, void *buf, uint64_t len, uint64_t at);
int disk_write(const struct disk *disk, const void *buf, uint64_t len, uint64_t at);
int disk_flush(const struct disk *disk);
/* A hint: nothing is done where the file system cannot. */
int disk_discard(const struct disk *disk, uint64_t len, uint64_t at);
/* Reads as zeros after it. unmap: the space may be freed. buf: DISK_ZERO_CAPACITY bytes. */
#define DISK_ZERO_CAPACITY 65536u
int disk_zero(const struct disk *disk, uint64_t len, uint64_t at, bool unmap, void *buf);

#endif
