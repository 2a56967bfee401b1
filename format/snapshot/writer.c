/* SPDX-License-Identifier: MIT */
#include "format/snapshot/auth.h"
#include "format/snapshot/writer_internal.h"
#include "format/tree/machine.h"

#include "libcommon/bytes.h"
#include "libcommon/fault.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/uio.h>

static int writer_emit(void *arg, struct page_codec *codec, struct page_batch *b,
		       struct fail *why);

int snap_writer_open(struct snap_writer **out, int fd, const struct snap_header *h,
		     const struct snap_writer_options *o, const char *what, struct fail *why)
{
	static const struct snap_writer_options plain = { 0 };

	struct snap_writer *w = calloc(1, sizeof(*w));
	uint8_t             header[SNAP_HEADER_BYTES];

	if (!w)
		return fail_sys(why, "%s: writer", what);
	w->header            = *h;
	w->header.version    = SNAP_VERSION;
	w->header.layout     = o && o->layout ? o->layout : SNAP_CHUNKED;
	w->header.incomplete = true;
	w->phase             = AFTER_HEADER;
	w->end.snapshot      = h->snapshot;
	w->digest            = XXH3_createState();
	if (!w->digest) {
		fail_set(why, FAIL_SYSTEM, "%s: out of memory", what);
		goto failed;
	}
	if (!o)
		o = &plain;
	w->align = o->align;
	if (content_open(&w->content, why) ||
	    encoder_open(&w->encoder, o->level, o->threads, writer_emit, w, why) ||
	    output_open(&w->out, fd, what, why) || writer_flat_check(w, o, what, why))
		goto failed;
	snap_header_put(header, &w->header);
	file_digest_header(w->digest, header);
	if (output_write(w->out, &(struct iovec){ header, sizeof(header) }, 1, why))
		goto failed;
	*out = w;
	return 0;
failed:
	snap_writer_close(w);
	return -1;
}

void snap_writer_close(struct snap_writer *w)
{
	if (!w)
		return;
	output_close(w->out);
	encoder_close(w->encoder);
	content_close(w->content);
	digests_close(w->digests);
	index_keys_free(&w->keys);
	directory_free(&w->directory);
	XXH3_freeState(w->digest);
	free(w->trees[0]);
	free(w->trees[1]);
	free(w->machine);
	hostkey_clear(&w->key);
	free(w);
}

void snap_writer_key(struct snap_writer *w, const struct hostkey *k)
{
	w->key   = *k;
	w->keyed = true;
}

/* May a chunk of this type come now? */
int writer_ready(const struct snap_writer *w, enum chunk_type type, struct fail *why)
{
	if (w->failed)
		return fail_set(why, FAIL_USAGE, "snapshot writer: failed earlier");
	if (!chunk_may_come((uint16_t)type, w->header.layout, w->phase))
		return fail_set(why, FAIL_USAGE, "snapshot writer: chunks out of order");
	return 0;
}

int writer_failed(struct snap_writer *w)
{
	w->failed = true;
	return -1;
}

/* Header, payload in up to two pieces of which the second is padded already, zeroes. Counts the
 * chunk, and takes its header into the file digest, which END is not in. */
static int writer_put(struct snap_writer *w, const struct chunk *c,
		      const uint8_t header[CHUNK_HEADER_BYTES], struct iovec *v, int n,
		      struct fail *why)
{
	uint64_t at = output_bytes(w->out);

	if (directory_add(&w->directory, c, at, why))
		return -1;
	if (c->type != CHUNK_END) {
		file_digest_chunk(w->digest, header);
		w->end.chunks++;
	}
	w->phase = chunk_phase_after(c->type, w->phase);
	return output_write(w->out, v, n, why);
}

int writer_chunk_of(struct snap_writer *w, struct chunk *c, const void *payload, struct fail *why)
{
	static const uint8_t zeroes[8];
	uint8_t              header[CHUNK_HEADER_BYTES];
	struct iovec         v[] = { { header, sizeof(header) },
				     { (void *)(uintptr_t)payload, c->len },
				     { (void *)(uintptr_t)zeroes, chunk_padding(c->len) } };

	chunk_header_put(header, c, payload);
	return writer_put(w, c, header, v, 3, why);
}

int writer_chunk(struct snap_writer *w, enum chunk_type type, const void *payload, size_t len,
		 struct fail *why)
{
	struct chunk c = chunk_of((uint16_t)type, w->end.chunks, len);

	return writer_chunk_of(w, &c, payload, why);
}

/* Keeps a copy for MACs and digests. */
static int writer_keep(struct snap_writer *w, int which, const void *fdt, size_t len, size_t most,
		       struct fail *why)
{
	if (len == 0 || len > most)
		return fail_set(why, FAIL_LIMIT, "VM tree of %zu bytes exceeds the limit of %zu",
				len, most);
	w->trees[which] = malloc(len);
	if (!w->trees[which])
		return fail_sys(why, "VM tree");
	memcpy(w->trees[which], fdt, len);
	w->lens[which] = len;
	return 0;
}

