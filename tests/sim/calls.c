/* SPDX-License-Identifier: MIT */
#include "tests/sim/sim.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The C library as the tools see it (the linker's --wrap; wraps.list). Outside of a simulated
 * process, which is this program's own driver, each is the real one. Every call that a process
 * makes is a point of scheduling. */

#define OURS (!sim_task)
#define FAIL(e) do { errno = (e); return -1; } while (0)

/* ---- memory: what killed processes have not freed goes at the end of the run ---- */

struct block { struct block *next, **at; size_t len; void *raw; };

static struct block *blocks;

void *__real_malloc(size_t n);
void  __real_free(void *p);
void *__real_realloc(void *p, size_t n);

static void *block_aligned(size_t n, size_t align)
{
	char         *raw = __real_malloc(sizeof(struct block) + n + align);
	struct block *b;

	if (!raw)
		abort();
	b       = (struct block *)(void *)
		  ((((uintptr_t)raw + sizeof(*b) + align - 1) & ~(uintptr_t)(align - 1)) -
		   sizeof(*b));
	b->raw  = raw;
	b->len  = n;
	b->next = blocks;
	b->at   = &blocks;
	if (blocks)
		blocks->at = &b->next;
	blocks = b;
	return b + 1;
}

static void *block_new(size_t n)
{
	return block_aligned(n, 16);
}

