/* SPDX-License-Identifier: MIT */
/* --initrd: a cpio stays as it is, folders and archives become a newc that an independent reader
 * (libarchive) reads back. */
#include "tests/unit/tap.h"

#include "libcommon/io.h"
#include "vmrun/boot/cpio.h"
#include "vmrun/boot/boot_images.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static char dir[] = "/tmp/initrd_test.XXXXXX";

static const char *in_dir(const char *name)
{
	static char path[4][256];
	static int  at;

	at = (at + 1) % 4;
	snprintf(path[at], sizeof(path[at]), "%s/%s", dir, name);
	return path[at];
}

static void put(const char *path, const void *data, size_t len, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len || fchmod(fd, mode) || close(fd))
		abort();
}

/* "type mode path size target/rdev content;" of each entry of an archive in memory. */
static char *listing(const uint8_t *data, size_t len)
{
	struct archive       *a   = archive_read_new();
	struct archive_entry *e;
	char                 *out = NULL;
	size_t                n;
	FILE                 *f = open_memstream(&out, &n);

	archive_read_support_filter_all(a);
	archive_read_support_format_cpio(a);
	if (!f || archive_read_open_memory(a, data, len) != ARCHIVE_OK)
		abort();
	while (archive_read_next_header(a, &e) == ARCHIVE_OK) {
		char    text[64] = "";
		ssize_t got = archive_read_data(a, text, sizeof(text) - 1);

		fprintf(f, "%o %s", archive_entry_mode(e), archive_entry_pathname(e));
		if (archive_entry_symlink(e))
			fprintf(f, " -> %s", archive_entry_symlink(e));
		if (S_ISCHR(archive_entry_mode(e)))
			fprintf(f, " %u:%u", major(archive_entry_rdev(e)),
				minor(archive_entry_rdev(e)));
		if (got > 0)
			fprintf(f, " '%s'", text);
		if (archive_entry_uid(e) || archive_entry_gid(e))
			fprintf(f, " not root's");
		fputc(';', f);
	}
	archive_read_free(a);
	fclose(f);
	return out;
}

static int read_path(const char *path, uint8_t **out, size_t *len, struct fail *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc = fd < 0 ? fail_sys(why, "%s", path) : initrd_read_fd(fd, path, out, len, why);

	io_close(&fd);
	return rc;
}

/* Reads path as an initrd; it must list as wanted. */
static bool becomes(const char *path, const char *want)
{
	struct fail why = { 0 };
	uint8_t    *data;
	size_t      len;

	if (read_path(path, &data, &len, &why)) {
		printf("# %s\n", why.what);
		return false;
	}
	char *list = listing(data, len);
	bool  same = !strcmp(list, want) && len % 4 == 0;

	if (!same)
		printf("# %s\n", list);
	free(list);
	free(data);
	return same;
}

static bool verbatim(const char *path)
{
	struct fail why = { 0 };
	uint8_t    *data, *file = malloc(1 << 20);
	size_t      len;
	int         fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t     n  = read(fd, file, 1 << 20);

	close(fd);
	bool same = read_path(path, &data, &len, &why) == 0 && (ssize_t)len == n &&
		    !memcmp(data, file, len);

	free(file);
	if (same)
		free(data);
	return same;
}

static bool refused(const char *path, enum fail_kind kind)
{
	struct fail why = { 0 };
	uint8_t    *data = NULL;
	size_t      len;
	bool        no = read_path(path, &data, &len, &why) == -1 && why.kind == kind;

	if (!no)
		printf("# kind %d: %s\n", (int)why.kind, why.what);
	return no;
}

struct file {
	const char *path;
	mode_t      mode;
	const char *content;     /* of a file; target of a link */
	const char *hard;
};

/* An archive of a format and a compression, made by libarchive. */
static void make(const char *path, int (*format)(struct archive *), int (*filter)(struct archive *),
		 const struct file *files)
{
	struct archive *a = archive_write_new();

	format(a);
	if (filter)
		filter(a);
	if (archive_write_open_filename(a, path) != ARCHIVE_OK)
		abort();
	for (; files->path; files++) {
		struct archive_entry *e = archive_entry_new();

		archive_entry_set_pathname(e, files->path);
		archive_entry_set_mode(e, files->mode);
		archive_entry_set_uid(e, 1000);
		if (S_ISCHR(files->mode))
			archive_entry_set_rdev(e, makedev(5, 1));
		if (S_ISLNK(files->mode))
			archive_entry_set_symlink(e, files->content);
		if (files->hard)
			archive_entry_set_hardlink(e, files->hard);
		else
			archive_entry_set_size(e, S_ISREG(files->mode)
					       ? (la_int64_t)strlen(files->content) : 0);
		if (archive_write_header(a, e) != ARCHIVE_OK)
			abort();
		if (S_ISREG(files->mode) && !files->hard)
			archive_write_data(a, files->content, strlen(files->content));
		archive_entry_free(e);
	}
	archive_write_close(a);
	archive_write_free(a);
}