static int writer_auth(struct snap_writer *w, enum auth_covers covers, const void *state,
		       size_t state_len, struct fail *why)
{
	const struct auth_text text = {
		.header     = &w->header,
		.config     = w->trees[0],
		.config_len = w->lens[0],
		.state      = state,
		.state_len  = state_len,
		.memory     = w->end.digests.memory,
	};
	uint8_t payload[AUTH_BYTES];

	if (!w->keyed)
		return 0;
	if (auth_put(payload, covers, &w->key, &text, why))
		return -1;
	return writer_chunk(w, CHUNK_AUTH, payload, sizeof(payload), why);
}

int snap_writer_config(struct snap_writer *w, const void *fdt, size_t len, struct fail *why)
{
	if (writer_ready(w, CHUNK_CONFIG, why))
		return -1;
	if (agree_config(NULL, fdt, len, FAIL_NOWHERE, &w->machine, w->npages, why))
		return writer_failed(w);
	if (w->header.required & SNAP_STATE_ONLY)
		memset(w->npages, 0, sizeof(w->npages));
	for (uint32_t id = 0; id < LIMIT_REGIONS; id++)
		if (w->npages[id] && content_region(w->content, id, w->npages[id], why))
			return writer_failed(w);
	if (writer_keep(w, 0, fdt, len, LIMIT_TREE_BYTES, why) ||
	    writer_chunk(w, CHUNK_CONFIG, fdt, len, why) ||
	    writer_auth(w, AUTH_CONFIG, NULL, 0, why))
		return writer_failed(w);
	return 0;
}

static_assert(LIMIT_HOSTS <= 64, "a host resource has no bit");

int snap_writer_image(struct snap_writer *w, const char *name, const void *data, uint64_t len,
		      struct fail *why)
{
	const struct machine_host *h;
	uint64_t                   bit;

	if (writer_ready(w, CHUNK_BLOB, why))
		return -1;
	if (encoder_flush(w->encoder, why))
		return writer_failed(w);
	h   = machine_host_find(w->machine, name);
	bit = h ? (uint64_t)1 << (h - w->machine->hosts) : 0;
	if (!h || !image_is(h) || !image_same(h, data, len) || w->images & bit)
		return fail_set(why, FAIL_REFUSED,
				"%s: image not in the configuration", name);
	w->images |= bit;
	for (uint64_t at = 0; at < len; at += IMAGE_PIECE_BYTES) {
		uint64_t n = len - at < IMAGE_PIECE_BYTES ? len - at : IMAGE_PIECE_BYTES;

		if (writer_chunk(w, CHUNK_BLOB, w->piece,
				 image_piece_write(w->piece, h, at, (const uint8_t *)data + at,
						   (size_t)n), why))
			return writer_failed(w);
	}
	return 0;
}

/* A batch is packed, and it is its turn. */
static int writer_emit(void *arg, struct page_codec *codec, struct page_batch *b, struct fail *why)
{
	struct snap_writer          *w = arg;
	const struct page_chunk_form f = {
		.round = w->round, .sequence = w->end.chunks,
		.align = w->align || output_fresh(w->out), .at = output_bytes(w->out),
	};
	struct page_chunk *p = &w->chunk;
	struct chunk       c = { .type = CHUNK_PAGES };

	/* A run of pages adds a run to the index, and splits another. */
	w->runs_most += 2 * (uint64_t)b->nruns;
	if (w->header.layout == SNAP_FLAT)
		return writer_flat_pages(w, b, why);
	page_chunk_build(codec, b, &f, p);
	if (content_pages_at(w->content, b, f.at, why))
		return -1;
	w->round_pages += page_batch_pages(b);
	w->round_data += b->ndata;

	struct iovec v[] = { { p->head, p->head_len },
			     { (void *)(uintptr_t)p->data, p->data_len } };

	return writer_put(w, &c, p->head, v, 2, why);
}

/* May pages come now? Those of a flat snapshot belong to its MAP chunk. */
static int writer_ready_pages(const struct snap_writer *w, struct fail *why)
{
	if (w->header.layout == SNAP_FLAT && w->phase == AFTER_MEMORY && !w->failed)
		return 0;
	return writer_ready(w, w->header.layout == SNAP_FLAT ? CHUNK_MAP : CHUNK_PAGES, why);
}

struct page_batch *snap_writer_batch(struct snap_writer *w, struct fail *why)
{
	struct page_batch *b = NULL;

	if (writer_ready_pages(w, why))
		return NULL;
	b = encoder_batch(w->encoder, why);
	if (!b)
		writer_failed(w);
	return b;
}

