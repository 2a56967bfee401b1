/* SPDX-License-Identifier: MIT */
#include "vmrun/boot/boot_images.h"

#include "libcommon/io.h"
#include "vmrun/boot/cpio.h"
#include "vmrun/boot/initrd_internal.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int initrd_name_order(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* Reads a file's bytes or a link's target; other types have none. */
static int initrd_data(const FTSENT *f, uint8_t **data, size_t *len, size_t max, struct fail *why)
{
	int fd, rc;

	*data = NULL;
	*len  = 0;
	if (S_ISLNK(f->fts_statp->st_mode)) {
		char    target[4096];
		ssize_t n = readlink(f->fts_accpath, target, sizeof(target));

		if (n < 0 || n == (ssize_t)sizeof(target))
			return fail_sys(why, "%s: link", f->fts_path);
		*data = malloc((size_t)n + 1);
		if (!*data)
			return fail_sys(why, "%s", f->fts_path);
		memcpy(*data, target, (size_t)n);
		*len = (size_t)n;
		return 0;
	}
	if (!S_ISREG(f->fts_statp->st_mode))
		return 0;
	fd = open(f->fts_accpath, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return fail_sys(why, "%s", f->fts_path);
	rc = io_slurp(fd, data, len, max, f->fts_path, why);
	close(fd);
	return rc;
}

static int initrd_folder(const char *path, struct cpio *c, struct fail *why)
{
	char  *roots[] = { (char *)(uintptr_t)path, NULL };
	size_t skip    = strlen(path);
	FTS   *fts     = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, initrd_name_order);
	int    rc      = -1;

	if (!fts)
		return fail_sys(why, "%s", path);
	for (;;) {
		FTSENT           *f;
		struct cpio_entry e = { 0 };

		errno = 0;
		f     = fts_read(fts);
		if (!f) {
			rc = errno ? fail_sys(why, "%s", path) : 0;
			break;
		}
		if (f->fts_info == FTS_DP)
			continue;
		if (f->fts_info == FTS_DNR || f->fts_info == FTS_ERR || f->fts_info == FTS_NS) {
			errno = f->fts_errno;
			fail_sys(why, "%s", f->fts_path);
			break;
		}
		if (f->fts_level == 0 || S_ISSOCK(f->fts_statp->st_mode))
			continue;
		e.mode  = f->fts_statp->st_mode;
		e.rdev  = S_ISCHR(e.mode) || S_ISBLK(e.mode) ? f->fts_statp->st_rdev : 0;
		e.mtime = (uint32_t)f->fts_statp->st_mtime;
		if (initrd_data(f, &e.data, &e.len, c->max - c->bytes, why) ||
		    cpio_add(c, f->fts_path + skip, &e, why))
			break;
	}
	fts_close(fts);
	return rc;
}

static int initrd_archive_fail(struct archive *a, const char *what, struct fail *why)
{
	const char *text = archive_error_string(a);

	return fail_set(why, FAIL_CORRUPT, "%s: %s", what, text ? text : "malformed archive");
}

int initrd_archive_data(struct archive *a, struct cpio_entry *e, size_t max, const char *what,
			struct fail *why)
{
	size_t capacity = 0;

	for (;;) {
		if (e->len == capacity) {
			size_t   more_capacity = capacity ? capacity * 2 : 16384;
			uint8_t *more          = realloc(e->data, more_capacity);

			if (!more) {
				errno = ENOMEM;
				return fail_sys(why, "%s", what);
			}
			e->data  = more;
			capacity = more_capacity;
		}
		la_ssize_t n = archive_read_data(a, e->data + e->len, capacity - e->len);

		if (n == ARCHIVE_RETRY)
			continue;
		if (n < 0)
			return initrd_archive_fail(a, what, why);
		if (n == 0)
			return 0;
		e->len += (size_t)n;
		if (e->len > max)
			return fail_set(why, FAIL_LIMIT,
					"%s: unpacked size exceeds the limit of %zu MiB", what,
					IMAGE_MAX_BYTES >> 20);
	}
}

static int initrd_copy(struct cpio_entry *e, const void *data, size_t len, const char *what,
		       struct fail *why)
{
	e->len  = len;
	e->data = len ? malloc(len) : NULL;
	if (len && !e->data) {
		errno = ENOMEM;
		return fail_sys(why, "%s", what);
	}
	if (len)
		memcpy(e->data, data, len);
	return 0;
}

