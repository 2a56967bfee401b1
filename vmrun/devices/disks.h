/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_DISKS_H
#define VMRUN_DEVICES_DISKS_H

#include "format/tree/machine.h"
#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>

/* The host's side of a disk: one regular file or block device, never created, never truncated, held
 * by OFD locks: one VM writes, or several read (disk_lock.c). */


/* DISK_HANDOVER: given away and not yet taken, or about to arrive. Nobody but the vmruns of that VM
 * gets it. */
enum disk_hold { DISK_FREE, DISK_HANDOVER, DISK_OWNED };

struct disk {
	int      fd;            /* -1: closed */
	/* A writable block device, opened O_EXCL while DISK_OWNED; else -1. */
	int      claim;
	bool     readonly, block;
	enum disk_hold hold;
	uint64_t size;          /* bytes, at open */
	char     name[VM_NAME_MAX + 1];
	/* Called after each write, any thread (disk_sync_wrote); NULL: nobody wants to know. */
	void   (*wrote)(void *arg, uint64_t at, uint64_t len);
	void    *wrote_arg;
};

/* Does not lock. */
int disk_open(struct disk *disk, const struct machine_host *host, struct fail *why);
void disk_close(struct disk *disk);
/* Both idempotent. disk_lock: to DISK_OWNED; from DISK_FREE as any VM that is started, from
 * DISK_HANDOVER as START and RETAKE, which wait up to a second for a range that somebody holds who
 * is about to be refused. disk_hand_over: to DISK_HANDOVER; from DISK_FREE as an incoming VM,
 * beside the vmrun that still owns the disk. */
int disk_lock(struct disk *disk, struct fail *why);
int disk_hand_over(struct disk *disk, struct fail *why);
/* Does anybody else hold a lock on fd's file that would keep a user like disk out? 1, 0, -1. */
int disk_locked(int fd, const struct disk *disk, struct fail *why);
/* disk_alias.c: refuses a disk that somebody has as the loop device over it, or as the file behind
 * it. */
int disk_aliases(const struct disk *disk, struct fail *why);

/* Requests: 0, or an errno. All any thread, all at once. */
int disk_read(const struct disk *disk, void *buf, uint64_t len, uint64_t at);
int disk_write(const struct disk *disk, const void *buf, uint64_t len, uint64_t at);
int disk_flush(const struct disk *disk);
/* A hint: a file that can't is left as it is. */
int disk_discard(const struct disk *disk, uint64_t len, uint64_t at);
/* Reads as zeros after it. unmap: the room may be given back. buf: DISK_ZERO_CAPACITY bytes. */
#define DISK_ZERO_CAPACITY 65536u
int disk_zero(const struct disk *disk, uint64_t len, uint64_t at, bool unmap, void *buf);

#endif
