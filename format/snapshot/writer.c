/* SPDX-License-Identifier: MIT */
#include "format/snapshot/auth.h"
#include "format/snapshot/chunk_info.h"
#include "format/snapshot/images.h"
#include "format/snapshot/snapshot_internal.h"
#include "format/tree/machine.h"

#include "libcommon/bytes.h"
#include "libcommon/fault.h"

#include <inttypes.h>
#include <stdlib.h>

struct snap_writer {
	struct output      *out;
	struct page_codec  *codec;
	struct content     *content;
	XXH3_state_t       *digest;
	struct snap_header  header;
	struct snap_end     end;
	uint64_t            runs_most;         /* the index has no more runs than that so far */
	int                 level;
	enum chunk_phase    phase;
	/* the file is what it is: nothing more goes into it */
	bool                failed;
	uint8_t            *trees[2];          /* configuration, state: for the content digest */
	size_t              lens[2];
	struct machine     *machine;           /* as the configuration has it */
	uint64_t            images;            /* written: a bit a host resource of it */
	bool                keyed;
	struct hostkey      key;
	uint64_t            hashes[BATCH_PAGES];
	uint8_t             index[INDEX_CHUNK_RUNS * INDEX_RUN_BYTES];
};

int snap_writer_open(struct snap_writer **out, int fd, const struct snap_header *h, int level,
		     const char *what, struct fail *why)
{
	struct snap_writer *w = calloc(1, sizeof(*w));
	uint8_t             header[SNAP_HEADER_BYTES];

	if (!w)
		return fail_sys(why, "%s: writer", what);
	w->header            = *h;
	w->header.version    = SNAP_VERSION;
	w->header.layout     = SNAP_CHUNKED;
	w->header.incomplete = true;
	w->level             = level;
	w->phase             = AFTER_HEADER;
	w->end.snapshot      = h->snapshot;
	w->digest            = XXH3_createState();
	if (!w->digest) {
		fail_set(why, FAIL_SYSTEM, "%s: out of memory", what);
		goto failed;
	}
	if (content_open(&w->content, why) || page_codec_open(&w->codec, why) ||
	    output_open(&w->out, fd, what, why))
		goto failed;
	snap_header_put(header, &w->header);
	file_digest_header(w->digest, header);
	if (output_write(w->out, header, sizeof(header), why))
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
	page_codec_close(w->codec);
	content_close(w->content);
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
static int writer_ready(const struct snap_writer *w, enum chunk_type type, struct fail *why)
{
	if (w->failed)
		return fail_set(why, FAIL_USAGE, "snapshot writer: failed earlier");
	if (!(chunk_info_find((uint16_t)type)->after & w->phase))
		return fail_set(why, FAIL_USAGE, "snapshot writer: chunks out of order");
	return 0;
}

static int writer_failed(struct snap_writer *w)
{
	w->failed = true;
	return -1;
}

/* A chunk's header has been made: counts it, and takes it into the file digest, which END is not
 * in. */
static void writer_note(struct snap_writer *w, enum chunk_type type,
			const uint8_t header[CHUNK_HEADER_BYTES])
{
	if (type != CHUNK_END) {
		file_digest_chunk(w->digest, header);
		w->end.chunks++;
	}
	w->phase = chunk_phase_after((uint16_t)type, w->phase);
}

static int writer_chunk(struct snap_writer *w, enum chunk_type type, const void *payload,
			size_t len, struct fail *why)
{
	const uint16_t t = (uint16_t)type;
	uint8_t        header[CHUNK_HEADER_BYTES];

	chunk_header_put(header, t, chunk_type_flags(t), 0, 0, payload, (uint32_t)len);
	writer_note(w, type, header);
	if (output_write(w->out, header, sizeof(header), why))
		return -1;
	return output_write(w->out, payload, len, why);
}

static int writer_tree(struct snap_writer *w, int which, const void *fdt, size_t len,
		       struct fail *why)
{
	if (len == 0 || len > LIMIT_TREE_BYTES)
		return fail_set(why, FAIL_LIMIT, "VM tree of %zu bytes exceeds the limit of %u",
				len, LIMIT_TREE_BYTES);
	w->trees[which] = malloc(len);
	if (!w->trees[which])
		return fail_sys(why, "VM tree");
	memcpy(w->trees[which], fdt, len);
	w->lens[which] = len;
	return writer_chunk(w, which ? CHUNK_STATE : CHUNK_CONFIG, fdt, len, why);
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
		.content    = w->end.content,
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
	uint64_t npages[LIMIT_REGIONS];

	if (writer_ready(w, CHUNK_CONFIG, why))
		return -1;
	if (agree_config(NULL, fdt, len, FAIL_NOWHERE, &w->machine, npages, why))
		return writer_failed(w);
	for (uint32_t id = 0; id < LIMIT_REGIONS; id++)
		if (npages[id] && !(w->header.required & SNAP_STATE_ONLY) &&
		    content_region(w->content, id, npages[id], why))
			return writer_failed(w);
	if (writer_tree(w, 0, fdt, len, why) || writer_auth(w, AUTH_CONFIG, NULL, 0, why))
		return writer_failed(w);
	return 0;
}

static_assert(LIMIT_HOSTS <= 64, "a host resource has no bit");

/* One BLOB chunk, made in the output's buffer. */
static int writer_piece(struct snap_writer *w, const struct machine_host *h, uint64_t at,
			const uint8_t *bytes, size_t len, struct fail *why)
{
	uint8_t *chunk   = output_capacity(w->out, page_chunk_capacity());
	uint8_t *payload = chunk + CHUNK_HEADER_BYTES;
	size_t   n       = image_piece_write(payload, h, at, bytes, len);

	chunk_header_put(chunk, CHUNK_BLOB, chunk_type_flags(CHUNK_BLOB), 0, 0, payload,
			 (uint32_t)n);
	writer_note(w, CHUNK_BLOB, chunk);
	return output_filled(w->out, CHUNK_HEADER_BYTES + n, why);
}

int snap_writer_image(struct snap_writer *w, const char *name, const void *data, uint64_t len,
		      struct fail *why)
{
	const struct machine_host *h;
	uint64_t                   bit;

	if (writer_ready(w, CHUNK_BLOB, why))
		return -1;
	h   = machine_host_find(w->machine, name);
	bit = h ? (uint64_t)1 << (h - w->machine->hosts) : 0;
	if (!h || !image_is(h) || !image_same(h, data, len) || w->images & bit)
		return fail_set(why, FAIL_REFUSED,
				"%s: image not in the configuration", name);
	w->images |= bit;
	for (uint64_t at = 0; at < len; at += IMAGE_PIECE_BYTES) {
		uint64_t n = len - at < IMAGE_PIECE_BYTES ? len - at : IMAGE_PIECE_BYTES;

		if (writer_piece(w, h, at, (const uint8_t *)data + at, (size_t)n, why))
			return writer_failed(w);
	}
	return 0;
}

int snap_writer_pages(struct snap_writer *w, const struct page_batch *b, struct fail *why)
{
	uint64_t at = output_bytes(w->out);
	size_t   len;
	uint8_t *chunk;

	if (writer_ready(w, CHUNK_PAGES, why))
		return -1;
	if (b->nruns == 0)
		return 0;
	chunk = output_capacity(w->out, page_chunk_capacity());
	if (page_chunk_encode(w->codec, b, w->level, chunk, &len, w->hashes, why))
		return writer_failed(w);
	if (content_pages_at(w->content, b, w->hashes, at, why))
		return writer_failed(w);
	writer_note(w, CHUNK_PAGES, chunk);
	/* A run of pages adds a run to the index, and splits another. */
	w->runs_most += 2 * (uint64_t)b->nruns;
	if (output_filled(w->out, len, why))
		return writer_failed(w);
	return 0;
}

int snap_writer_round_end(struct snap_writer *w, uint32_t round, struct fail *why)
{
	uint8_t payload[ROUND_END_PAYLOAD] = { 0 };

	if (writer_ready(w, CHUNK_ROUND_END, why))
		return -1;
	put_le32(payload, round);
	if (writer_chunk(w, CHUNK_ROUND_END, payload, sizeof(payload), why))
		return writer_failed(w);
	return 0;
}

int snap_writer_state(struct snap_writer *w, const void *fdt, size_t len, struct fail *why)
{
	if (writer_ready(w, CHUNK_STATE, why))
		return -1;
	/* No page comes behind the state: what the digest covers is complete. */
	if (content_digest(w->content, w->trees[0], w->lens[0], fdt, len, w->end.content, why) ||
	    writer_auth(w, AUTH_ALL, fdt, len, why))
		return writer_failed(w);
	w->end.state_at = output_bytes(w->out);
	if (writer_tree(w, 1, fdt, len, why))
		return writer_failed(w);
	return 0;
}

static uint64_t writer_index_limit(void)
{
	return fault_hit("format.index-limit") ? 4 : LIMIT_INDEX_RUNS;
}

static int writer_index_long(struct fail *why)
{
	return fail_set(why, FAIL_LIMIT, "index exceeds %" PRIu64 " runs: memory too fragmented",
			writer_index_limit());
}

int snap_writer_index_check(struct snap_writer *w, struct fail *why)
{
	struct index_cursor cursor = { 0 };
	struct index_run    run;

	/* Counted only when it may be too long: that takes as long as memory is large. */
	if (w->runs_most <= writer_index_limit())
		return 0;
	for (w->runs_most = 0; index_next(w->content, &cursor, &run); w->runs_most++)
		if (w->runs_most == writer_index_limit())
			return writer_index_long(why);
	return 0;
}

static int writer_index(struct snap_writer *w, struct fail *why)
{
	struct index_cursor cursor = { 0 };
	struct index_run    run;
	size_t              n;

	w->end.index_at = output_bytes(w->out);
	do {
		for (n = 0; n < INDEX_CHUNK_RUNS && index_next(w->content, &cursor, &run); n++)
			index_run_put(w->index + n * INDEX_RUN_BYTES, &run);
		/* A last chunk without runs only where there is no other. */
		if (n == 0 && w->end.index_runs)
			break;
		if (writer_chunk(w, CHUNK_INDEX, w->index, n * INDEX_RUN_BYTES, why))
			return -1;
		w->end.index_runs += n;
		if (w->end.index_runs > writer_index_limit())
			return writer_index_long(why);
	} while (n == INDEX_CHUNK_RUNS);
	return 0;
}

int snap_writer_end(struct snap_writer *w, uint8_t content[16], struct fail *why)
{
	uint8_t payload[SNAP_END_PAYLOAD], header[SNAP_HEADER_BYTES];

	if (writer_ready(w, CHUNK_INDEX, why))
		return -1;
	if (writer_index(w, why))
		return writer_failed(w);
	digest_put(w->end.file, XXH3_128bits_digest(w->digest));
	w->end.total = output_bytes(w->out) + SNAP_END_BYTES;
	snap_end_put(payload, &w->end);
	if (writer_chunk(w, CHUNK_END, payload, sizeof(payload), why))
		return writer_failed(w);
	w->header.incomplete = false;
	snap_header_put(header, &w->header);
	if (output_finish(w->out, header, sizeof(header), why))
		return writer_failed(w);
	memcpy(content, w->end.content, 16);
	return 0;
}

uint64_t snap_writer_bytes(const struct snap_writer *w)
{
	return output_bytes(w->out);
}