void *__wrap_malloc(size_t n)
{
	return block_new(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	size_t len;

	if (__builtin_mul_overflow(n, size, &len))
		return NULL;
	return memset(block_new(len), 0, len);
}

void __wrap_free(void *p)
{
	struct block *b = p;

	if (!p)
		return;
	b--;
	*b->at = b->next;
	if (b->next)
		b->next->at = b->at;
	__real_free(b->raw);
}

void *__wrap_realloc(void *p, size_t n)
{
	void *q = block_new(n);

	if (p) {
		size_t was = ((struct block *)p - 1)->len;

		memcpy(q, p, was < n ? was : n);
		__wrap_free(p);
	}
	return q;
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	size_t len;

	return __builtin_mul_overflow(n, size, &len) ? NULL : __wrap_realloc(p, len);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	return block_aligned(n, align);
}

char *__wrap_strdup(const char *s)
{
	size_t n = strlen(s) + 1;

	return memcpy(block_new(n), s, n);
}

void calls_free_all(void);
void calls_free_all(void)
{
	while (blocks)
		__wrap_free(blocks + 1);
}

/* ---- descriptors ---- */

struct ofd *ofd_new(enum ofd_type type)
{
	struct ofd *o = calloc(1, sizeof(*o));

	if (!o)
		abort();
	o->type = type;
	return o;
}

void ofd_get(struct ofd *o)
{
	o->refs++;
}

void ofd_put(struct ofd *o, bool silent)
{
	if (--o->refs)
		return;
	if (o->inode)
		lock_drop(o->inode, o, -1);
	if (o->end)
		end_close(o->end, silent);
	o->end = NULL;
	/* The struct stays until the end of the run: an epoll set may still name it. */
}

int fd_install(struct proc *p, struct ofd *o, int lowest, bool cloexec)
{
	for (int i = lowest; i < SIM_FDS; i++)
		if (!p->fds[i]) {
			ofd_get(o);
			p->fds[i]     = o;
			p->cloexec[i] = cloexec;
			return i;
		}
	sim_broken("%s has used up its descriptors", p->name);
	FAIL(EMFILE);
}

struct ofd *fd_get(int fd)
{
	struct proc *p = sim_proc();

	if (fd < 0 || fd >= SIM_FDS || !p->fds[fd]) {
		errno = EBADF;
		return NULL;
	}
	return p->fds[fd];
}

static uint64_t signals_of(const struct proc *p, const struct ofd *o)
{
	return p->pending & o->mask;
}

short ofd_events(struct proc *p, struct ofd *o)
{
	switch (o->type) {
	case OFD_EVENT:
		return (short)(POLLOUT | (o->count ? POLLIN : 0));
	case OFD_TIMER:
		return o->count && o->count <= sim_now ? POLLIN : 0;
	case OFD_SIGNAL:
		return signals_of(p, o) ? POLLIN : 0;
	case OFD_SOCKET:
		return end_events(o->end);
	case OFD_NULL:
	case OFD_FILE:
	case OFD_FOLDER:
		return POLLIN | POLLOUT;
	case OFD_PROCESS:
		return o->proc->alive ? 0 : POLLIN;
	case OFD_EPOLL:
		for (struct watch *w = o->watches; w; w = w->next)
			if (w->ofd->refs &&
			    ((uint32_t)ofd_events(p, w->ofd) & (w->events | EPOLLERR | EPOLLHUP)))
				return POLLIN;
		return 0;
	}
	return 0;
}

int __real_close(int fd);
int __wrap_close(int fd)
{
	struct ofd *o;

	if (OURS)
		return __real_close(fd);
	sim_step("close");
	o = fd_get(fd);
	if (!o)
		return -1;
	sim_proc()->fds[fd] = NULL;
	ofd_put(o, false);
	return 0;
}

int __wrap_dup2(int from, int to)
{
	struct ofd *o;

	sim_step("dup2");
	o = fd_get(from);
	if (!o)
		return -1;
	if (from == to)
		return to;
	if (sim_proc()->fds[to])
		ofd_put(sim_proc()->fds[to], false);
	sim_proc()->fds[to] = NULL;
	return fd_install(sim_proc(), o, to, false);
}

/* ---- files ---- */

static bool on_disk(const char *path)
{
	return path[0] == '/' && strncmp(path, "/run", 4) && strncmp(path, "/proc", 5) &&
	       strncmp(path, "/dev", 4);
}

/* Does a write, an fsync or a rename of a durable folder fail here and now? */
static bool disk_fails(const char *path, const char *what)
{
	struct sim_host *h = sim_here();

	if (!on_disk(path) || sim_now >= h->disk_broken_until || !sim_chance(h->disk_faults))
		return false;
	h->disk_ever_failed = true;
	world_disk_failed(sim_proc());
	sim_trace("-- %s of %s fails: EIO", what, path);
	return true;
}

static int open_proc(const char *path)
{
	struct ofd  *o;
	struct proc *p;
	int          fd = -1, pid = 0;
	char         text[256];

	if (sscanf(path, "/proc/self/fd/%d", &fd) == 1) {
		struct ofd *of = fd_get(fd);

		if (!of || !of->inode)
			FAIL(ENOENT);
		o        = ofd_new(OFD_FILE);
		o->inode = of->inode;
		return fd_install(sim_proc(), o, 3, true);
	}
	if (!strcmp(path, "/proc/self/stat"))
		pid = sim_proc()->pid;
	else if (sscanf(path, "/proc/%d/stat", &pid) != 1)
		FAIL(ENOENT);
	p = proc_find(pid);
	if (!p || p->host != sim_here())
		FAIL(ENOENT);
	int n = snprintf(text, sizeof(text),
			 "%d (sim) %c %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1 0 %llu 0 0\n",
			 (int)p->pid, p->alive ? 'S' : 'Z', (int)p->ppid,
			 (unsigned long long)p->start_time);

	o        = ofd_new(OFD_FILE);
	o->inode = inode_new();
	inode_write(o->inode, text, (size_t)n, 0);
	return fd_install(sim_proc(), o, 3, true);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	struct sim_host *h = sim_here();
	struct inode    *i;
	struct ofd      *o;

	if (OURS) {
		va_list ap;

		va_start(ap, flags);
		unsigned mode = va_arg(ap, unsigned);

		va_end(ap);
		return __real_open64(path, flags, mode);
	}
	sim_step("open");
	if (!strncmp(path, "/proc/", 6))
		return open_proc(path);
	if (!strcmp(path, "/dev/null"))
		return fd_install(sim_proc(), ofd_new(OFD_NULL), 3, (flags & O_CLOEXEC) != 0);
	i = fs_find(h->fs, path);
	if (i && (flags & O_CREAT) && (flags & O_EXCL))
		FAIL(EEXIST);
	if (!i && !(flags & O_CREAT))
		FAIL(ENOENT);
	if (!i || (flags & O_TRUNC)) {
		if (disk_fails(path, "open"))
			FAIL(EIO);
		if (!i)
			i = fs_create(h->fs, path, false);
		inode_size(i, 0);
	}
	if (i->socket)
		FAIL(ENXIO);
	if ((flags & O_DIRECTORY) && !i->folder)
		FAIL(ENOTDIR);
	o           = ofd_new(i->folder ? OFD_FOLDER : OFD_FILE);
	o->inode    = i;
	o->writable = (flags & O_ACCMODE) != O_RDONLY;
	if (flags & O_APPEND)
		o->pos = SIM_NEVER;
	snprintf(o->path, sizeof(o->path), "%s", path);
	return fd_install(sim_proc(), o, 3, (flags & O_CLOEXEC) != 0);
}

static ssize_t inode_read(const struct inode *i, void *buf, size_t n, uint64_t at)
{
	if (at >= i->len)
		return 0;
	if (n > i->len - at)
		n = (size_t)(i->len - at);
	memcpy(buf, i->data + at, n);
	return (ssize_t)n;
}

static bool event_readable(void *arg)
{
	return ((struct ofd *)arg)->count != 0;
}

static ssize_t read_signal(struct ofd *o, void *buf)
{
	struct proc            *p = sim_proc();
	struct signalfd_siginfo si = { 0 };
	uint64_t                set = signals_of(p, o);

	if (!set)
		FAIL(EAGAIN);
	si.ssi_signo = (uint32_t)__builtin_ctzll(set);
	p->pending &= ~((uint64_t)1 << si.ssi_signo);
	memcpy(buf, &si, sizeof(si));
	return sizeof(si);
}

ssize_t __real_read(int fd, void *buf, size_t n);
ssize_t __wrap_read(int fd, void *buf, size_t n)
{
	struct ofd *o;

	if (OURS)
		return __real_read(fd, buf, n);
	sim_step("read");
	o = fd_get(fd);
	if (!o)
		return -1;
	switch (o->type) {
	case OFD_FILE: {
		ssize_t got = inode_read(o->inode, buf, n, o->pos);

		o->pos += (uint64_t)got;
		return got;
	}
	case OFD_EVENT:
		if (!o->count && o->nonblock)
			FAIL(EAGAIN);
		sim_wait(event_readable, o, SIM_NEVER);
		memcpy(buf, &o->count, 8);
		o->count = 0;
		return 8;
	case OFD_TIMER: {
		uint64_t one = 1;

		if (!o->count || o->count > sim_now)
			FAIL(EAGAIN);
		o->count = 0;
		memcpy(buf, &one, 8);
		return 8;
	}
	case OFD_SIGNAL:
		return read_signal(o, buf);
	case OFD_NULL:
		return 0;
	case OFD_SOCKET:
		return recv(fd, buf, n, 0);
	default:
		FAIL(EISDIR);
	}
}

ssize_t __real_write(int fd, const void *buf, size_t n);
ssize_t __wrap_write(int fd, const void *buf, size_t n)
{
	struct ofd *o;

	if (OURS)
		return __real_write(fd, buf, n);
	sim_step("write");
	o = fd_get(fd);
	if (!o)
		return -1;
	switch (o->type) {
	case OFD_FILE:
		if (disk_fails(o->path, "write"))
			FAIL(EIO);
		/* A crash may come between this and the rest: a short write is allowed, and leaves
		 * torn files. */
		if (n > 1 && on_disk(o->path) && sim_chance(8))
			n = 1 + sim_below(n - 1);
		inode_write(o->inode, buf, n, o->pos == SIM_NEVER ? o->inode->len : o->pos);
		if (o->pos != SIM_NEVER)
			o->pos += n;
		return (ssize_t)n;
	case OFD_EVENT: {
		uint64_t add;

		memcpy(&add, buf, 8);
		o->count += add;
		return 8;
	}
	case OFD_SOCKET:
		return send(fd, buf, n, 0);
	case OFD_NULL:
		return (ssize_t)n;
	default:
		FAIL(EINVAL);
	}
}

ssize_t __real_pread64(int fd, void *buf, size_t n, off_t at);
ssize_t __wrap_pread64(int fd, void *buf, size_t n, off_t at)
{
	struct ofd *o;

	if (OURS)
		return __real_pread64(fd, buf, n, at);
	sim_step("pread");
	o = fd_get(fd);
	if (!o)
		return -1;
	if (o->type != OFD_FILE)
		FAIL(EINVAL);
	return inode_read(o->inode, buf, n, (uint64_t)at);
}

ssize_t __wrap_pwrite64(int fd, const void *buf, size_t n, off_t at)
{
	struct ofd *o;

	sim_step("pwrite");
	o = fd_get(fd);
	if (!o)
		return -1;
	if (o->type != OFD_FILE)
		FAIL(EINVAL);
	if (disk_fails(o->path, "write"))
		FAIL(EIO);
	inode_write(o->inode, buf, n, (uint64_t)at);
	return (ssize_t)n;
}

static bool page_zero(const struct inode *i, uint64_t at)
{
	size_t n = i->len - at < 4096 ? (size_t)(i->len - at) : 4096;

	for (size_t k = 0; k < n; k++)
		if (i->data[at + k])
			return false;
	return true;
}

off_t __real_lseek64(int fd, off_t at, int whence);
off_t __wrap_lseek64(int fd, off_t at, int whence)
{
	struct ofd *o;

	if (OURS)
		return __real_lseek64(fd, at, whence);
	o = fd_get(fd);
	if (!o)
		return -1;
	if (o->type != OFD_FILE)
		FAIL(ESPIPE);
	uint64_t to = (uint64_t)at;

	switch (whence) {
	case SEEK_END:
		return (off_t)(o->inode->len + to);
	case SEEK_DATA:
	case SEEK_HOLE:
		if (to >= o->inode->len)
			FAIL(ENXIO);
		while (to < o->inode->len && page_zero(o->inode, to) == (whence == SEEK_DATA))
			to = (to | 4095) + 1;
		if (to >= o->inode->len && whence == SEEK_DATA)
			FAIL(ENXIO);
		return (off_t)(to < o->inode->len ? to : o->inode->len);
	case SEEK_CUR:
		return (off_t)o->pos;
	default:
		if (o->pos != SIM_NEVER)
			o->pos = to;
		return at;
	}
}

int __wrap_ftruncate64(int fd, off_t len)
{
	struct ofd *o;

	sim_step("ftruncate");
	o = fd_get(fd);
	if (!o)
		return -1;
	if (disk_fails(o->path, "truncate"))
		FAIL(EIO);
	inode_size(o->inode, (size_t)len);
	return 0;
}

int __wrap_fallocate64(int fd, int mode, off_t at, off_t len)
{
	(void)fd;
	(void)mode;
	(void)at;
	(void)len;
	FAIL(EOPNOTSUPP);
}

static void stat_fill(const struct inode *i, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_dev    = 1;
	st->st_ino    = i->ino;
	st->st_mode   = i->mode | (i->folder ? S_IFDIR : i->socket ? S_IFSOCK : S_IFREG);
	st->st_uid    = geteuid();
	st->st_nlink  = 1;
	st->st_size   = (off_t)i->len;
	st->st_blocks = (blkcnt_t)((i->len + 511) / 512);
}

int __real_fstat64(int fd, struct stat *st);
int __wrap_fstat64(int fd, struct stat *st)
{
	struct ofd *o;

	if (OURS)
		return __real_fstat64(fd, st);
	o = fd_get(fd);
	if (!o)
		return -1;
	if (o->inode)
		stat_fill(o->inode, st);
	else
		memset(st, 0, sizeof(*st));
	return 0;
}

int __real_stat64(const char *path, struct stat *st);
int __wrap_stat64(const char *path, struct stat *st)
{
	struct inode *i;

	if (OURS)
		return __real_stat64(path, st);
	sim_step("stat");
	i = fs_find(sim_here()->fs, path);
	if (!i)
		FAIL(ENOENT);
	stat_fill(i, st);
	return 0;
}

int __wrap_lstat64(const char *path, struct stat *st)
{
	return __wrap_stat64(path, st);
}

int __wrap_fchmod(int fd, mode_t mode)
{
	struct ofd *o = fd_get(fd);

	if (o && o->inode)
		o->inode->mode = mode;
	return o ? 0 : -1;
}

int __wrap_chmod(const char *path, mode_t mode)
{
	struct inode *i = fs_find(sim_here()->fs, path);

	if (!i)
		FAIL(ENOENT);
	i->mode = mode;
	return 0;
}

unsigned sim_slow_disks;

int __wrap_fsync(int fd)
{
	struct ofd *o;

	sim_step("fsync");
	o = fd_get(fd);
	if (!o)
		return -1;
	sim_sleep(sim_below(sim_chance(sim_slow_disks) ? 3 * SIM_SECOND : 5 * SIM_MS));
	if (disk_fails(o->path, "fsync"))
		FAIL(EIO);
	if (o->type == OFD_FOLDER)
		fs_sync_folder(sim_here()->fs, o->path);
	else if (o->inode)
		fs_sync_file(o->inode);
	sim_step("fsynced");
	return 0;
}

int __wrap_fdatasync(int fd)
{
	return __wrap_fsync(fd);
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
	struct inode *i;

	if (OURS)
		return __real_rename(from, to);
	sim_step("rename");
	if (disk_fails(to, "rename"))
		FAIL(EIO);
	if (!fs_rename(sim_here()->fs, from, to))
		FAIL(ENOENT);
	i = fs_find(sim_here()->fs, to);
	world_record(sim_here(), to, i->data, i->len);
	sim_step("renamed");
	return 0;
}

int __real_unlink(const char *path);
int __wrap_unlink(const char *path)
{
	if (OURS)
		return __real_unlink(path);
	sim_step("unlink");
	if (disk_fails(path, "unlink"))
		FAIL(EIO);
	if (!fs_unlink(sim_here()->fs, path))
		FAIL(ENOENT);
	world_record(sim_here(), path, NULL, 0);
	return 0;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
	(void)mode;
	sim_step("mkdir");
	if (fs_find(sim_here()->fs, path))
		FAIL(EEXIST);
	fs_create(sim_here()->fs, path, true);
	return 0;
}

int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode)
{
	if (OURS)
		return __real_access(path, mode);
	sim_step("access");
	if (!fs_find(sim_here()->fs, path))
		FAIL(ENOENT);
	return 0;
}

