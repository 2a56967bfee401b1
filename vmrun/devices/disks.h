#ifndef VMRUN_DEVICES_DISKS_H
#define VMRUN_DEVICES_DISKS_H

#include "format/machine.h"
#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>

/* The host's side of a disk: one regular file or block device, never created, never truncated, held by an OFD lock over all of
 * it: exclusive for a VM that writes, shared for those that read. */

struct vm;

struct disk {
	int      fd;            /* -1: closed */
	bool     readonly, locked;
	bool     unsynced;      /* written since the last disk_sync; with machine_lock */
	uint64_t size;          /* bytes, at open */
	char     name[VM_NAME_MAX + 1];
};

int disk_open(struct disk *disk, const struct machine_host *host, struct fail *why);     /* does not lock */
void disk_close(struct disk *disk);
int disk_lock(struct disk *disk, struct fail *why);                                      /* idempotent */
void disk_unlock(struct disk *disk);

/* Requests: 0, or an errno. All any thread, all at once. */
int disk_read(const struct disk *disk, void *buf, uint64_t len, uint64_t at);
int disk_write(const struct disk *disk, const void *buf, uint64_t len, uint64_t at);
int disk_flush(const struct disk *disk);
int disk_discard(const struct disk *disk, uint64_t len, uint64_t at);      /* a hint: a file that can't is left as it is */
/* Reads as zeros after it. unmap: the room may be given back. buf: room for disk_zero_room bytes. */
#define DISK_ZERO_ROOM 65536u
int disk_zero(const struct disk *disk, uint64_t len, uint64_t at, bool unmap, void *buf);

/* All of a VM's disks: board_own calls the first two. */
int blk_lock_all(struct vm *vm, struct fail *why);
void blk_unlock_all(struct vm *vm);
/* While paused: size, mtime and digest of each disk into vm->cfg.hosts. */
int blk_fingerprint(struct vm *vm, struct fail *why);

#endif
