/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/disks.h"

#include "libcommon/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

/* Two ranges of OFD locks side by side (docs/control.md 8):
 *
 *              range of the owner    range of the hand-over
 *   owner      exclusive             shared
 *   released   -                     shared
 *   READY      -                     shared
 *   reader     shared                -
 *
 * A VM that is started needs the second range exclusively before it takes the first, so that it
 * never gets a disk between the RELEASE of one vmrun and the START of the other, whichever of the
 * two dies in between. */
#define OWNER_START     0
#define OWNER_LENGTH    ((off_t)1 << 62)
#define HANDOVER_START  OWNER_LENGTH
#define HANDOVER_LENGTH 1

/* A process that is about to be refused may hold a range for a moment: retry for so long. */
#define LOCK_PATIENCE_NS 1000000000ull
#define LOCK_RETRY_MS    5

enum range { RANGE_OWNER, RANGE_HANDOVER };

static struct flock disk_range(enum range range, int type)
{
	return (struct flock){
		.l_type   = (short)type,
		.l_whence = SEEK_SET,
		.l_start  = range == RANGE_OWNER ? OWNER_START : HANDOVER_START,
		.l_len    = range == RANGE_OWNER ? OWNER_LENGTH : HANDOVER_LENGTH,
	};
}

/* 1: taken, 0: somebody else has it, -1. */
static int disk_take(const struct disk *disk, enum range range, int type, struct fail *why)
{
	struct flock lk = disk_range(range, type);

	if (fcntl(disk->fd, F_OFD_SETLK, &lk) == 0)
		return 1;
	if (errno == EAGAIN || errno == EACCES)
		return 0;
	return fail_sys(why, "disk %s: lock", disk->name);
}

static int disk_take_patiently(const struct disk *disk, enum range range, int type,
			       struct fail *why)
{
	uint64_t until = io_now_ns() + LOCK_PATIENCE_NS;
	int      taken;

	while ((taken = disk_take(disk, range, type, why)) == 0 && io_now_ns() < until)
		poll(NULL, 0, LOCK_RETRY_MS);
	return taken;
}

static void disk_drop(const struct disk *disk, enum range range)
{
	struct flock lk = disk_range(range, F_UNLCK);

	fcntl(disk->fd, F_OFD_SETLK, &lk);
}

/* Does anybody else hold a lock in the range that keeps one of that type out? 1, 0, -1. */
static int disk_held(const struct disk *disk, enum range range, int type, struct fail *why)
{
	struct flock lk = disk_range(range, type);

	if (fcntl(disk->fd, F_OFD_GETLK, &lk))
		return fail_sys(why, "disk %s: lock", disk->name);
	return lk.l_type != F_UNLCK;
}

int disk_locked(int fd, const struct disk *disk, struct fail *why)
{
	struct disk other = *disk;
	int         held;

	other.fd = fd;
	if (disk->readonly)
		return disk_held(&other, RANGE_OWNER, F_RDLCK, why);
	held = disk_held(&other, RANGE_OWNER, F_WRLCK, why);
	return held ? held : disk_held(&other, RANGE_HANDOVER, F_WRLCK, why);
}

static int disk_refuse(const struct disk *disk, struct fail *why)
{
	return fail_set(why, FAIL_REFUSED, "disk %s: already %s by another VM", disk->name,
			disk->readonly ? "open for writing" : "in use");
}

static int disk_refuse_moving(const struct disk *disk, struct fail *why)
{
	return fail_set(why, FAIL_REFUSED,
			"disk %s: already in use by a VM that is being moved: see vmmigrate status",
			disk->name);
}

/* Readers share their range. It keeps owners out, and the second range shows a disk that is between
 * two owners. */
static int disk_lock_reader(struct disk *disk, struct fail *why)
{
	int taken = disk_take_patiently(disk, RANGE_OWNER, F_RDLCK, why), moving;

	if (taken <= 0)
		return taken < 0 ? -1 : disk_refuse(disk, why);
	moving = disk_held(disk, RANGE_HANDOVER, F_WRLCK, why);
	if (moving == 0)
		return 0;
	disk_drop(disk, RANGE_OWNER);
	return moving < 0 ? -1 : disk_refuse_moving(disk, why);
}