ssize_t __wrap_readlink(const char *path, char *buf, size_t n)
{
	(void)path;
	(void)buf;
	(void)n;
	FAIL(ENOENT);
}

int __wrap_flock(int fd, int op)
{
	struct ofd *o;

	sim_step("flock");
	o = fd_get(fd);
	if (!o)
		return -1;
	if (op & LOCK_UN) {
		lock_drop(o->inode, o, 0);
		return 0;
	}
	if (!lock_take(o->inode, o, false, (op & LOCK_EX) != 0))
		FAIL(EWOULDBLOCK);
	return 0;
}

int __real_fcntl64(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, ...)
{
	struct ofd *o;
	va_list     ap;

	va_start(ap, cmd);
	void *arg = va_arg(ap, void *);

	va_end(ap);
	if (OURS)
		return __real_fcntl64(fd, cmd, arg);
	sim_step("fcntl");
	o = fd_get(fd);
	if (!o)
		return -1;
	switch (cmd) {
	case F_SETFL:
		o->nonblock = ((uintptr_t)arg & O_NONBLOCK) != 0;
		return 0;
	case F_GETFL:
		return (o->nonblock ? O_NONBLOCK : 0) | O_RDWR;
	case F_GETFD:
		return sim_proc()->cloexec[fd] ? FD_CLOEXEC : 0;
	case F_SETFD:
		sim_proc()->cloexec[fd] = ((uintptr_t)arg & FD_CLOEXEC) != 0;
		return 0;
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return fd_install(sim_proc(), o,
				  (int)(uintptr_t)arg > 3 ? (int)(uintptr_t)arg : 3,
				  cmd == F_DUPFD_CLOEXEC);
	case F_ADD_SEALS:
		return 0;
	case F_OFD_SETLK: {
		const struct flock *l = arg;

		if (l->l_type == F_UNLCK) {
			lock_drop(o->inode, o, 1);
			return 0;
		}
		if (!lock_take(o->inode, o, true, l->l_type == F_WRLCK))
			FAIL(EAGAIN);
		return 0;
	}
	case F_OFD_GETLK: {
		struct flock *l = arg;
		struct lock  *k = o->inode->locks;

		while (k && (!k->ofd_kind || k->owner == o ||
			     (l->l_type == F_RDLCK && !k->exclusive)))
			k = k->next;
		l->l_type = k ? (k->exclusive ? F_WRLCK : F_RDLCK) : F_UNLCK;
		l->l_pid  = -1;
		return 0;
	}
	default:
		sim_broken("fcntl %d is not simulated", cmd);
		FAIL(EINVAL);
	}
}