int snap_writer_pages(struct snap_writer *w, struct page_batch *b, struct fail *why)
{
	if (writer_ready_pages(w, why))
		return -1;
	if (b->nruns && encoder_submit(w->encoder, b, why))
		return writer_failed(w);
	return 0;
}

int snap_writer_round_end(struct snap_writer *w, struct fail *why)
{
	uint8_t      payload[ROUND_END_PAYLOAD];
	struct chunk c;

	if (writer_ready_pages(w, why))
		return -1;
	if (encoder_flush(w->encoder, why))
		return writer_failed(w);
	/* Also in the flat layout, which has no rounds. */
	if (w->round_pages == 0)
		return 0;
	put_le64(payload, w->round_pages);
	put_le64(payload + 8, w->round_data);
	c       = chunk_of(CHUNK_ROUND_END, w->end.chunks, sizeof(payload));
	c.round = w->round++;
	w->round_pages = w->round_data = 0;
	if (writer_chunk_of(w, &c, payload, why))
		return writer_failed(w);
	return 0;
}

int snap_writer_optional(struct snap_writer *w, uint16_t type, const void *payload, size_t len,
			 struct fail *why)
{
	const struct chunk_info *info = chunk_info_find(type);

	if (w->failed || !(w->phase & (AFTER_CONFIG | AFTER_MEMORY | AFTER_STATE)))
		return fail_set(why, FAIL_USAGE, "snapshot writer: chunks out of order");
	if (info ? info->after != AFTER_ANYTHING : type < CHUNK_PRIVATE)
		return fail_set(why, FAIL_USAGE, "snapshot writer: chunk type %u is not optional",
				type);
	if (len > LIMIT_CHUNK_BYTES)
		return fail_set(why, FAIL_LIMIT, "chunk of %zu bytes exceeds the limit of %u", len,
				LIMIT_CHUNK_BYTES);
	if (encoder_flush(w->encoder, why) ||
	    writer_chunk(w, (enum chunk_type)type, payload, len, why))
		return writer_failed(w);
	return 0;
}

/* The tree in pieces, each behind its place in it. */
static int writer_state(struct snap_writer *w, const uint8_t *fdt, size_t len, struct fail *why)
{
	for (size_t at = 0; at < len; at += STATE_PIECE_BYTES) {
		size_t n = len - at < STATE_PIECE_BYTES ? len - at : STATE_PIECE_BYTES;

		put_le32(w->piece, (uint32_t)at);
		put_le32(w->piece + 4, (uint32_t)len);
		memcpy(w->piece + STATE_PIECE_HEAD, fdt + at, n);
		if (writer_chunk(w, CHUNK_STATE, w->piece, STATE_PIECE_HEAD + n, why))
			return -1;
	}
	return 0;
}

void snap_writer_expect(struct snap_writer *w, const struct snap_digests *d)
{
	w->expected = *d;
	w->expects  = true;
}

static int writer_expected(const struct snap_writer *w, struct fail *why)
{
	if (!w->expects)
		return 0;
	if (!digest_same(w->expected.memory, w->end.digests.memory))
		return fail_set(why, FAIL_CORRUPT, "memory digest mismatch");
	if (!digest_same(w->expected.machine, w->end.digests.machine))
		return fail_set(why, FAIL_CORRUPT, "machine digest mismatch");
	return 0;
}

int snap_writer_state(struct snap_writer *w, const void *fdt, size_t len, struct fail *why)
{
	if (writer_ready_pages(w, why))
		return -1;
	/* No page comes behind the state: what the digests cover is complete. */
	if (snap_writer_round_end(w, why) || writer_flat_begin(w, why) ||
	    digests_open(&w->digests, w->content, why))
		return writer_failed(w);
	memcpy(w->end.digests.memory, digests_memory(w->digests), 16);
	if (writer_keep(w, 1, fdt, len, LIMIT_STATE_BYTES, why) ||
	    digests_machine(w->end.digests.machine, w->trees[0], w->lens[0], w->trees[1],
			    w->lens[1], why) ||
	    writer_expected(w, why) || writer_auth(w, AUTH_ALL, fdt, len, why) ||
	    writer_state(w, fdt, len, why))
		return writer_failed(w);
	return 0;
}

uint64_t snap_writer_encode_ns(const struct snap_writer *w)
{
	return encoder_ns(w->encoder);
}

unsigned snap_writer_levels(const struct snap_writer *w, struct snap_level out[SNAP_LEVELS])
{
	return encoder_levels(w->encoder, out);
}

uint64_t snap_writer_wait_ns(const struct snap_writer *w)
{
	return output_wait_ns(w->out);
}

uint64_t snap_writer_bytes(const struct snap_writer *w)
{
	return output_bytes(w->out);
}
