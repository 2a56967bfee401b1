/* SPDX-License-Identifier: MIT */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Files of one host. What a program sees is the names and the data; what a crash leaves is, for a
 * name, what its folder was when it was fsynced and any prefix of the changes since, in their
 * order; for data, what was fsynced, or anything up to what was written since. The runtime folder
 * is in memory and is lost as a whole. */

struct name { struct name *next; char path[192]; struct inode *inode; };

struct change {
	struct change *next;
	char           folder[192], path[192];
	struct inode  *inode;      /* NULL: the name is removed */
};

struct fs {
	struct name   *names, *durable;
	struct change *changes, **tail;
};

static uint64_t next_ino = 1;

struct inode *inode_new(void)
{
	struct inode *i = calloc(1, sizeof(*i));

	if (!i)
		abort();
	i->ino  = next_ino++;
	i->mode = 0600;
	return i;
}

void inode_size(struct inode *i, size_t len)
{
	if (len > i->capacity) {
		size_t capacity = len < 64 ? 64 : len;
		char  *more = realloc(i->data, capacity);

		if (!more)
			abort();
		i->data = more;
		i->capacity = capacity;
	}
	if (len > i->len)
		memset(i->data + i->len, 0, len - i->len);
	i->len   = len;
	i->dirty = true;
}

void inode_write(struct inode *i, const void *p, size_t n, uint64_t at)
{
	if (at + n > i->len)
		inode_size(i, (size_t)at + n);
	memcpy(i->data + at, p, n);
	i->dirty = true;
}

static struct name **name_at(struct name **list, const char *path)
{
	while (*list && strcmp((*list)->path, path))
		list = &(*list)->next;
	return list;
}

static void name_set(struct name **list, const char *path, struct inode *inode)
{
	struct name **at = name_at(list, path);

	if (!inode) {
		struct name *gone = *at;

		if (gone)
			*at = gone->next;
		return;
	}
	if (!*at) {
		*at = calloc(1, sizeof(**at));
		if (!*at)
			abort();
		snprintf((*at)->path, sizeof((*at)->path), "%s", path);
	}
	(*at)->inode = inode;
}

static void folder_of(const char *path, char out[192])
{
	snprintf(out, 192, "%s", path);
	char *slash = strrchr(out, '/');

	if (slash)
		*slash = '\0';
}

static bool is_volatile(const char *path)
{
	return !strncmp(path, "/run", 4);
}

static void change(struct fs *fs, const char *path, struct inode *inode)
{
	struct change *c;

	name_set(&fs->names, path, inode);
	if (is_volatile(path))
		return;
	c = calloc(1, sizeof(*c));
	if (!c)
		abort();
	snprintf(c->path, sizeof(c->path), "%s", path);
	folder_of(path, c->folder);
	c->inode  = inode;
	*fs->tail = c;
	fs->tail  = &c->next;
}

struct fs *fs_new(void)
{
	struct fs *fs = calloc(1, sizeof(*fs));

	if (!fs)
		abort();
	fs->tail = &fs->changes;
	return fs;
}

struct inode *fs_find(struct fs *fs, const char *path)
{
	struct name *n = *name_at(&fs->names, path);

	return n ? n->inode : NULL;
}

struct inode *fs_create(struct fs *fs, const char *path, bool folder)
{
	struct inode *i = inode_new();

	i->folder = folder;
	if (folder) {
		i->mode = 0700;
		/* Folders are made once and matter to nobody's fate. */
		name_set(&fs->names, path, i);
		if (!is_volatile(path))
			name_set(&fs->durable, path, i);
	} else {
		change(fs, path, i);
	}
	return i;
}

bool fs_unlink(struct fs *fs, const char *path)
{
	if (!fs_find(fs, path))
		return false;
	change(fs, path, NULL);
	return true;
}