/* What nobody here uses: were it called, it would reach the real files. */
static int missing(const char *call)
{
	sim_broken("%s is not simulated", call);
	FAIL(ENOSYS);
}

#define MISSING(call) int __wrap_##call(void); int __wrap_##call(void) { return missing(#call); }
MISSING(openat64)
MISSING(linkat)
MISSING(renameat)
MISSING(renameat2)
MISSING(unlinkat)
MISSING(fstatat64)

struct folder { char path[192]; uint64_t pos; struct dirent e; };

DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path)
{
	struct folder *d;
	struct inode  *i;

	if (OURS)
		return __real_opendir(path);
	sim_step("opendir");
	i = fs_find(sim_here()->fs, path);
	if (!i || !i->folder) {
		errno = i ? ENOTDIR : ENOENT;
		return NULL;
	}
	d = calloc(1, sizeof(*d));
	if (!d)
		abort();
	snprintf(d->path, sizeof(d->path), "%s", path);
	return (DIR *)d;
}

struct dirent *__real_readdir64(DIR *dir);
struct dirent *__wrap_readdir64(DIR *dir)
{
	struct folder *d = (struct folder *)dir;
	const char    *name;

	if (OURS)
		return __real_readdir64(dir);
	name = fs_next(sim_here()->fs, d->path, &d->pos);
	if (!name)
		return NULL;
	snprintf(d->e.d_name, sizeof(d->e.d_name), "%.200s", name);
	return &d->e;
}

int __real_closedir(DIR *dir);
int __wrap_closedir(DIR *dir)
{
	if (OURS)
		return __real_closedir(dir);
	free(dir);
	return 0;
}

int __wrap_memfd_create(const char *name, unsigned flags)
{
	struct ofd *o;

	(void)name;
	sim_step("memfd_create");
	o           = ofd_new(OFD_FILE);
	o->inode    = inode_new();
	o->writable = true;
	o->inode->mem = true;
	return fd_install(sim_proc(), o, 3, (flags & MFD_CLOEXEC) != 0);
}

/* Of memfds whose size is final: everybody who maps one sees the same bytes. */
void *__real_mmap64(void *a, size_t n, int prot, int flags, int fd, off_t at);
void *__wrap_mmap64(void *a, size_t n, int prot, int flags, int fd, off_t at)
{
	struct ofd *o;

	if (OURS)
		return __real_mmap64(a, n, prot, flags, fd, at);
	if (flags & MAP_ANONYMOUS)      /* shared with the children to come: all memory is, here */
		return calloc(1, n);
	o = fd_get(fd);
	if (!o || !o->inode || (size_t)at + n > ((o->inode->len + 4095) & ~(size_t)4095)) {
		sim_broken("a mapping that is not simulated");
		return MAP_FAILED;
	}
	return o->inode->data + at;
}

int __real_munmap(void *a, size_t n);
int __wrap_munmap(void *a, size_t n)
{
	return OURS ? __real_munmap(a, n) : 0;
}

int __wrap_madvise(void *a, size_t n, int advice)
{
	(void)a;
	(void)n;
	(void)advice;
	return 0;
}

/* ---- sockets ---- */

static struct end *end_of(int fd)
{
	struct ofd *o = fd_get(fd);

	if (!o)
		return NULL;
	if (o->type != OFD_SOCKET) {
		errno = ENOTSOCK;
		return NULL;
	}
	return o->end;
}

static int end_install(struct end *e, bool nonblock, bool cloexec)
{
	struct ofd *o = ofd_new(OFD_SOCKET);

	o->end      = e;
	o->nonblock = nonblock;
	e->ofd      = o;
	return fd_install(sim_proc(), o, 3, cloexec);
}

int __wrap_socket(int domain, int type, int protocol)
{
	struct end *e;

	(void)protocol;
	sim_step("socket");
	if (domain == AF_INET6)
		FAIL(EAFNOSUPPORT);
	e      = end_new(sim_here(), domain == AF_INET, (type & 0xf) == SOCK_SEQPACKET);
	e->pid = sim_proc()->pid;
	return end_install(e, (type & SOCK_NONBLOCK) != 0, (type & SOCK_CLOEXEC) != 0);
}

int __wrap_socketpair(int domain, int type, int protocol, int fds[2])
{
	struct end *a, *b;

	(void)domain;
	(void)protocol;
	sim_step("socketpair");
	a = end_new(sim_here(), false, (type & 0xf) == SOCK_SEQPACKET);
	b = end_new(sim_here(), false, (type & 0xf) == SOCK_SEQPACKET);
	end_pair(a, b);
	fds[0] = end_install(a, (type & SOCK_NONBLOCK) != 0, (type & SOCK_CLOEXEC) != 0);
	fds[1] = end_install(b, (type & SOCK_NONBLOCK) != 0, (type & SOCK_CLOEXEC) != 0);
	return 0;
}

int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct end *e;

	(void)len;
	sim_step("bind");
	e = end_of(fd);
	if (!e)
		return -1;
	if (sa->sa_family == AF_UNIX) {
		const struct sockaddr_un *un = (const struct sockaddr_un *)sa;
		struct inode             *i;

		if (fs_find(sim_here()->fs, un->sun_path))
			FAIL(EADDRINUSE);
		i           = fs_create(sim_here()->fs, un->sun_path, false);
		i->socket   = true;
		i->listener = e;
		snprintf(e->path, sizeof(e->path), "%s", un->sun_path);
		return 0;
	}
	struct sockaddr_in in;

	memcpy(&in, sa, sizeof(in));
	int err = end_listen_net(e, ntohl(in.sin_addr.s_addr), ntohs(in.sin_port));

	if (err)
		FAIL(err);
	return 0;
}

int __wrap_listen(int fd, int backlog)
{
	struct end *e;

	(void)backlog;
	sim_step("listen");
	e = end_of(fd);
	if (!e)
		return -1;
	e->listening = true;
	return 0;
}

int __wrap_connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct end *e;
	int         err;

	(void)len;
	sim_step("connect");
	e = end_of(fd);
	if (!e)
		return -1;
	if (sa->sa_family == AF_UNIX) {
		err = end_connect_unix(e, ((const struct sockaddr_un *)sa)->sun_path);
	} else {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		err = end_connect_net(e, ntohl(in.sin_addr.s_addr), ntohs(in.sin_port));
	}
	if (err)
		FAIL(err);
	return 0;
}

static bool end_acceptable(void *arg)
{
	struct end *l = arg;

	for (struct end *c = l->backlog; c; c = c->backlog_next)
		if (c->backlog_at <= sim_now)
			return true;
	return false;
}