/* From nothing to the owner: a VM that is started or restored. */
static int disk_lock_stranger(struct disk *disk, struct fail *why)
{
	int taken = disk_held(disk, RANGE_OWNER, F_WRLCK, why);

	if (taken)
		return taken < 0 ? -1 : disk_refuse(disk, why);
	taken = disk_take(disk, RANGE_HANDOVER, F_WRLCK, why);
	if (taken <= 0)
		return taken < 0 ? -1 : disk_refuse_moving(disk, why);
	taken = disk_take(disk, RANGE_OWNER, F_WRLCK, why);
	/* Exclusive to shared is one step, so that no other process gets in between. */
	if (taken == 1 && (taken = disk_take(disk, RANGE_HANDOVER, F_RDLCK, why)) == 1)
		return 0;
	disk_drop(disk, RANGE_OWNER);
	disk_drop(disk, RANGE_HANDOVER);
	return taken < 0 ? -1 : disk_refuse(disk, why);
}

/* From the hand-over to the owner: START and RETAKE. */
static int disk_lock_handed_over(struct disk *disk, struct fail *why)
{
	int taken = disk_take_patiently(disk, RANGE_OWNER, F_WRLCK, why);

	if (taken <= 0)
		return taken < 0 ? -1 : disk_refuse(disk, why);
	return 0;
}

/* ---- the claim of a block device ----
 *
 * Locks belong to a device node, of which there may be several. What the kernel gives to one holder
 * on a host is the device opened with O_EXCL: mounts, device mapper and mkfs use it, too. It is a
 * descriptor of its own, because on one host the vmrun of an incoming VM opens the device while
 * the other still has the claim. */

static int disk_claim_once(struct disk *disk)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", disk->fd);
	disk->claim = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	return disk->claim < 0 ? errno : 0;
}

static int disk_claim(struct disk *disk, bool patient, struct fail *why)
{
	uint64_t until = io_now_ns() + LOCK_PATIENCE_NS;
	int      error;

	if (!disk->block || disk->readonly)
		return 0;
	while ((error = disk_claim_once(disk)) == EBUSY && patient && io_now_ns() < until)
		poll(NULL, 0, LOCK_RETRY_MS);
	if (error == 0)
		return 0;
	if (error == EBUSY)
		return fail_set(why, FAIL_REFUSED,
			"disk %s: already in use: mounted, or locked by another VM or program",
			disk->name);
	errno = error;
	return fail_sys(why, "disk %s: claim block device", disk->name);
}

static void disk_release(struct disk *disk, enum disk_hold to)
{
	io_close(&disk->claim);
	disk_drop(disk, RANGE_OWNER);
	if (to == DISK_FREE)
		disk_drop(disk, RANGE_HANDOVER);
	disk->hold = to;
}

int disk_lock(struct disk *disk, struct fail *why)
{
	enum disk_hold was = disk->hold;
	int            rc;

	if (disk->hold == DISK_OWNED || disk->fd < 0)
		return 0;
	if (disk->readonly)
		rc = disk->hold == DISK_HANDOVER ? 0 : disk_lock_reader(disk, why);
	else
		rc = disk->hold == DISK_HANDOVER
		     ? disk_lock_handed_over(disk, why) : disk_lock_stranger(disk, why);
	if (rc)
		return -1;
	disk->hold = DISK_OWNED;
	if (disk_claim(disk, was == DISK_HANDOVER, why) ||
	    (was == DISK_FREE && disk_aliases(disk, why))) {
		disk_release(disk, was);
		return -1;
	}
	return 0;
}

int disk_hand_over(struct disk *disk, struct fail *why)
{
	int taken;

	if (disk->hold == DISK_HANDOVER || disk->fd < 0)
		return 0;
	if (disk->readonly) {      /* the same shared lock for both */
		if (disk->hold == DISK_FREE && disk_lock_reader(disk, why))
			return -1;
	} else if (disk->hold == DISK_FREE) {
		taken = disk_take_patiently(disk, RANGE_HANDOVER, F_RDLCK, why);
		if (taken <= 0)
			return taken < 0 ? -1 : disk_refuse(disk, why);
	} else {
		disk_release(disk, DISK_HANDOVER);
	}
	disk->hold = DISK_HANDOVER;
	return 0;
}