/* One change of the journal: a crash leaves both names as they were or as they are. */
bool fs_rename(struct fs *fs, const char *from, const char *to)
{
	struct inode *i = fs_find(fs, from);

	if (!i)
		return false;
	change(fs, to, i);
	change(fs, from, NULL);
	return true;
}

const char *fs_next(struct fs *fs, const char *folder, uint64_t *pos)
{
	uint64_t at = 0;
	size_t   n  = strlen(folder);

	for (struct name *m = fs->names; m; m = m->next, at++)
		if (at >= *pos && !strncmp(m->path, folder, n) && m->path[n] == '/' &&
		    !strchr(m->path + n + 1, '/')) {
			*pos = at + 1;
			return m->path + n + 1;
		}
	return NULL;
}

void fs_sync_file(struct inode *i)
{
	free(i->disk);
	i->disk     = malloc(i->len ? i->len : 1);
	i->disk_len = i->len;
	i->dirty    = false;
	if (!i->disk)
		abort();
	if (i->len)
		memcpy(i->disk, i->data, i->len);
}

static void change_apply(struct fs *fs, struct change **at)
{
	struct change *c = *at;

	name_set(&fs->durable, c->path, c->inode);
	*at = c->next;
	if (!*at)
		fs->tail = at;
	free(c);
}

void fs_sync_folder(struct fs *fs, const char *folder)
{
	for (struct change **at = &fs->changes; *at;) {
		if (!strcmp((*at)->folder, folder))
			change_apply(fs, at);
		else
			at = &(*at)->next;
	}
	fs->tail = &fs->changes;
	while (*fs->tail)
		fs->tail = &(*fs->tail)->next;
}

void fs_crash(struct fs *fs)
{
	size_t n = 0, keep;

	for (struct change *c = fs->changes; c; c = c->next)
		n++;
	keep = sim_below(n + 1);
	while (keep--)
		change_apply(fs, &fs->changes);
	fs->changes = NULL;
	fs->tail    = &fs->changes;
	fs->names   = NULL;
	for (struct name *m = fs->durable; m; m = m->next) {
		struct inode *i = inode_new(), *was = m->inode;
		bool          whole = was->dirty && sim_chance(2);
		size_t        len   = whole ? sim_below(was->len + 1) : was->disk_len;

		i->folder = was->folder;
		i->mode   = was->mode;
		/* Torn: a beginning of the new content, the old behind it. */
		if (was->disk_len)
			inode_write(i, was->disk, was->disk_len, 0);
		if (whole && len)
			inode_write(i, was->data, len, 0);
		fs_sync_file(i);
		m->inode = i;
		name_set(&fs->names, m->path, i);
	}
}

/* ---- locks of whole files, by open file description ---- */

bool lock_take(struct inode *i, struct ofd *o, bool ofd_kind, bool exclusive)
{
	struct lock *mine = NULL;

	for (struct lock *l = i->locks; l; l = l->next) {
		if (l->ofd_kind != ofd_kind)
			continue;
		if (l->owner == o)
			mine = l;
		else if (exclusive || l->exclusive)
			return false;
	}
	if (!mine) {
		mine = calloc(1, sizeof(*mine));
		if (!mine)
			abort();
		mine->next     = i->locks;
		i->locks       = mine;
		mine->owner    = o;
		mine->ofd_kind = ofd_kind;
	}
	mine->exclusive = exclusive;
	return true;
}

void lock_drop(struct inode *i, struct ofd *o, int ofd_kind)
{
	for (struct lock **at = &i->locks; *at;) {
		struct lock *l = *at;

		if (l->owner == o && (ofd_kind < 0 || (bool)ofd_kind == l->ofd_kind)) {
			*at = l->next;
			free(l);
		} else {
			at = &l->next;
		}
	}
}

bool lock_free(struct inode *i, bool ofd_kind)
{
	for (struct lock *l = i->locks; l; l = l->next)
		if (l->ofd_kind == ofd_kind)
			return false;
	return true;
}
