/* SPDX-License-Identifier: MIT */
#include "format/snapshot/writer_internal.h"

#include "libcommon/fault.h"

#include <inttypes.h>

/* The end of a snapshot: digests, index, directory, END. */

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
	struct index_cursor cursor = { .layout = w->header.layout };
	struct index_run    run;

	/* Counted only when it may be too long: that takes as long as memory is large. */
	if (w->runs_most <= writer_index_limit())
		return 0;
	for (w->runs_most = 0; index_next(w->content, &cursor, &run); w->runs_most++)
		if (w->runs_most == writer_index_limit())
			return writer_index_long(why);
	return 0;
}

static int writer_digests(struct snap_writer *w, struct fail *why)
{
	for (uint64_t i = 0; i < digests_chunks(w->digests); i++)
		if (writer_chunk(w, CHUNK_DIGESTS, w->table,
				 digests_payload(w->digests, i, w->table), why))
			return -1;
	return 0;
}

static int writer_index(struct snap_writer *w, struct fail *why)
{
	struct index_cursor cursor = { .layout = w->header.layout };
	struct index_run    run, first = { 0 };
	size_t              n;

	w->end.index_at = output_bytes(w->out);
	do {
		for (n = 0; n < INDEX_CHUNK_RUNS && index_next(w->content, &cursor, &run); n++) {
			index_run_put(w->table + n * INDEX_RUN_BYTES, &run);
			if (n == 0)
				first = run;
		}
		/* A last chunk without runs only where there is no other. */
		if (n == 0 && w->end.index_runs)
			break;
		if (index_keys_add(&w->keys, &first, why) ||
		    writer_chunk(w, CHUNK_INDEX, w->table, n * INDEX_RUN_BYTES, why))
			return -1;
		w->end.index_runs += n;
		if (w->end.index_runs > writer_index_limit())
			return writer_index_long(why);
	} while (n == INDEX_CHUNK_RUNS);
	w->end.hashes = w->header.layout == SNAP_FLAT ? cursor.hash : 0;
	return 0;
}

static int writer_levels(struct snap_writer *w, struct fail *why)
{
	struct index_shape s;

	index_shape_of(&s, w->end.index_at, w->end.index_runs);
	for (unsigned level = 1; level <= s.levels; level++)
		for (uint64_t i = 0; i < s.chunks[level]; i++)
			if (writer_chunk(w, CHUNK_INDEX_LEVEL, w->table,
					 index_level_payload(&w->keys, &s, level, i, w->table),
					 why))
				return -1;
	return 0;
}

static int writer_directory(struct snap_writer *w, struct fail *why)
{
	w->end.directory_at      = output_bytes(w->out);
	w->end.directory_entries = w->directory.n;
	for (size_t at = 0; at < w->directory.n; at += DIRECTORY_ENTRIES) {
		size_t n = w->directory.n - at;

		n = n < DIRECTORY_ENTRIES ? n : DIRECTORY_ENTRIES;
		for (size_t i = 0; i < n; i++)
			directory_entry_put(w->table + i * DIRECTORY_ENTRY_BYTES,
					    &w->directory.v[at + i]);
		if (writer_chunk(w, CHUNK_DIRECTORY, w->table, n * DIRECTORY_ENTRY_BYTES, why))
			return -1;
	}
	return 0;
}

static int writer_end(struct snap_writer *w, struct fail *why)
{
	uint8_t      payload[SNAP_END_PAYLOAD];
	struct chunk c = chunk_of(CHUNK_END, w->end.chunks, sizeof(payload));

	digest_put(w->end.digests.file, XXH3_128bits_digest(w->digest));
	w->end.total = output_bytes(w->out) + SNAP_END_BYTES;
	snap_end_put(payload, &w->end);
	return writer_chunk_of(w, &c, payload, why);
}

int snap_writer_end(struct snap_writer *w, struct snap_digests *out, struct fail *why)
{
	uint8_t header[SNAP_HEADER_BYTES];

	if (writer_ready(w, CHUNK_INDEX, why))
		return -1;
	if (writer_digests(w, why) || writer_index(w, why) || writer_levels(w, why) ||
	    writer_flat_hashes(w, why) || writer_directory(w, why) || writer_end(w, why))
		return writer_failed(w);
	w->header.incomplete = false;
	snap_header_put(header, &w->header);
	if (output_finish(w->out, header, sizeof(header), why))
		return writer_failed(w);
	*out = w->end.digests;
	return 0;
}
