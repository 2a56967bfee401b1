/* SPDX-License-Identifier: MIT */
#include "vminspect/open_snapshot.h"

#include "format/tree/tree.h"

#include <stdlib.h>
#include <string.h>

static const char *const tree_names[2] = { "configuration", "state" };

static int view_tree(struct snapshot_view *v, int which, const void *fdt, size_t len,
		     struct fail *why)
{
	int rc = tree_open(&v->trees[which], fdt, len, why);

	if (which)
		v->state = v->config;
	if (rc == 0)
		rc = which ? machine_read_state(&v->state, fdt, len, why)
			   : machine_read(&v->config, fdt, len, why);
	if (rc)
		return fail_prefix(why, "%s: %s: ", v->in.what, tree_names[which]);
	v->lens[which] = len;
	return 0;
}

static int view_file(struct snapshot_view *v, const struct view_want *want, struct fail *why)
{
	const uint8_t *tree;
	size_t         len;

	if (snap_image_open(&v->image, v->in.fd, v->in.what, why))
		return -1;
	tree = snap_image_config(v->image, &len);
	if (view_tree(v, 0, tree, len, why))
		return -1;
	tree = snap_image_state(v->image, &len);
	if (view_tree(v, 1, tree, len, why))
		return -1;
	v->bytes = snap_image_bytes(v->image);
	v->digests = *snap_image_digests(v->image);
	if (!want->rounds)
		return 0;
	if (snap_image_index(v->image, why))
		return -1;
	for (uint32_t r = 0; r < LIMIT_REGIONS; r++)
		for (unsigned k = 0; k <= PAGE_PARENT; k++)
			v->finals[r][k] = snap_image_pages(v->image, r, (enum page_kind)k);
	if (snap_image_walk(v->image, rounds_note, &v->rounds, why))
		return -1;
	for (uint32_t i = 0; i < v->state.nhosts; i++)
		v->included[i] = snap_image_has_image(v->image, v->state.hosts[i].name);
	return 0;
}

static int view_chunk(struct snapshot_view *v, struct snap_stream *s, const struct chunk *c,
		      const struct view_want *want, struct fail *why)
{
	const uint8_t *tree;
	size_t         len;

	switch (c->type) {
	case CHUNK_CONFIG:
		tree = snap_stream_config(s, &len);
		if (view_tree(v, 0, tree, len, why))
			return -1;
		return want->config ? want->config(want->arg, v, why) : 0;
	case CHUNK_PAGES:
	case CHUNK_MAP:
		if (!want->pages || !snap_stream_batch(s))
			return 0;
		return want->pages(want->arg, v, snap_stream_batch(s), why);
	case CHUNK_STATE:
		tree = snap_stream_state(s, &len);      /* NULL: a piece of it */
		return tree ? view_tree(v, 1, tree, len, why) : 0;
	default:
		return 0;
	}
}

static int view_stream(struct snapshot_view *v, const struct view_want *want, struct fail *why)
{
	struct snap_stream *s = NULL;
	const uint8_t      *payload;
	struct chunk        c;
	uint64_t            at;
	int                 more, rc = -1;

	if (snap_stream_open_at(&s, v->in.fd, v->in.header, v->in.what, why))
		return -1;
	while ((more = snap_stream_next(s, &c, &payload, &at, why)) > 0) {
		v->bytes = at + chunk_bytes(&c);
		/* Once more for each piece of its memory. */
		if (c.type != CHUNK_MAP || !snap_stream_batch(s))
			rounds_note(&v->rounds, &c, payload);
		if (view_chunk(v, s, &c, want, why)) {
			if (!why->has_at &&
			    (why->kind == FAIL_CORRUPT || why->kind == FAIL_VERSION ||
			     why->kind == FAIL_LIMIT))
				fail_locate(why, at);
			goto out;
		}
	}
	if (more < 0)
		goto out;
	v->bytes   = at + chunk_bytes(&c);
	v->checked = true;
	v->digests = *snap_stream_digests(s);
	for (uint32_t r = 0; r < LIMIT_REGIONS; r++)
		for (unsigned k = 0; k <= PAGE_PARENT; k++)
			v->finals[r][k] = snap_stream_pages(s, r, (enum page_kind)k);
	for (uint32_t i = 0; i < v->state.nhosts; i++)
		v->included[i] = snap_stream_has_image(s, v->state.hosts[i].name);
	rc = 0;
out:
	snap_stream_close(s);
	return rc;
}

int view_open(struct snapshot_view **out, const char *operand, const struct view_want *want,
	      struct fail *why)
{
	struct snapshot_view *v = calloc(1, sizeof(*v));

	*out = NULL;
	if (!v)
		return fail_sys(why, "snapshot");
	*out = v;
	v->in.fd = -1;
	if (input_open(&v->in, operand, why))
		return -1;
	if (v->in.file && !want->verify)
		return view_file(v, want, why);
	return view_stream(v, want, why);
}

void view_close(struct snapshot_view *v)
{
	if (!v)
		return;
	snap_image_close(v->image);
	input_close(&v->in);
	free(v->trees[0]);
	free(v->trees[1]);
	free(v);
}

uint64_t view_untouched(const struct snapshot_view *v, uint32_t i)
{
	const struct machine_region *r     = &v->config.regions[i];
	uint64_t                     pages = r->size / PAGE_SIZE_4K;

	if (r->id >= LIMIT_REGIONS)
		return 0;
	for (unsigned k = 0; k <= PAGE_PARENT; k++)
		pages -= v->finals[r->id][k];
	return pages;
}
