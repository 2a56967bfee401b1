/* SPDX-License-Identifier: MIT */
#include "vmmigrate/image_cache.h"

#include "libcommon/io.h"
#include "libcommon/paths.h"
#include "libcommon/publish.h"
#include "libcommon/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_PIECE ((size_t)1 << 20)
#define CACHE_NAME  (2 * IMAGE_SHA256_BYTES)
#define CACHE_FILES 4096u      /* considered when the cache is shrunk */

int image_cache_sha256(int fd, uint64_t len, uint8_t out[IMAGE_SHA256_BYTES], struct fail *why)
{
	EVP_MD_CTX *md  = EVP_MD_CTX_new();
	uint8_t    *buf = malloc(CACHE_PIECE);
	bool        ok  = md && buf && EVP_DigestInit_ex(md, EVP_sha256(), NULL);
	int         rc  = 0;

	for (uint64_t at = 0; ok && rc == 0 && at < len; at += CACHE_PIECE) {
		size_t n = len - at < CACHE_PIECE ? (size_t)(len - at) : CACHE_PIECE;

		rc = io_pread(fd, buf, n, at, "image", why);
		ok = rc || EVP_DigestUpdate(md, buf, n);
	}
	if (rc == 0 && !(ok && EVP_DigestFinal_ex(md, out, NULL)))
		rc = fail_set(why, FAIL_SYSTEM, "image: SHA-256 failed");
	EVP_MD_CTX_free(md);
	free(buf);
	return rc;
}

static int cache_path(const uint8_t sha256[IMAGE_SHA256_BYTES], bool create, char out[PATHS_MAX],
		      struct fail *why)
{
	char dir[PATHS_MAX], name[CACHE_NAME + 1];

	if (paths_images(dir, create, why))
		return -1;
	text_hex(sha256, IMAGE_SHA256_BYTES, name);
	if (snprintf(out, PATHS_MAX, "%s/%s", dir, name) >= PATHS_MAX)
		return fail_set(why, FAIL_SYSTEM, "%s: path too long", dir);
	return 0;
}

/* Nothing in the folder is trusted: the digest is computed anew each time, because the disk may
 * have damaged the file, and a symbolic link or a FIFO of that name must neither be followed nor
 * waited for. */
int image_cache_find(const uint8_t sha256[IMAGE_SHA256_BYTES], uint64_t len)
{
	char        path[PATHS_MAX];
	uint8_t     found[IMAGE_SHA256_BYTES];
	struct stat st;
	struct fail ignored;
	int         fd = -1;

	if (cache_path(sha256, false, path, &ignored) == 0)
		fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == len &&
	    image_cache_sha256(fd, len, found, &ignored) == 0) {
		if (!memcmp(found, sha256, sizeof(found))) {
			/* The time of last use, by which the cache is shrunk. */
			futimens(fd, NULL);
			return fd;
		}
		/* Damaged: it is requested from the source again. */
		unlink(path);
	}
	close(fd);
	return -1;
}

/* ---- shrinking ---- */

struct cache_file {
	char            name[CACHE_NAME + 1];
	uint64_t        bytes;
	struct timespec used;
};

/* The most recently used first. */
static int cache_order(const void *a, const void *b)
{
	const struct timespec *x = &((const struct cache_file *)a)->used;
	const struct timespec *y = &((const struct cache_file *)b)->used;

	if (x->tv_sec != y->tv_sec)
		return x->tv_sec > y->tv_sec ? -1 : 1;
	return x->tv_nsec > y->tv_nsec ? -1 : x->tv_nsec < y->tv_nsec;
}

static size_t cache_list(DIR *d, struct cache_file *files)
{
	const struct dirent *e;
	size_t               n = 0;

	while (n < CACHE_FILES && (e = readdir(d))) {
		struct stat st;

		if (strlen(e->d_name) != CACHE_NAME ||
		    strspn(e->d_name, "0123456789abcdef") != CACHE_NAME ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
			continue;
		memcpy(files[n].name, e->d_name, CACHE_NAME + 1);
		files[n].bytes  = (uint64_t)st.st_size;
		files[n++].used = st.st_mtim;
	}
	return n;
}

static int cache_shrink(uint64_t max, struct fail *why)
{
	struct cache_file *files = calloc(CACHE_FILES, sizeof(*files));
	char               dir[PATHS_MAX];
	uint64_t           bytes = 0;
	DIR               *d     = NULL;

	if (!files) {
		errno = ENOMEM;
		return fail_sys(why, "images");
	}
	if (paths_images(dir, true, why) || (!(d = opendir(dir)) && fail_sys(why, "%s", dir))) {
		free(files);
		return -1;
	}

	size_t n = cache_list(d, files);

	qsort(files, n, sizeof(*files), cache_order);
	for (size_t i = 0; i < n; i++) {
		bytes += files[i].bytes;
		if (bytes > max)
			unlinkat(dirfd(d), files[i].name, 0);
	}
	closedir(d);
	free(files);
	return 0;
}

static int cache_copy(int to, int from, uint64_t len, struct fail *why)
{
	uint8_t *buf = malloc(CACHE_PIECE);
	int      rc  = buf ? 0 : fail_sys(why, "image");

	for (uint64_t at = 0; rc == 0 && at < len; at += CACHE_PIECE) {
		size_t n = len - at < CACHE_PIECE ? (size_t)(len - at) : CACHE_PIECE;

		rc = io_pread(from, buf, n, at, "image", why);
		if (rc == 0)
			rc = io_pwrite(to, buf, n, at, "image", why);
	}
	free(buf);
	return rc;
}

int image_cache_keep(int fd, uint64_t len, const uint8_t sha256[IMAGE_SHA256_BYTES], uint64_t max,
		     struct fail *why)
{
	char           path[PATHS_MAX];
	struct publish p;
	int            rc = -1;

	if (len > max)
		return 0;
	if (cache_path(sha256, true, path, why))
		return -1;
	/* Another move was faster, here and below. */
	if (access(path, F_OK) == 0)
		return 0;
	if (publish_open(&p, path, 0400, false, why))
		return -1;
	/* On disk before it has its name: after a crash a file of that name is complete. */
	if (cache_copy(p.fd, fd, len, why) == 0) {
		rc = fsync(p.fd) ? fail_sys(why, "%s", path) : publish_finish(&p, why);
		if (rc && access(path, F_OK) == 0)
			rc = 0;
	}
	publish_abandon(&p);
	publish_close(&p);
	return rc ? -1 : cache_shrink(max, why);
}