int __wrap_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags)
{
	struct end *l, *c, **at;

	(void)sa;
	(void)len;
	sim_step("accept");
	l = end_of(fd);
	if (!l)
		return -1;
	if (!end_acceptable(l)) {
		if (l->ofd->nonblock)
			FAIL(EAGAIN);
		sim_wait(end_acceptable, l, SIM_NEVER);
	}
	at = &l->backlog;
	while ((*at)->backlog_at > sim_now)
		at = &(*at)->backlog_next;
	c             = *at;
	*at           = c->backlog_next;
	c->backlog_at = 0;
	c->pid        = sim_proc()->pid;
	return end_install(c, (flags & SOCK_NONBLOCK) != 0, (flags & SOCK_CLOEXEC) != 0);
}

static bool end_readable(void *arg)
{
	return (end_events(arg) & (POLLIN | POLLERR | POLLHUP)) != 0;
}

/* Waits unless told not to; 0, or errno. */
static int recv_wait(struct end *e, int flags)
{
	if (e->listening)
		return EINVAL;
	while (!end_readable(e)) {
		if ((flags & MSG_DONTWAIT) || e->ofd->nonblock)
			return EAGAIN;
		sim_wait(end_readable, e, SIM_NEVER);
	}
	/* A seqpacket channel tells of the reset before what is queued; a stream behind it. */
	if (e->reset_at <= sim_now && !e->reset_told && (e->packet || !end_ready(e))) {
		e->reset_told = true;
		return ECONNRESET;
	}
	return 0;
}

ssize_t __wrap_recv(int fd, void *buf, size_t n, int flags)
{
	struct end *e;
	struct seg *s;
	int         err;
	size_t      got = 0;

	sim_step("recv");
	e = end_of(fd);
	if (!e)
		return -1;
	err = recv_wait(e, flags);
	if (err)
		FAIL(err);
	while (got < n && (s = end_ready(e))) {
		size_t part = s->len - s->used < n - got ? s->len - s->used : n - got;

		/* Pieces come as they like. */
		if (part > 1 && !e->packet && e->net && sim_chance(16))
			n = got + (part = 1 + sim_below(part));
		memcpy((char *)buf + got, s->data + s->used, part);
		got += part;
		if (flags & MSG_PEEK)
			break;
		s->used += part;
		if (s->used < s->len && !e->packet)
			break;
		while (s->nfds)
			ofd_put(s->fds[--s->nfds], false);
		e->rx = s->next;
		if (!e->rx)
			e->rx_tail = &e->rx;
		free(s);
		if (e->packet)
			break;
	}
	return (ssize_t)got;
}

ssize_t __wrap_send(int fd, const void *buf, size_t n, int flags)
{
	struct end *e;
	int         err;

	(void)flags;
	sim_step("send");
	e = end_of(fd);
	if (!e)
		return -1;
	err = end_send(e, buf, n, NULL, 0);
	if (err)
		FAIL(err);
	return (ssize_t)n;
}

static ssize_t sendmsg_all(struct end *e, const void *p, size_t len, struct ofd **fds, int nfds)
{
	int err = end_send(e, p, len, fds, nfds);

	if (err)
		FAIL(err);
	return (ssize_t)len;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags)
{
	struct end *e;
	struct ofd *fds[16];
	uint8_t    *all;
	size_t      len = 0, at = 0;
	ssize_t     sent;
	int         nfds = 0;

	(void)flags;
	sim_step("sendmsg");
	e = end_of(fd);
	if (!e)
		return -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c;
	     c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)m, c))
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int one;

			memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(one));
			fds[nfds] = fd_get(one);
			if (!fds[nfds++])
				return -1;
		}
	for (size_t i = 0; i < m->msg_iovlen; i++)
		len += m->msg_iov[i].iov_len;
	if (m->msg_iovlen == 1)
		return sendmsg_all(e, m->msg_iov[0].iov_base, len, fds, nfds);
	all = malloc(len ? len : 1);
	if (!all)
		abort();
	for (size_t i = 0; i < m->msg_iovlen; at += m->msg_iov[i++].iov_len)
		memcpy(all + at, m->msg_iov[i].iov_base, m->msg_iov[i].iov_len);
	sent = sendmsg_all(e, all, len, fds, nfds);
	free(all);
	return sent;
}

/* The first message with its descriptors, or as much of a stream as carries one set of them. */
ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags)
{
	struct end *e;
	struct seg *s;
	int         err;
	size_t      n;

	sim_step("recvmsg");
	e = end_of(fd);
	if (!e)
		return -1;
	err = recv_wait(e, flags);
	if (err)
		FAIL(err);
	m->msg_flags = 0;
	s = end_ready(e);
	if (!s) {
		m->msg_controllen = 0;
		return 0;
	}
	n = s->len - s->used < m->msg_iov[0].iov_len ? s->len - s->used : m->msg_iov[0].iov_len;
	memcpy(m->msg_iov[0].iov_base, s->data + s->used, n);
	s->used += n;
	if (e->packet && s->used < s->len)
		m->msg_flags |= MSG_TRUNC;
	if (s->nfds && m->msg_controllen >= CMSG_SPACE(sizeof(int) * (size_t)s->nfds)) {
		struct cmsghdr *c = CMSG_FIRSTHDR(m);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type  = SCM_RIGHTS;
		c->cmsg_len   = CMSG_LEN(sizeof(int) * (size_t)s->nfds);
		for (int i = 0; i < s->nfds; i++) {
			int one = fd_install(sim_proc(), s->fds[i], 3,
					     (flags & MSG_CMSG_CLOEXEC) != 0);

			memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &one, sizeof(one));
		}
		m->msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)s->nfds);
	} else {
		if (s->nfds)
			m->msg_flags |= MSG_CTRUNC;
		m->msg_controllen = 0;
	}
	while (s->nfds)
		ofd_put(s->fds[--s->nfds], false);
	if (e->packet || s->used == s->len) {
		e->rx = s->next;
		if (!e->rx)
			e->rx_tail = &e->rx;
		free(s);
	}
	return (ssize_t)n;
}

int __wrap_shutdown(int fd, int how)
{
	struct end *e;

	sim_step("shutdown");
	e = end_of(fd);
	if (!e)
		return -1;
	if (how != SHUT_WR)
		e->shut_rd = true;
	if (how != SHUT_RD && !e->shut_wr) {
		e->shut_wr = true;
		if (e->peer && e->peer->eof_at == SIM_NEVER) {
			e->peer->eof_at = sim_now > e->peer->rx_last ? sim_now : e->peer->rx_last;
			if (e->net)
				e->peer->eof_at += sim_between(sim_net.delay_low,
							       sim_net.delay_high);
		}
	}
	return 0;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	struct end *e = end_of(fd);

	(void)level;
	(void)len;
	if (!e)
		return -1;
	if (name == SO_ERROR) {
		memcpy(value, &e->err, sizeof(int));
		e->err = 0;
	} else if (name == SO_PEERCRED) {
		struct ucred *c = value;

		*c = (struct ucred){ .pid = e->peer_pid, .uid = geteuid(), .gid = 0 };
	}
	return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	(void)level;
	(void)name;
	(void)value;
	(void)len;
	return end_of(fd) ? 0 : -1;
}

