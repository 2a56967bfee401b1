/* SPDX-License-Identifier: MIT */
#include "vmrun/memory_file.h"

#include "libcommon/io.h"
#include "vmrun/pagemap_scan.h"
#include "vmrun/sigbus.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int64_t file_mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static int file_lock(const struct memory_file *f, struct fail *why)
{
	struct flock lk = { .l_type = F_RDLCK, .l_whence = SEEK_SET };      /* all of it */

	if (fcntl(f->fd, F_OFD_SETLK, &lk) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return fail_set(why, FAIL_REFUSED,
				"%s: locked by another program, which may be writing it", f->path);
	return fail_sys(why, "%s: lock", f->path);
}

int memory_file_open(struct memory_file **out, const char *path, struct fail *why)
{
	struct memory_file *f = calloc(1, sizeof(*f));
	struct stat         st;

	if (!f)
		return fail_sys(why, "%s", path);
	snprintf(f->path, sizeof(f->path), "%s", path);
	/* Non-blocking: a FIFO is refused, not waited for. */
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (f->fd < 0 || fstat(f->fd, &st)) {
		fail_sys(why, "%s", path);
		goto fail;
	}
	if (!S_ISREG(st.st_mode)) {
		fail_set(why, FAIL_USAGE,
			 "%s: not a regular file, which --memory cow requires; use --memory copy",
			 f->path);
		goto fail;
	}
	/* Size and time only under the lock: who held it before may have written. */
	if (file_lock(f, why))
		goto fail;
	if (fstat(f->fd, &st)) {
		fail_sys(why, "%s", path);
		goto fail;
	}
	f->size     = (uint64_t)st.st_size;
	f->mtime_ns = file_mtime_ns(&st);
	*out        = f;
	return 0;
fail:
	memory_file_close(f);
	return -1;
}

void memory_file_close(struct memory_file *f)
{
	if (!f)
		return;
	io_close(&f->fd);
	free(f);
}

int memory_file_check(const struct memory_file *f, struct fail *why)
{
	struct stat st;

	if (fstat(f->fd, &st))
		return fail_sys(why, "%s", f->path);
	if ((uint64_t)st.st_size < f->size)
		return fail_set(why, FAIL_SYSTEM,
				"%s: truncated since the VM was restored from it: %" PRIu64
				" bytes missing", f->path, f->size - (uint64_t)st.st_size);
	if ((uint64_t)st.st_size != f->size || file_mtime_ns(&st) != f->mtime_ns)
		return fail_set(why, FAIL_SYSTEM,
				"%s: modified since the VM was restored from it", f->path);
	return 0;
}

bool memory_file_truncated(const struct memory_file *f)
{
	struct stat st;

	return fstat(f->fd, &st) == 0 && (uint64_t)st.st_size < f->size;
}

int memory_file_holds(const struct memory_file *f, const struct region *r, uint64_t offset,
		      struct fail *why)
{
	const uint64_t align = (uint64_t)sysconf(_SC_PAGESIZE);

	if (offset % align || r->cfg.size % align)
		return fail_set(why, FAIL_REFUSED,
				"%s: region %s: cannot be mapped in pages of %" PRIu64 " bytes",
				f->path, r->cfg.name, align);
	if (offset > f->size || r->cfg.size > f->size - offset)
		return fail_set(why, FAIL_CORRUPT,
				"%s: region %s: extends past the end of the file", f->path,
				r->cfg.name);
	return 0;
}

/* ---- accesses that fail ---- */

/* In a signal handler. */
static bool file_lost(void *arg, uintptr_t addr)
{
	struct memory *m    = arg;
	const int      prot = PROT_READ | PROT_WRITE;
	const int      how  = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;

	/* The flag is set before the zeros can be seen, by this thread or another. One page only:
	 * those around it may have private copies. */
	memory_lose(m);
	return syscall(SYS_mmap, addr & ~(uintptr_t)(GUEST_PAGE - 1), (size_t)GUEST_PAGE, prot,
		       how, -1, (off_t)0) != -1;
}

int memory_file_guard(struct memory *m, struct region *r, struct fail *why)
{
	return sigbus_add(r->host, (size_t)r->cfg.size, file_lost, m, why);
}

void memory_file_unguard(const struct region *r)
{
	sigbus_remove(r->host);
}

/* ---- which pages there are ---- */

/* Extents with data in the file. What it has as data may be zeros; a hole is nothing but zeros. */
static int file_extents(const struct memory_file *f, const struct region *r, struct pageset *set,
			struct fail *why)
{
	const uint64_t limit = r->offset + r->cfg.size;
	uint64_t       at    = r->offset;

	while (at < limit) {
		off_t    data = lseek(f->fd, (off_t)at, SEEK_DATA), hole;
		uint64_t first, end;

		if (data < 0 && errno == ENXIO)
			return 0;
		hole = data < 0 ? -1 : lseek(f->fd, data, SEEK_HOLE);
		if (hole < 0)
			return fail_sys(why, "%s: SEEK_DATA", f->path);
		if ((uint64_t)data >= limit)
			return 0;
		at    = (uint64_t)hole < limit ? (uint64_t)hole : limit;
		first = ((uint64_t)data - r->offset) / GUEST_PAGE;
		end   = (at - r->offset + GUEST_PAGE - 1) / GUEST_PAGE;
		pageset_add(set, first, end - first);
	}
	return 0;
}

int memory_file_present(const struct memory_file *f, const struct region *r, struct pageset *set,
			struct fail *why)
{
	if (file_extents(f, r, set, why))
		return fail_prefix(why, "region %s: ", r->cfg.name);
	/* A host that does not tell: each page may be a private copy. */
	if (pagemap_private(r->host, set))
		pageset_add(set, 0, r->npages);
	return 0;
}