static const struct file files[] = {
	{ "./init", S_IFREG | 0755, "#!/bin/sh", NULL },
	{ "b/c/deep", S_IFREG | 0644, "x", NULL },
	{ "/b-side", S_IFREG | 0600, "side", NULL },
	{ "b/link", S_IFLNK | 0777, "c/deep", NULL },
	{ "init", S_IFREG | 0700, "second", NULL },
	{ NULL, 0, NULL, NULL },
};
static const struct file tar_files[] = {
	{ "dev/console", S_IFCHR | 0600, NULL, NULL },
	{ "bin/busybox", S_IFREG | 04755, "bb", NULL },
	{ "bin/sh", S_IFREG | 0755, NULL, "bin/busybox" },
	{ NULL, 0, NULL, NULL },
};
static const struct file outside[] = { { "../etc/passwd", S_IFREG | 0644, "x", NULL },
				       { NULL, 0, NULL, NULL } };
#define FILES_LIST "40755 b;40755 b/c;100644 b/c/deep 'x';120777 b/link -> c/deep;" \
		   "100600 b-side 'side';100700 init 'second';"

static bool folder(void)
{
	char *root = strdup(in_dir("root"));

	mkdir(root, 0755);
	mkdir(in_dir("root/b"), 0700);
	put(in_dir("root/b/f"), "file", 4, 0640);
	put(in_dir("root/b-"), "", 0, 0600);
	put(in_dir("root/a"), "abc", 3, 0755);
	(void)!symlink("../nowhere", in_dir("root/b/dangling"));
	mkfifo(in_dir("root/fifo"), 0600);
	bool good = becomes(root,
			    "100755 a 'abc';40700 b;120777 b/dangling -> ../nowhere;100640 b/f "
			    "'file';100600 b-;10600 fifo;");

	good = good &&
	       becomes(in_dir("root//"),
		       "100755 a 'abc';40700 b;120777 b/dangling -> ../nowhere;100640 b/f "
		       "'file';100600 b-;10600 fifo;");
	free(root);
	return good;
}

static const struct file module[] = { { "m", S_IFREG | 0644, "ELF", NULL },
				      { NULL, 0, NULL, NULL } };

static bool modules(void)
{
	char *root = strdup(in_dir("modules"));
	bool  good;

	mkdir(root, 0755);
	make(in_dir("modules/a.ko.xz"), archive_write_set_format_raw, archive_write_add_filter_xz,
	     module);
	make(in_dir("modules/b.ko.zst"), archive_write_set_format_raw,
	     archive_write_add_filter_zstd, module);
	make(in_dir("modules/d.ko.gz"), archive_write_set_format_raw, archive_write_add_filter_gzip,
	     module);
	put(in_dir("modules/c.ko"), "c", 1, 0644);
	put(in_dir("modules/e.txt.xz"), "e", 1, 0644);
	put(in_dir("modules/c.ko.xz"), "not even xz", 11, 0644);
	good = becomes(root,
		       "100644 a.ko 'ELF';100644 b.ko 'ELF';100644 c.ko 'c';100644 c.ko.xz 'not "
		       "even xz';100644 d.ko 'ELF';100644 e.txt.xz 'e';");
	free(root);
	return good;
}

static bool same_twice(void)
{
	struct fail why;
	uint8_t    *a = NULL, *b = NULL;
	size_t      la = 0, lb = 1;
	bool        same = read_path(in_dir("root"), &a, &la, &why) == 0 &&
			   read_path(in_dir("root"), &b, &lb, &why) == 0 && la == lb &&
		    !memcmp(a, b, la);

	free(a);
	free(b);
	return same;
}

static bool bounded(void)
{
	struct cpio       c = { .max = 300 };
	struct cpio_entry e = { .mode = S_IFREG | 0644, .data = malloc(100), .len = 100 };
	struct fail       why = { 0 };
	bool              first = cpio_add(&c, "a", &e, &why) == 0;

	e.data = malloc(100);
	bool second = cpio_add(&c, "b", &e, &why) == 0;

	cpio_close(&c);
	return first && !second && why.kind == FAIL_LIMIT;
}

static int add_file(struct cpio *c, const char *path, struct fail *why)
{
	struct cpio_entry e = { .mode = S_IFREG | 0644, .data = malloc(1), .len = 1 };

	e.data[0] = 'x';
	return cpio_add(c, path, &e, why);
}

/* A hard link and a compressed module each look for another entry: by a search, not through all of
 * them. */