static void address_fill(uint32_t ip, uint16_t port, struct sockaddr *sa, socklen_t *len)
{
	struct sockaddr_in in = {
		.sin_family      = AF_INET,
		.sin_port        = htons(port),
		.sin_addr.s_addr = htonl(ip)
	};

	memcpy(sa, &in, sizeof(in));
	*len = sizeof(in);
}

int __wrap_getsockname(int fd, struct sockaddr *sa, socklen_t *len)
{
	struct end *e = end_of(fd);

	if (!e)
		return -1;
	address_fill(e->ip, e->port, sa, len);
	return 0;
}

int __wrap_getpeername(int fd, struct sockaddr *sa, socklen_t *len)
{
	struct end *e = end_of(fd);

	if (!e)
		return -1;
	address_fill(e->peer_ip, e->peer_port, sa, len);
	return 0;
}

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		       struct addrinfo **out)
{
	struct { struct addrinfo ai; struct sockaddr_in in; } *a = calloc(1, sizeof(*a));
	struct in_addr ip = { .s_addr = hints->ai_flags & AI_PASSIVE ? 0 : htonl(INADDR_LOOPBACK) };

	if (!a)
		abort();
	if (host && !inet_aton(host, &ip))
		return EAI_NONAME;
	a->in = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port   = htons((uint16_t)atoi(port)),
		.sin_addr   = ip
	};
	a->ai = (struct addrinfo){
		.ai_family   = AF_INET,
		.ai_socktype = SOCK_STREAM,
		.ai_addrlen  = sizeof(a->in),
		.ai_addr     = (struct sockaddr *)&a->in
	};
	*out  = &a->ai;
	return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *a)
{
	free(a);
}

int __wrap_getnameinfo(const struct sockaddr *sa, socklen_t salen, char *host, socklen_t hostlen,
		       char *port, socklen_t portlen, int flags)
{
	struct sockaddr_in in;

	(void)salen;
	(void)flags;
	memcpy(&in, sa, sizeof(in));
	inet_ntop(AF_INET, &in.sin_addr, host, hostlen);
	snprintf(port, portlen, "%u", ntohs(in.sin_port));
	return 0;
}

/* ---- waiting ---- */

struct poll_wait { struct proc *p; nfds_t n; struct pollfd fds[]; };

static int poll_look(struct poll_wait *w)
{
	int n = 0;

	for (nfds_t i = 0; i < w->n; i++) {
		struct ofd *o = w->fds[i].fd >= 0 && w->fds[i].fd < SIM_FDS
				? w->p->fds[w->fds[i].fd] : NULL;

		w->fds[i].revents = 0;
		if (w->fds[i].fd < 0)
			continue;
		w->fds[i].revents =
			o ? (short)(ofd_events(w->p, o) & (w->fds[i].events | POLLERR | POLLHUP))
			: POLLNVAL;
		n += w->fds[i].revents != 0;
	}
	return n;
}

static bool poll_ready(void *arg)
{
	return poll_look(arg) > 0;
}

static uint64_t after_ms(int ms)
{
	return ms < 0 ? SIM_NEVER : sim_now + (uint64_t)ms * SIM_MS;
}

int __real_poll(struct pollfd *fds, nfds_t n, int ms);
int __wrap_poll(struct pollfd *fds, nfds_t n, int ms)
{
	if (OURS)
		return __real_poll(fds, n, ms);
	sim_step("poll");
	/* The condition is evaluated while another coroutine may have this one's stack: its data
	 * must not lie there. */
	struct poll_wait *w = malloc(sizeof(*w) + n * sizeof(*fds));

	if (!w)
		abort();
	w->p = sim_proc();
	w->n = n;
	memcpy(w->fds, fds, n * sizeof(*fds));
	sim_wait(poll_ready, w, after_ms(ms));
	int ready = poll_look(w);

	memcpy(fds, w->fds, n * sizeof(*fds));
	free(w);
	return ready;
}

int __wrap_epoll_create1(int flags)
{
	sim_step("epoll_create1");
	return fd_install(sim_proc(), ofd_new(OFD_EPOLL), 3, (flags & EPOLL_CLOEXEC) != 0);
}

int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	struct ofd    *ep = fd_get(epfd), *o = fd_get(fd);
	struct watch **at;

	if (!ep || !o)
		return -1;
	for (at = &ep->watches; *at && ((*at)->fd != fd || (*at)->ofd != o); at = &(*at)->next)
		;
	if (op == EPOLL_CTL_ADD) {
		struct watch *w = calloc(1, sizeof(*w));

		if (!w)
			abort();
		*w  = (struct watch){
			.fd     = fd,
			.ofd    = o,
			.events = ev->events,
			.data   = ev->data.ptr,
			.next   = *at
		};
		*at = w;
		return 0;
	}
	if (!*at)
		FAIL(ENOENT);
	if (op == EPOLL_CTL_DEL)
		*at = (*at)->next;
	else
		(*at)->events = ev->events;
	return 0;
}

struct epoll_look { struct proc *p; struct ofd *ep; };

static bool epoll_ready(void *arg)
{
	struct epoll_look *l = arg;

	return ofd_events(l->p, l->ep) != 0;
}

int __wrap_epoll_wait(int epfd, struct epoll_event *ev, int max, int ms)
{
	struct epoll_look *l;
	struct proc       *p;
	struct ofd        *ep;
	int                n = 0;

	sim_step("epoll_wait");
	p  = sim_proc();
	ep = fd_get(epfd);
	l  = calloc(1, sizeof(*l));
	if (!ep || !l)
		return -1;
	*l = (struct epoll_look){ .p = p, .ep = ep };
	sim_wait(epoll_ready, l, after_ms(ms));
	free(l);
	for (struct watch *w = ep->watches; w && n < max; w = w->next) {
		uint32_t e = w->ofd->refs
			     ? (uint32_t)ofd_events(p, w->ofd) & (w->events | EPOLLERR | EPOLLHUP)
			     : 0;

		if (e)
			ev[n++] = (struct epoll_event){ .events = e, .data.ptr = w->data };
	}
	return n;
}

int __wrap_eventfd(unsigned count, int flags)
{
	struct ofd *o = ofd_new(OFD_EVENT);

	o->count    = count;
	o->nonblock = (flags & EFD_NONBLOCK) != 0;
	return fd_install(sim_proc(), o, 3, (flags & EFD_CLOEXEC) != 0);
}

int __wrap_timerfd_create(int clock, int flags)
{
	struct ofd *o = ofd_new(OFD_TIMER);

	(void)clock;
	o->nonblock = (flags & TFD_NONBLOCK) != 0;
	return fd_install(sim_proc(), o, 3, (flags & TFD_CLOEXEC) != 0);
}

