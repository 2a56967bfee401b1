/* SPDX-License-Identifier: MIT */
#include "vminspect/open_snapshot.h"

#include "format/tree/tree.h"

#include <stdlib.h>
#include <string.h>

static const char *const tree_names[2] = { "configuration", "state" };

static int view_tree(struct snapshot_view *l, int which, const void *fdt, size_t len, struct fail *why)
{
	struct machine *m = which ? &l->state : &l->config;

	if (tree_open(&l->trees[which], fdt, len, why) || machine_read(m, fdt, len, why))
		return fail_prefix(why, "%s: %s: ", l->src.what, tree_names[which]);
	l->lens[which] = len;
	return 0;
}

static int view_file(struct snapshot_view *l, const struct view_want *want, struct fail *why)
{
	const uint8_t *tree;
	size_t         len;

	if (snap_image_open(&l->image, l->src.fd, l->src.what, why))
		return -1;
	tree = snap_image_config(l->image, &len);
	if (view_tree(l, 0, tree, len, why))
		return -1;
	tree = snap_image_state(l->image, &len);
	if (view_tree(l, 1, tree, len, why))
		return -1;
	l->bytes = snap_image_bytes(l->image);
	snap_image_digests(l->image, l->file, l->content);
	for (uint32_t r = 0; r < LIMIT_REGIONS; r++)
		for (unsigned k = 0; k <= PAGE_PARENT; k++)
			l->finals[r][k] = snap_image_pages(l->image, r, (enum page_kind)k);
	if (!want->rounds)
		return 0;
	if (snap_image_walk(l->image, rounds_note, &l->rounds, why))
		return -1;
	for (uint32_t i = 0; i < l->state.nhosts; i++)
		l->included[i] = snap_image_has_image(l->image, l->state.hosts[i].name);
	return 0;
}

static int view_chunk(struct snapshot_view *l, struct snap_stream *s, const struct chunk *c, const struct view_want *want, struct fail *why)
{
	const uint8_t *tree;
	size_t         len;

	switch (c->type) {
	case CHUNK_CONFIG:
		tree = snap_stream_config(s, &len);
		if (view_tree(l, 0, tree, len, why))
			return -1;
		return want->config ? want->config(want->arg, l, why) : 0;
	case CHUNK_PAGES:
		return want->pages ? want->pages(want->arg, l, snap_stream_batch(s), why) : 0;
	case CHUNK_STATE:
		tree = snap_stream_state(s, &len);
		return view_tree(l, 1, tree, len, why);
	default:
		return 0;
	}
}

static int view_stream(struct snapshot_view *l, const struct view_want *want, struct fail *why)
{
	struct snap_stream *s = NULL;
	const uint8_t      *payload;
	struct chunk        c;
	uint64_t            at;
	int                 more, rc = -1;

	if (snap_stream_open_at(&s, l->src.fd, l->src.header, l->src.what, why))
		return -1;
	while ((more = snap_stream_next(s, &c, &payload, &at, why)) > 0) {
		l->bytes = at + CHUNK_HEADER_BYTES + c.len;
		rounds_note(&l->rounds, &c, payload);
		if (view_chunk(l, s, &c, want, why)) {
			if (!why->has_at && (why->kind == FAIL_CORRUPT || why->kind == FAIL_VERSION || why->kind == FAIL_LIMIT))
				fail_locate(why, at);
			goto out;
		}
	}
	if (more < 0)
		goto out;
	l->bytes   = at + CHUNK_HEADER_BYTES + c.len;
	l->checked = true;
	snap_stream_digests(s, l->file, l->content);
	for (uint32_t r = 0; r < LIMIT_REGIONS; r++)
		for (unsigned k = 0; k <= PAGE_PARENT; k++)
			l->finals[r][k] = snap_stream_pages(s, r, (enum page_kind)k);
	for (uint32_t i = 0; i < l->state.nhosts; i++)
		l->included[i] = snap_stream_has_image(s, l->state.hosts[i].name);
	rc = 0;
out:
	snap_stream_close(s);
	return rc;
}

int view_open(struct snapshot_view **out, const char *operand, const struct view_want *want, struct fail *why)
{
	struct snapshot_view *l = calloc(1, sizeof(*l));

	*out = NULL;
	if (!l)
		return fail_sys(why, "snapshot");
	*out = l;
	l->src.fd = -1;
	if (source_open(&l->src, operand, why))
		return -1;
	if (l->src.file && !want->verify)
		return view_file(l, want, why);
	return view_stream(l, want, why);
}

void view_close(struct snapshot_view *l)
{
	if (!l)
		return;
	snap_image_close(l->image);
	source_close(&l->src);
	free(l->trees[0]);
	free(l->trees[1]);
	free(l);
}

uint64_t view_untouched(const struct snapshot_view *l, uint32_t i)
{
	const struct machine_region *r     = &l->config.regions[i];
	uint64_t                     pages = r->size / PAGE_SIZE_4K;

	if (r->id >= LIMIT_REGIONS)
		return 0;
	for (unsigned k = 0; k <= PAGE_PARENT; k++)
		pages -= l->finals[r->id][k];
	return pages;
}
