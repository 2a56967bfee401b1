/* SPDX-License-Identifier: MIT */
#include "vmrun/boot/cpio.h"

#include "libcommon/array.h"

#include <errno.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define CPIO_HEADER  110u
#define CPIO_ENTRIES ((size_t)1 << 20)

static int cpio_nomem(struct fail *why)
{
	errno = ENOMEM;
	return fail_sys(why, "initrd");
}

/* "./a//b/" to "a/b"; out has space for PATH_MAX. */
static int cpio_clean(const char *path, char out[PATH_MAX], struct fail *why)
{
	size_t at = 0;

	while (*path) {
		size_t n = strcspn(path, "/");

		if (n == 2 && path[0] == '.' && path[1] == '.')
			return fail_set(why, FAIL_REFUSED,
					"initrd: invalid path: leads outside of the archive");
		if (n && !(n == 1 && path[0] == '.')) {
			if (n + 2 > PATH_MAX - at)
				return fail_set(why, FAIL_LIMIT,
						"initrd: path longer than %d bytes", PATH_MAX);
			if (at)
				out[at++] = '/';
			memcpy(out + at, path, n);
			at += n;
		}
		path += n + (path[n] == '/');
	}
	out[at] = '\0';
	return 0;
}

/* What a path stands for. It outlives a change of the entry's path, to which it then no longer
 * belongs. */
struct cpio_name {
	struct cpio *of;
	size_t       entry;
	char         path[];
};

static int cpio_name_order(const void *a, const void *b)
{
	const struct cpio_name *x = a, *y = b;

	x->of->compares++;
	return strcmp(x->path, y->path);
}

/* From now on entry i is what its path stands for. */
static int cpio_name(struct cpio *c, size_t i, struct fail *why)
{
	size_t            len  = strlen(c->entries[i].path) + 1;
	struct cpio_name *name = malloc(sizeof(*name) + len), **at;

	if (!name)
		return cpio_nomem(why);
	*name = (struct cpio_name){ .of = c, .entry = i };
	memcpy(name->path, c->entries[i].path, len);
	at = tsearch(name, &c->names, cpio_name_order);
	if (!at) {
		free(name);
		return cpio_nomem(why);
	}
	if (*at != name) {
		(*at)->entry = i;
		free(name);
	}
	return 0;
}

int cpio_add(struct cpio *c, const char *path, const struct cpio_entry *e, struct fail *why)
{
	char clean[PATH_MAX];

	if (cpio_clean(path, clean, why))
		goto fail;
	if (!clean[0]) {
		free(e->data);
		return 0;
	}
	if (c->n >= CPIO_ENTRIES || e->len > c->max - c->bytes ||
	    strlen(clean) + CPIO_HEADER > c->max - c->bytes - e->len) {
		fail_set(why, FAIL_LIMIT, "initrd: exceeds the limit of %zu MiB or %zu files",
				c->max >> 20, CPIO_ENTRIES);
		goto fail;
	}
	if (c->n == c->capacity) {
		struct cpio_entry *more = array_grow(c->entries, &c->capacity, sizeof(*more));

		if (!more) {
			cpio_nomem(why);
			goto fail;
		}
		c->entries = more;
	}
	c->entries[c->n]      = *e;
	c->entries[c->n].path = strdup(clean);
	if (!c->entries[c->n].path) {
		cpio_nomem(why);
		goto fail;
	}
	c->n++;
	c->bytes += e->len + strlen(clean) + CPIO_HEADER;
	return cpio_name(c, c->n - 1, why);      /* the entry owns the data now */
fail:
	free(e->data);
	return -1;
}

const struct cpio_entry *cpio_find(struct cpio *c, const char *path)
{
	char               space[sizeof(struct cpio_name) + PATH_MAX] __attribute__((aligned(16)));
	struct cpio_name  *name = (struct cpio_name *)space, **at;
	struct cpio_entry *e;
	struct fail        why;

	name->of = c;
	if (cpio_clean(path, name->path, &why))
		return NULL;
	at = tfind(name, &c->names, cpio_name_order);
	if (!at)
		return NULL;
	e = &c->entries[(*at)->entry];
	return strcmp(e->path, name->path) == 0 ? e : NULL;
}

int cpio_shorten(struct cpio *c, size_t i, size_t len, struct fail *why)
{
	c->entries[i].path[len] = '\0';
	return cpio_name(c, i, why);
}

/* Tree order: '/' sorts before everything else, so that a folder is followed by all that it
 * contains. Equal paths stay in the order in which they came, which is that of their addresses:
 * entries[] is one array. */