static void timer_wake(void *arg)
{
	(void)arg;
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *its, struct itimerspec *old)
{
	struct ofd *o = fd_get(fd);
	uint64_t    at;

	(void)old;
	if (!o)
		return -1;
	at       = (uint64_t)its->it_value.tv_sec * SIM_SECOND + (uint64_t)its->it_value.tv_nsec;
	o->count = at == 0 ? 0 : flags & TFD_TIMER_ABSTIME ? at : sim_now + at;
	if (o->count > sim_now)
		sim_at(o->count, timer_wake, NULL);
	return 0;
}

static uint64_t signal_bits(const sigset_t *set)
{
	uint64_t bits = 0;

	for (int i = 1; i < 64; i++)
		if (sigismember(set, i) == 1)
			bits |= (uint64_t)1 << i;
	return bits;
}

int __real_signalfd(int fd, const sigset_t *set, int flags);
int __wrap_signalfd(int fd, const sigset_t *set, int flags)
{
	struct ofd *o;

	if (OURS)
		return __real_signalfd(fd, set, flags);
	o           = ofd_new(OFD_SIGNAL);
	o->mask     = signal_bits(set);
	o->nonblock = true;
	return fd_install(sim_proc(), o, 3, (flags & SFD_CLOEXEC) != 0);
}

/* ---- processes, threads, signals ---- */

pid_t __real_fork(void);
pid_t __wrap_fork(void)
{
	if (OURS)
		return __real_fork();
	sim_step("fork");
	return proc_fork();
}

int __wrap_execvp(const char *file, char *const argv[])
{
	(void)file;
	sim_step("execvp");
	world_exec(sim_proc(), argv);
}

void __real__exit(int code) __attribute__((noreturn));
void __wrap__exit(int code) __attribute__((noreturn));
void __wrap__exit(int code)
{
	if (OURS)
		__real__exit(code);
	sim_step("_exit");
	proc_exit(code);
}

void __real_exit(int code) __attribute__((noreturn));
void __wrap_exit(int code) __attribute__((noreturn));
void __wrap_exit(int code)
{
	if (OURS)
		__real_exit(code);
	proc_exit(code);
}

struct wait_look { pid_t pid, parent; };

static struct proc *wait_find(struct wait_look *l, bool *any)
{
	*any = false;
	for (struct proc *c = sim_procs; c; c = c->next) {
		if (c->ppid != l->parent || c->reaped || (l->pid > 0 && c->pid != l->pid))
			continue;
		*any = true;
		if (!c->alive)
			return c;
	}
	return NULL;
}

static bool wait_ready(void *arg)
{
	bool any;

	return wait_find(arg, &any) || !any;
}

pid_t __real_waitpid(pid_t pid, int *status, int options);
pid_t __wrap_waitpid(pid_t pid, int *status, int options)
{
	struct wait_look *l;
	struct proc      *c;
	bool              any;

	if (OURS)
		return __real_waitpid(pid, status, options);
	sim_step("waitpid");
	l = calloc(1, sizeof(*l));
	if (!l)
		abort();
	*l = (struct wait_look){ .pid = pid, .parent = sim_proc()->pid };
	if (!(options & WNOHANG))
		sim_wait(wait_ready, l, SIM_NEVER);
	c = wait_find(l, &any);
	free(l);
	if (!any)
		FAIL(ECHILD);
	if (!c)
		return 0;
	c->reaped = true;
	if (status)
		*status = c->status;
	return c->pid;
}

int __real_kill(pid_t pid, int sig);
int __wrap_kill(pid_t pid, int sig)
{
	struct proc *p;

	if (OURS)
		return __real_kill(pid, sig);
	sim_step("kill");
	p = proc_find(pid);
	if (!p || p->host != sim_here())
		FAIL(ESRCH);
	sim_trace("kill(%d, %d)", (int)pid, sig);
	proc_signal(p, sig);
	if (!sim_proc()->alive)
		sim_step("killed");
	return 0;
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, long pid, long flags)
{
	struct proc *p;
	struct ofd  *o;

	if (OURS)
		return __real_syscall(number, pid, flags);
	sim_step("pidfd_open");
	p = number == SYS_pidfd_open ? proc_find((pid_t)pid) : NULL;
	if (!p || p->host != sim_here())
		FAIL(ESRCH);
	o       = ofd_new(OFD_PROCESS);
	o->proc = p;
	return fd_install(sim_proc(), o, 3, true);
}

pid_t __real_getpid(void);
pid_t __wrap_getpid(void)
{
	return OURS ? __real_getpid() : sim_proc()->pid;
}

pid_t __wrap_getppid(void)
{
	return sim_proc()->ppid;
}

pid_t __wrap_setsid(void)
{
	return sim_proc()->pid;
}

int __wrap_prctl(int option, ...)
{
	va_list ap;

	va_start(ap, option);
	if (option == PR_SET_PDEATHSIG)
		sim_proc()->death_signal = (int)va_arg(ap, unsigned long);
	va_end(ap);
	return 0;
}

typedef void handler_fn(int);
handler_fn *__real_signal(int sig, handler_fn *h);
handler_fn *__wrap_signal(int sig, handler_fn *h)
{
	if (OURS)
		return __real_signal(sig, h);
	if (h == SIG_IGN)
		sim_proc()->ignored |= (uint64_t)1 << sig;
	else
		sim_proc()->ignored &= ~((uint64_t)1 << sig);
	return SIG_DFL;
}

int __real_sigprocmask(int how, const sigset_t *set, sigset_t *old);
int __wrap_sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	struct proc *p = sim_proc();

	if (OURS)
		return __real_sigprocmask(how, set, old);
	if (old) {
		sigemptyset(old);
		for (int i = 1; i < 64; i++)
			if (p->blocked & (uint64_t)1 << i)
				sigaddset(old, i);
	}
	if (set) {
		uint64_t bits  = signal_bits(set),
			 fatal = (uint64_t)1 << SIGTERM | (uint64_t)1 << SIGINT |
				 (uint64_t)1 << SIGHUP;

		p->blocked = how == SIG_BLOCK     ? p->blocked | bits
			     : how == SIG_UNBLOCK ? p->blocked & ~bits
						  : bits;
		uint64_t now = p->pending & ~p->blocked & fatal;

		if (now) {
			proc_end(p, __builtin_ctzll(now), false);
			sim_step("killed");
		}
	}
	return 0;
}

int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	/* A thread of its own has no part in signals here: they are the main thread's. */
	if (sim_task && sim_task != sim_proc()->main_task)
		return 0;
	return __wrap_sigprocmask(how, set, old) ? errno : 0;
}

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	(void)attr;
	*t = (pthread_t)(uintptr_t)task_spawn(sim_proc(), fn, arg);
	return 0;
}

static bool thread_done(void *arg)
{
	return ((struct task *)arg)->done;
}

int __wrap_pthread_join(pthread_t t, void **ret)
{
	struct task *k = (struct task *)(uintptr_t)t;

	sim_step("join");
	sim_wait(thread_done, k, SIM_NEVER);
	if (ret)
		*ret = k->ret;
	k->dead = true;
	return 0;
}

/* A process's locks; those of static variables are one memory for all processes here, so they are
 * told apart by process. */
