/* SPDX-License-Identifier: MIT */
#include "vmsnap/space.h"

#include "format/snapshot/snapshot.h"
#include "libcommon/client/lease.h"
#include "libcommon/pages.h"
#include "libcommon/units.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SPACE_STEP (32u << 20)      /* reserved ahead of what is written: few calls, little waste */
/* Never taken: left to the disks of VMs; 1/16 of a small file system. */
#define SPACE_LEFT (64u << 20)
#define SPACE_PAGE (4096u + 64)     /* a page, and its share of tables and index */
#define SPACE_REST (256u << 10)     /* header and trees */
/* Of a sparse file: what the writer has and has not written takes nothing yet. While the last of
 * the memory is written for the second time a batch of it must still seem to fit. */
#define SPACE_QUEUED ((uint64_t)SNAP_WRITER_QUEUED)
#define SPACE_SLACK  (sizeof(struct page_batch) + SPACE_QUEUED)

void space_open(struct space *s, int fd, const char *what, bool sparse)
{
	struct stat st;
	off_t       at = lseek(fd, 0, SEEK_CUR);
	int         flags = fcntl(fd, F_GETFL);

	*s = (struct space){ .fd = fd, .what = what, .sparse = sparse, .can_reserve = true };
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || at < 0 || flags < 0)
		return;
	s->counts   = true;
	s->base     = (uint64_t)(flags & O_APPEND ? st.st_size : at);
	s->reserved = s->base;
}

uint64_t space_of_pages(uint64_t pages)
{
	return pages * SPACE_PAGE + SPACE_REST;
}

uint64_t space_forecast(const struct lease *l)
{
	uint64_t pages = 0;

	for (uint32_t i = 0; i < l->nrams; i++)
		pages += l->rams[i].present;
	return space_of_pages(pages);
}

static int space_refuse(const struct space *s, uint64_t end, uint64_t free, uint64_t left,
			struct fail *why)
{
	const char *advice = s->temporary ? ""
			   : s->sparse    ? ", or use --layout chunked with --compress"
					  : ", or use --compress";
	char        need[UNITS_TEXT], have[UNITS_TEXT], keep[UNITS_TEXT];

	return fail_set(why, FAIL_SYSTEM,
			"%s: No space left on device: up to %s needed, %s free, %s of it reserved; "
			"free up space%s",
			s->what, units_bytes(end - s->base, need), units_bytes(free, have),
			units_bytes(left, keep), advice);
}

static int space_reserve(struct space *s, uint64_t to)
{
	int rc;

	if (!s->can_reserve)
		return 0;
	do {
		rc = fallocate(s->fd, FALLOC_FL_KEEP_SIZE, (off_t)s->reserved,
			       (off_t)(to - s->reserved));
	} while (rc && errno == EINTR);
	if (rc && (errno == ENOSPC || errno == EDQUOT))
		return -1;
	/* Not supported, or an error that the next write reports as well. */
	s->can_reserve = rc == 0;
	return 0;
}

/* *left: of what is free, never taken. false: it is not known. */
static bool space_free(const struct space *s, uint64_t *free, uint64_t *left)
{
	struct statvfs v;

	if (!s->counts || fstatvfs(s->fd, &v))
		return false;
	*free = (uint64_t)v.f_bavail * v.f_frsize;
	*left = (uint64_t)v.f_blocks * v.f_frsize / 16;
	*left = *left < SPACE_LEFT ? *left : SPACE_LEFT;
	return true;
}

/* What is written in place of something else needs nothing more: at worst it is refused within
 * SPACE_SLACK of the end. */
static int space_sparse(const struct space *s, uint64_t bytes, struct fail *why)
{
	uint64_t free, left;

	if (!space_free(s, &free, &left) || bytes + left <= free)
		return 0;
	return space_refuse(s, s->base + bytes, free, left, why);
}

int space_need(struct space *s, uint64_t end, struct fail *why)
{
	uint64_t at = s->base + end, to = at + SPACE_STEP, free, left;

	if (s->sparse)
		return space_sparse(s, end + SPACE_SLACK, why);
	if (at <= s->reserved || !space_free(s, &free, &left))
		return 0;
	if (to - s->reserved + left > free)
		to = at;
	if (to - s->reserved + left > free || space_reserve(s, to))
		return space_refuse(s, at, free, left, why);
	s->reserved = to;
	return 0;
}

int space_next(struct space *s, uint64_t at, uint64_t bytes, struct fail *why)
{
	return s->sparse ? space_sparse(s, bytes + SPACE_QUEUED, why)
			 : space_need(s, at + bytes, why);
}

void space_trim(struct space *s, uint64_t end)
{
	uint64_t    at = s->base + end;
	struct stat st;

	if (!s->counts || at >= s->reserved)
		return;
	/* File systems differ in how blocks past the end are freed: ext4 takes the hole without a
	 * word and frees nothing, others keep the blocks when the size is set to what it is. Not
	 * where somebody else has appended in the meantime. */
	fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
		  (off_t)(s->reserved - at));
	if (fstat(s->fd, &st) == 0 && (uint64_t)st.st_size == at && ftruncate(s->fd, st.st_size))
		return;      /* space only, which the file system reclaims when it is removed */
	s->reserved = at;
}