static int initrd_archive_entry(struct archive *a, struct archive_entry *x, struct cpio *c,
				const char *what, struct fail *why)
{
	struct cpio_entry e    = { .mode = archive_entry_mode(x),
				   .mtime = (uint32_t)archive_entry_mtime(x) };
	const char       *path = archive_entry_pathname(x);
	const char       *hard = archive_entry_hardlink(x);
	const char       *soft = archive_entry_symlink(x);

	if (!path)
		return fail_set(why, FAIL_CORRUPT, "%s: archive entry: invalid name", what);
	if (hard) {
		const struct cpio_entry *to = cpio_find(c, hard);

		if (!to)
			return fail_set(why, FAIL_CORRUPT, "%s: %.100s: link target missing", what,
					path);
		e.mode = to->mode;
		if (to->len > c->max - c->bytes)
			return fail_set(why, FAIL_LIMIT,
					"%s: unpacked size exceeds the limit of %zu MiB", what,
					IMAGE_MAX_BYTES >> 20);
		if (initrd_copy(&e, to->data, to->len, what, why))
			return -1;
		return cpio_add(c, path, &e, why);
	}
	if (S_ISSOCK(e.mode) || (e.mode & S_IFMT) == 0)
		return 0;
	if (S_ISLNK(e.mode)) {
		if (!soft || initrd_copy(&e, soft, strlen(soft), what, why))
			return soft ? -1 : fail_set(why, FAIL_CORRUPT,
					"%s: %.100s: missing link target", what, path);
	} else if (S_ISCHR(e.mode) || S_ISBLK(e.mode)) {
		e.rdev = archive_entry_rdev(x);
	} else if (S_ISREG(e.mode) && initrd_archive_data(a, &e, c->max - c->bytes, what, why)) {
		free(e.data);
		return -1;
	}
	return cpio_add(c, path, &e, why);
}

/* Not archive_read_support_*_all: mtree opens files that its text names, and some filters run
 * programs. */
static struct archive *initrd_archive_open(const uint8_t *data, size_t len)
{
	struct archive *a = archive_read_new();

	if (!a)
		return NULL;
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_bzip2(a);
	archive_read_support_filter_xz(a);
	archive_read_support_filter_lzma(a);
	archive_read_support_filter_lz4(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_filter_compress(a);
	archive_read_support_format_cpio(a);
	archive_read_support_format_tar(a);
	archive_read_support_format_zip(a);
	archive_read_support_format_7zip(a);
	archive_read_support_format_iso9660(a);
	archive_read_support_format_ar(a);
	archive_read_support_format_cab(a);
	archive_read_support_format_lha(a);
	archive_read_support_format_rar(a);
	archive_read_support_format_rar5(a);
	archive_read_support_format_xar(a);
	if (archive_read_open_memory(a, data, len) == ARCHIVE_OK)
		return a;
	archive_read_free(a);
	return NULL;
}

static int initrd_archive(struct archive *a, struct archive_entry *x, struct cpio *c,
			  const char *what, struct fail *why)
{
	for (;;) {
		if (initrd_archive_entry(a, x, c, what, why))
			return -1;
		int rc = archive_read_next_header(a, &x);

		while (rc == ARCHIVE_RETRY)
			rc = archive_read_next_header(a, &x);
		if (rc == ARCHIVE_EOF)
			return 0;
		if (rc < ARCHIVE_WARN)
			return initrd_archive_fail(a, what, why);
	}
}

/* Formats that Linux unpacks itself and libarchive may not support: lzo, and the kernel's own lz4
 * frames. */
static bool initrd_kernel_only(const uint8_t *data, size_t len)
{
	return len >= 4 && (!memcmp(data, "\x89LZO", 4) || !memcmp(data, "\x02\x21\x4c\x18", 4));
}

/* Packs the archive in data into *out; *verbatim: it is a cpio, to be used as it is. */
static int initrd_repack(const uint8_t *data, size_t len, const char *what, bool *verbatim,
			 uint8_t **out, size_t *outlen, struct fail *why)
{
	struct archive       *a = initrd_archive_open(data, len);
	struct archive_entry *x;
	struct cpio           c  = { .max = IMAGE_MAX_BYTES };
	int                   rc = -1;

	if (!a || archive_read_next_header(a, &x) < ARCHIVE_WARN) {
		fail_set(why, FAIL_CORRUPT,
				"%s: unsupported format (supported: cpio, directory, archive)",
				what);
		goto out;
	}
	*verbatim = (archive_format(a) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_CPIO;
	if (*verbatim || (initrd_archive(a, x, &c, what, why) == 0 &&
			  initrd_modules(&c, why) == 0 && cpio_finish(&c, out, outlen, why) == 0))
		rc = 0;
out:
	cpio_close(&c);
	if (a)
		archive_read_free(a);
	return rc;
}

static int initrd_file(int fd, const char *path, uint8_t **out, size_t *len, struct fail *why)
{
	uint8_t *data = NULL;
	size_t   n;
	bool     verbatim = false;

	if (io_slurp(fd, &data, &n, IMAGE_MAX_BYTES, path, why))
		return -1;
	/* A plain newc, or one that begins with firmware: what follows is checked by the kernel. */
	if ((n >= 6 && (!memcmp(data, "070701", 6) || !memcmp(data, "070702", 6))) ||
	    initrd_kernel_only(data, n))
		verbatim = true;
	else if (initrd_repack(data, n, path, &verbatim, out, len, why)) {
		free(data);
		return -1;
	}
	if (!verbatim) {
		free(data);
		return 0;
	}
	*out = data;
	*len = n;
	return 0;
}

int initrd_read_fd(int fd, const char *path, uint8_t **out, size_t *len, struct fail *why)
{
	struct cpio c = { .max = IMAGE_MAX_BYTES };
	struct stat st;
	int         rc;

	if (fstat(fd, &st))
		return fail_sys(why, "%s", path);
	if (!S_ISDIR(st.st_mode))
		return initrd_file(fd, path, out, len, why);
	rc = 0;
	if (initrd_folder(path, &c, why) || initrd_modules(&c, why) ||
	    cpio_finish(&c, out, len, why))
		rc = -1;
	cpio_close(&c);
	return rc;
}