struct held { struct held *next; struct proc *p; pthread_mutex_t *m; struct task *owner; };
static struct held *helds;

/* Conditions, told apart in the same way: how often each was signalled. */
struct signalled { struct signalled *next; struct proc *p; pthread_cond_t *c; uint64_t times; };
static struct signalled *conditions;

void calls_reset(void);
void calls_reset(void)
{
	helds      = NULL;
	conditions = NULL;
}

static struct held *held_find(struct proc *p, pthread_mutex_t *m)
{
	struct held *h = helds;

	while (h && (h->p != p || h->m != m))
		h = h->next;
	return h;
}

struct held_look { struct proc *p; pthread_mutex_t *m; };

static bool mutex_free(void *arg)
{
	struct held_look *l = arg;

	return !held_find(l->p, l->m);
}

int __real_pthread_mutex_lock(pthread_mutex_t *m);
int __wrap_pthread_mutex_lock(pthread_mutex_t *m)
{
	struct proc *p = sim_proc();
	struct held *h;

	if (OURS)
		return __real_pthread_mutex_lock(m);
	if (sim_chance(8))
		sim_step("lock");
	h = held_find(p, m);
	if (h && h->owner == sim_task)
		sim_broken("%s locks twice", p->name);
	if (h) {
		struct held_look *l = calloc(1, sizeof(*l));

		if (!l)
			abort();
		*l = (struct held_look){ .p = p, .m = m };
		sim_wait(mutex_free, l, SIM_NEVER);
		free(l);
	}
	h  = calloc(1, sizeof(*h));
	if (!h)
		abort();
	*h = (struct held){ .next = helds, .p = p, .m = m, .owner = sim_task };
	helds = h;
	return 0;
}

int __real_pthread_mutex_unlock(pthread_mutex_t *m);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *m)
{
	if (OURS)
		return __real_pthread_mutex_unlock(m);
	for (struct held **at = &helds; *at; at = &(*at)->next)
		if ((*at)->p == sim_proc() && (*at)->m == m) {
			struct held *h = *at;

			*at = h->next;
			free(h);
			return 0;
		}
	sim_broken("%s unlocks what is not locked", sim_proc()->name);
	return 0;
}

static struct signalled *signalled_find(pthread_cond_t *c)
{
	struct signalled *s = conditions;

	while (s && (s->p != sim_proc() || s->c != c))
		s = s->next;
	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		abort();
	*s         = (struct signalled){ .next = conditions, .p = sim_proc(), .c = c };
	conditions = s;
	return s;
}

struct signalled_look { struct signalled *s; uint64_t times; };

static bool condition_signalled(void *arg)
{
	struct signalled_look *l = arg;

	return l->s->times != l->times;
}

/* One signal wakes all who wait: POSIX permits it. */
int __real_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m);
int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	struct signalled_look *l;

	if (OURS)
		return __real_pthread_cond_wait(c, m);
	l = calloc(1, sizeof(*l));
	if (!l)
		abort();
	l->s     = signalled_find(c);
	l->times = l->s->times;
	__wrap_pthread_mutex_unlock(m);
	sim_wait(condition_signalled, l, SIM_NEVER);
	free(l);
	return __wrap_pthread_mutex_lock(m);
}

int __real_pthread_cond_broadcast(pthread_cond_t *c);
int __wrap_pthread_cond_broadcast(pthread_cond_t *c)
{
	if (OURS)
		return __real_pthread_cond_broadcast(c);
	signalled_find(c)->times++;
	return 0;
}

int __real_pthread_cond_signal(pthread_cond_t *c);
int __wrap_pthread_cond_signal(pthread_cond_t *c)
{
	return OURS ? __real_pthread_cond_signal(c) : __wrap_pthread_cond_broadcast(c);
}

/* ---- time, chance, environment, terminal ---- */

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	uint64_t ns;

	if (OURS)
		return __real_clock_gettime(id, t);
	sim_now += sim_below(2000);
	ns = sim_now + (id == CLOCK_REALTIME ? 1700000000 * SIM_SECOND : 0);
	*t = (struct timespec){
		.tv_sec  = (time_t)(ns / SIM_SECOND),
		.tv_nsec = (long)(ns % SIM_SECOND)
	};
	return 0;
}

int __wrap_nanosleep(const struct timespec *t, struct timespec *left)
{
	(void)left;
	sim_step("nanosleep");
	sim_sleep((uint64_t)t->tv_sec * SIM_SECOND + (uint64_t)t->tv_nsec);
	return 0;
}

int __wrap_usleep(useconds_t us)
{
	sim_step("usleep");
	sim_sleep((uint64_t)us * 1000);
	return 0;
}

ssize_t __wrap_getrandom(void *buf, size_t n, unsigned flags)
{
	(void)flags;
	for (size_t i = 0; i < n; i++)
		((uint8_t *)buf)[i] = (uint8_t)sim_below(256);
	return (ssize_t)n;
}

char *__real_getenv(const char *name);
char *__wrap_getenv(const char *name)
{
	static char runtime[] = "/run/vmferry", state[] = "/state";

	if (OURS)
		return __real_getenv(name);
	return !strcmp(name, "VMFERRY_RUNTIME_DIR") ? runtime
	       : !strcmp(name, "VMFERRY_STATE_DIR") ? state
						    : NULL;
}

int __wrap_isatty(int fd)
{
	(void)fd;
	return 1;
}

char *__real_fgets(char *s, int n, FILE *f);
char *__wrap_fgets(char *s, int n, FILE *f)
{
	if (OURS)
		return __real_fgets(s, n, f);
	sim_step("fgets");
	return world_human(s, (size_t)n) ? s : NULL;
}

FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode)
{
	if (OURS)
		return __real_fopen64(path, mode);
	errno = ENOENT;      /* /proc/meminfo: a host that does not tell */
	return NULL;
}

int __wrap_vfprintf(FILE *f, const char *fmt, va_list ap)
{
	char text[600];
	int  n = vsnprintf(text, sizeof(text), fmt, ap);

	if (OURS)
		return (int)fwrite(text, 1, strlen(text), f);
	if (n > 1)
		sim_trace("> %s", text);
	return n;
}

int __wrap_fprintf(FILE *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = __wrap_vfprintf(f, fmt, ap);

	va_end(ap);
	return n;
}

int __real_puts(const char *s);
int __wrap_puts(const char *s)
{
	if (OURS)
		return __real_puts(s);
	sim_trace("> %s", s);
	return 1;
}

int __wrap_printf(const char *fmt, ...)
{
	va_list ap;
	char    text[600];
	int     n;

	va_start(ap, fmt);
	if (OURS) {
		n = vprintf(fmt, ap);
	} else {
		n = vsnprintf(text, sizeof(text), fmt, ap);
		sim_trace("> %s", text);
	}
	va_end(ap);
	return n;
}

int __wrap_dprintf(int fd, const char *fmt, ...)
{
	va_list ap;
	char    text[600];

	(void)fd;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);

	va_end(ap);
	sim_trace("> %s", text);
	return n;
}