static int cpio_order(const void *a, const void *b)
{
	const struct cpio_entry *const *x = a, *const *y = b;
	const char                     *p = (*x)->path, *q = (*y)->path;

	while (*p && *p == *q) {
		p++;
		q++;
	}
	int l = *p == '/' ? 1 : (unsigned char)*p << 1, r = *q == '/' ? 1 : (unsigned char)*q << 1;

	return l != r ? (l > r) - (l < r) : (*x > *y) - (*x < *y);
}

struct cpio_out {
	uint8_t *buf;
	size_t   len, capacity, max;
	uint32_t ino;
};

static int cpio_put(struct cpio_out *o, const void *data, size_t len, struct fail *why)
{
	size_t pad = (4 - (o->len + len) % 4) % 4;

	/* Folders that an archive leaves out are written all the same: up to 2000 of them for a
	 * path of "a/a/a/...". */
	if (len + pad > o->max - o->len)
		return fail_set(why, FAIL_LIMIT, "initrd: exceeds the limit of %zu MiB",
				o->max >> 20);
	if (o->capacity - o->len < len + pad) {
		size_t   capacity = (o->capacity + len + pad) * 2;
		uint8_t *more = realloc(o->buf, capacity);

		if (!more)
			return cpio_nomem(why);
		o->buf      = more;
		o->capacity = capacity;
	}
	if (len)
		memcpy(o->buf + o->len, data, len);
	memset(o->buf + o->len + len, 0, pad);
	o->len += len + pad;
	return 0;
}

static int cpio_put_entry(struct cpio_out *o, const char *path, const struct cpio_entry *e,
			  struct fail *why)
{
	char   head[CPIO_HEADER + PATH_MAX + 1];
	size_t name = strlen(path) + 1;

	snprintf(head, sizeof(head), "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		 ++o->ino, (unsigned)e->mode, 0u, 0u, S_ISDIR(e->mode) ? 2u : 1u, e->mtime,
		 (unsigned)e->len, 0u, 0u, major(e->rdev), minor(e->rdev), (unsigned)name, 0u);
	memcpy(head + CPIO_HEADER, path, name);
	if (cpio_put(o, head, CPIO_HEADER + name, why))
		return -1;
	return e->len ? cpio_put(o, e->data, e->len, why) : 0;
}

/* Zip files and hand-made tar files leave folders out, and Linux does not create them by itself. In
 * tree order a folder has been written if and only if the path before it is the folder or lies in
 * it. */
static int cpio_put_parents(struct cpio_out *o, const char *before, const char *path,
			    struct fail *why)
{
	static const struct cpio_entry folder = { .mode = S_IFDIR | 0755 };
	char                           dir[PATH_MAX];
	size_t                         same = 0;

	while (before[same] && before[same] == path[same])
		same++;
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		size_t n = (size_t)(slash - path);

		if (n < same || (n == same && before[n] == '\0'))
			continue;
		memcpy(dir, path, n);
		dir[n] = '\0';
		if (cpio_put_entry(o, dir, &folder, why))
			return -1;
	}
	return 0;
}

int cpio_finish(struct cpio *c, uint8_t **out, size_t *len, struct fail *why)
{
	static const struct cpio_entry trailer = { .mode = 0 };
	const struct cpio_entry      **sorted  = malloc((c->n + 1) * sizeof(*sorted));
	struct cpio_out                o       = { .max = c->max };
	const char                    *before  = "";

	if (!sorted)
		return cpio_nomem(why);
	for (size_t i = 0; i < c->n; i++)
		sorted[i] = &c->entries[i];
	qsort(sorted, c->n, sizeof(*sorted), cpio_order);
	for (size_t i = 0; i < c->n; i++) {
		const struct cpio_entry *e = sorted[i];

		if (i + 1 < c->n && !strcmp(e->path, sorted[i + 1]->path))
			continue;
		if (cpio_put_parents(&o, before, e->path, why) ||
		    cpio_put_entry(&o, e->path, e, why))
			goto fail;
		before = e->path;
	}
	if (cpio_put_entry(&o, "TRAILER!!!", &trailer, why))
		goto fail;
	free(sorted);
	*out = o.buf;
	*len = o.len;
	return 0;
fail:
	free(sorted);
	free(o.buf);
	return -1;
}

void cpio_close(struct cpio *c)
{
	for (size_t i = 0; i < c->n; i++) {
		free(c->entries[i].path);
		free(c->entries[i].data);
	}
	free(c->entries);
	tdestroy(c->names, free);
	*c = (struct cpio){ 0 };
}