static void test_work(void)
{
	enum { N = 20000 };
	struct cpio c   = { .max = 1 << 26 };
	struct fail why = { 0 };
	uint8_t    *out;
	size_t      len;
	char        path[64];
	unsigned    found = 0, gone = 0;

	for (int i = 0; i < N; i++) {
		snprintf(path, sizeof(path), "lib/modules/m%05d.ko.xz", i);
		if (add_file(&c, path, &why))
			abort();
	}
	c.compares = 0;
	for (int i = 0; i < N; i++) {
		snprintf(path, sizeof(path), "./lib//modules/m%05d.ko.xz", i);
		found += cpio_find(&c, path) == &c.entries[i];
		gone += cpio_find(&c, "lib/modules/m.ko") == NULL;
	}
	ok(found == N && gone == N && c.compares < (uint64_t)N * 2 * 32,
	   "an entry among 20000 is found, or not, by fewer than 32 comparisons");
	c.compares = 0;
	for (size_t i = 0; i < N; i++)
		if (cpio_shorten(&c, i, strlen("lib/modules/m00000.ko"), &why))
			abort();
	ok(c.compares < (uint64_t)N * 40 &&
		   cpio_find(&c, "lib/modules/m00007.ko") == &c.entries[7] &&
		   !cpio_find(&c, "lib/modules/m00007.ko.xz"),
	   "renaming them takes fewer than 40 each");
	ok(add_file(&c, "lib/modules/m00007.ko", &why) == 0 &&
		   cpio_find(&c, "lib/modules/m00007.ko") == &c.entries[N],
	   "the last of a name counts");
	ok(cpio_finish(&c, &out, &len, &why) == 0 && len > N * 110, "all of it is written");
	free(out);
	cpio_close(&c);
}

/* Long paths whose folders nobody packed: written as far as the limit goes. */
static void test_deep(void)
{
	struct cpio c   = { .max = 1 << 22 };
	struct fail why = { 0 };
	uint8_t    *out = NULL;
	size_t      len;
	char        path[4000];

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%d", i);
		for (size_t at = 1; at + 3 < sizeof(path); at += 2)
			strcpy(path + at, "/a");
		if (add_file(&c, path, &why))
			abort();
	}
	ok(cpio_finish(&c, &out, &len, &why) == -1 && why.kind == FAIL_LIMIT,
	   "12 KB of paths that would become 13 MB of folders are refused beyond the limit");
	cpio_close(&c);
}

int main(void)
{
	umask(022);
	if (!mkdtemp(dir))
		abort();
	ok(folder(), "a folder: modes, links, pipes, empty files; folders before what is in them");
	ok(modules(),
	   "compressed kernel modules are unpacked, but where the plain one is there too; other "
	   "files are not");
	unlink(in_dir("modules/c.ko"));
	ok(refused(in_dir("modules"), FAIL_CORRUPT), "a module that is no xz file is refused");
	ok(same_twice(), "twice the same folder gives the same bytes");
	make(in_dir("x.tar"), archive_write_set_format_ustar, NULL, files);
	ok(becomes(in_dir("x.tar"), FILES_LIST),
	   "a tar: sorted, root's, missing folders made, the later of two counts");
	make(in_dir("x.tar.xz"), archive_write_set_format_pax, archive_write_add_filter_xz, files);
	ok(becomes(in_dir("x.tar.xz"), FILES_LIST), "a tar.xz is told from a cpio.xz");
	make(in_dir("x.zip"), archive_write_set_format_zip, NULL, files);
	ok(becomes(in_dir("x.zip"), FILES_LIST), "a zip");
	make(in_dir("x.7z"), archive_write_set_format_7zip, NULL, files);
	ok(becomes(in_dir("x.7z"), FILES_LIST), "a 7z");
	make(in_dir("dev.tar.gz"), archive_write_set_format_pax, archive_write_add_filter_gzip,
	     tar_files);
	ok(becomes(in_dir("dev.tar.gz"),
		   "40755 bin;104755 bin/busybox 'bb';104755 bin/sh 'bb';40755 dev;20600 "
		   "dev/console 5:1;"),
	   "a tar.gz with a device, a setuid bit and a hard link");
	make(in_dir("x.cpio"), archive_write_set_format_cpio_newc, NULL, files);
	ok(verbatim(in_dir("x.cpio")), "a newc cpio is passed as it is");
	make(in_dir("x.cpio.gz"), archive_write_set_format_cpio_newc, archive_write_add_filter_gzip,
	     files);
	ok(verbatim(in_dir("x.cpio.gz")), "a gzipped one too");
	make(in_dir("x.cpio.zst"), archive_write_set_format_cpio_newc,
	     archive_write_add_filter_zstd, files);
	ok(verbatim(in_dir("x.cpio.zst")), "and one of zstd");
	put(in_dir("lz4"), "\x02\x21\x4c\x18....", 8, 0644);
	ok(verbatim(in_dir("lz4")), "the kernel's own lz4 frames are the kernel's to judge");
	make(in_dir("out.tar"), archive_write_set_format_ustar, NULL, outside);
	ok(refused(in_dir("out.tar"), FAIL_REFUSED), "a path that leads outside is refused");
	put(in_dir("text"), "#mtree\n./init type=file contents=/etc/shadow\n", 44, 0644);
	ok(refused(in_dir("text"), FAIL_CORRUPT),
	   "a list that names files of the host is no archive");
	put(in_dir("empty"), "", 0, 0644);
	ok(refused(in_dir("empty"), FAIL_CORRUPT), "an empty file is none");
	ok(refused(in_dir("nothing"), FAIL_SYSTEM), "nor is a file that is not there");
	truncate(in_dir("dev.tar.gz"), 100);
	ok(refused(in_dir("dev.tar.gz"), FAIL_CORRUPT), "a damaged archive is refused");
	ok(bounded(), "what it unpacks to is bounded");
	test_work();
	test_deep();
	char cmd[300];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd) || done_testing();
}
