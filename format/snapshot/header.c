/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot_internal.h"

#include "libcommon/bytes.h"

#include <inttypes.h>

static const uint8_t snap_magic[8] = { 0x89, 'V', 'M', 'S', 0x0d, 0x0a, 0x1a, 0x0a };

/* docs/format.md 2: these offsets are frozen for every version to come. */
enum {
	AT_VERSION = 8, AT_SIZE = 12, AT_REQUIRED = 16, AT_REWRITE = 24, AT_OPTIONAL = 32,
	AT_ARCH = 40, AT_LAYOUT = 44, AT_FLAGS = 48, AT_HASH_TYPE = 52, AT_CIPHER = 54,
	AT_BLOCK = 56, AT_RESERVED_60 = 60, AT_VM = 64, AT_SNAPSHOT = 80, AT_PARENT = 96,
	AT_PARENT_MEMORY = 112, AT_CREATED = 128, AT_RESERVED_136 = 136, AT_NAME = 192,
	AT_CREATOR = 256, AT_RESERVED_320 = 320, AT_HASH = 4088,
};

#define KNOWN_REQUIRED SNAP_STATE_ONLY
#define HASH_XXH3      1u

static const struct {
	enum snap_layout layout;
	const char      *name;
} layouts[] = {
	{ SNAP_CHUNKED, "chunked" },
	{ SNAP_FLAT, "flat" },
};

const char *snap_layout_name(enum snap_layout layout)
{
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
		if (layouts[i].layout == layout)
			return layouts[i].name;
	return NULL;
}

bool snap_layout_parse(enum snap_layout *layout, const char *name)
{
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
		if (strcmp(layouts[i].name, name) == 0) {
			*layout = layouts[i].layout;
			return true;
		}
	return false;
}

void snap_header_put(uint8_t out[SNAP_HEADER_BYTES], const struct snap_header *h)
{
	memset(out, 0, SNAP_HEADER_BYTES);
	memcpy(out, snap_magic, sizeof(snap_magic));
	put_le32(out + AT_VERSION, h->version);
	put_le32(out + AT_SIZE, SNAP_HEADER_BYTES);
	put_le64(out + AT_REQUIRED, h->required);
	put_le64(out + AT_REWRITE, h->rewrite);
	put_le64(out + AT_OPTIONAL, h->optional);
	put_le32(out + AT_ARCH, h->arch);
	put_le32(out + AT_LAYOUT, (uint32_t)h->layout);
	put_le32(out + AT_FLAGS, h->incomplete ? SNAP_FLAG_INCOMPLETE : 0);
	put_le16(out + AT_HASH_TYPE, HASH_XXH3);
	put_le32(out + AT_BLOCK, PAGE_SIZE_4K);
	memcpy(out + AT_VM, h->vm.b, 16);
	memcpy(out + AT_SNAPSHOT, h->snapshot.b, 16);
	memcpy(out + AT_PARENT, h->parent.b, 16);
	memcpy(out + AT_PARENT_MEMORY, h->parent_memory, 16);
	put_le64(out + AT_CREATED, (uint64_t)h->created_ns);
	memcpy(out + AT_NAME, h->name, strnlen(h->name, VM_NAME_MAX));
	memcpy(out + AT_CREATOR, h->creator, strnlen(h->creator, sizeof(h->creator) - 1));
	put_le64(out + AT_HASH, XXH3_64bits(out, AT_HASH));
}

/* A text field: printable ASCII, then NUL to its end. */
static bool text_get(char *out, const uint8_t *in, size_t capacity)
{
	size_t len = strnlen((const char *)in, capacity);

	for (size_t i = 0; i < len; i++)
		if (in[i] < 0x20 || in[i] > 0x7e)
			return false;
	memcpy(out, in, len);
	out[len] = '\0';
	return bytes_all_zero(in + len, capacity - len);
}

/* What the frozen offsets say, whatever the version; text that is none is left empty. */
static void header_fields(struct snap_header *h, const uint8_t in[SNAP_HEADER_BYTES])
{
	h->version    = get_le32(in + AT_VERSION);
	h->required   = get_le64(in + AT_REQUIRED);
	h->rewrite    = get_le64(in + AT_REWRITE);
	h->optional   = get_le64(in + AT_OPTIONAL);
	h->arch       = get_le32(in + AT_ARCH);
	h->layout     = (enum snap_layout)get_le32(in + AT_LAYOUT);
	h->incomplete = get_le32(in + AT_FLAGS) & SNAP_FLAG_INCOMPLETE;
	h->created_ns = (int64_t)get_le64(in + AT_CREATED);
	memcpy(h->vm.b, in + AT_VM, 16);
	memcpy(h->snapshot.b, in + AT_SNAPSHOT, 16);
	memcpy(h->parent.b, in + AT_PARENT, 16);
	memcpy(h->parent_memory, in + AT_PARENT_MEMORY, 16);
	if (!text_get(h->name, in + AT_NAME, VM_NAME_MAX))
		h->name[0] = '\0';
	if (in[AT_CREATOR + sizeof(h->creator) - 1] ||
	    !text_get(h->creator, in + AT_CREATOR, sizeof(h->creator) - 1))
		h->creator[0] = '\0';
}

int snap_header_get(struct snap_header *h, const uint8_t in[SNAP_HEADER_BYTES], struct fail *why)
{
	uint32_t flags = get_le32(in + AT_FLAGS);

	memset(h, 0, sizeof(*h));
	if (memcmp(in, snap_magic, sizeof(snap_magic)) != 0) {
		if (memcmp(in + 1, snap_magic + 1, 3) == 0)
			return fail_at(why, FAIL_CORRUPT, 0,
				       "snapshot damaged by a text-mode transfer");
		return fail_at(why, FAIL_CORRUPT, 0, "not a snapshot");
	}
	if (!hash_same(get_le64(in + AT_HASH), XXH3_64bits(in, AT_HASH)))
		return fail_at(why, FAIL_CORRUPT, 0, "header checksum mismatch");
	header_fields(h, in);
	if (h->version != SNAP_VERSION)
		return fail_at(why, FAIL_VERSION, AT_VERSION,
			       "unsupported format version %" PRIu32
			       " (this build reads version %u)", h->version, SNAP_VERSION);
	if (h->required & ~KNOWN_REQUIRED)
		return fail_at(why, FAIL_VERSION, AT_REQUIRED,
			       "unsupported required features 0x%" PRIx64,
			       h->required & ~KNOWN_REQUIRED);
	if (!snap_layout_name(h->layout))
		return fail_at(why, FAIL_VERSION, AT_LAYOUT,
			       "unsupported layout %" PRIu32
			       " (this build reads layouts %u and %u)",
			       get_le32(in + AT_LAYOUT), SNAP_CHUNKED, SNAP_FLAT);
	if (flags & ~SNAP_FLAG_INCOMPLETE)
		return fail_at(why, FAIL_VERSION, AT_FLAGS, "unsupported flags 0x%" PRIx32, flags);
	if (get_le16(in + AT_HASH_TYPE) != HASH_XXH3)
		return fail_at(why, FAIL_VERSION, AT_HASH_TYPE, "unsupported hash algorithm %u",
			       get_le16(in + AT_HASH_TYPE));
	if (get_le16(in + AT_CIPHER))
		return fail_at(why, FAIL_VERSION, AT_CIPHER, "unsupported cipher %u",
			       get_le16(in + AT_CIPHER));
	if (get_le32(in + AT_BLOCK) != PAGE_SIZE_4K)
		return fail_at(why, FAIL_VERSION, AT_BLOCK,
			       "unsupported block size: %" PRIu32 " bytes",
			       get_le32(in + AT_BLOCK));
	if (get_le32(in + AT_SIZE) != SNAP_HEADER_BYTES)
		return fail_at(why, FAIL_CORRUPT, AT_SIZE, "invalid header size: %" PRIu32 " bytes",
			       get_le32(in + AT_SIZE));
	if (h->layout == SNAP_FLAT && h->required & SNAP_STATE_ONLY)
		return fail_at(why, FAIL_CORRUPT, AT_LAYOUT, "flat layout without memory");
	if (!text_get(h->name, in + AT_NAME, VM_NAME_MAX) ||
	    !paths_name_ok(h->name))
		return fail_at(why, FAIL_CORRUPT, AT_NAME, "invalid VM name");
	if (in[AT_CREATOR + sizeof(h->creator) - 1] ||
	    !text_get(h->creator, in + AT_CREATOR, sizeof(h->creator) - 1))
		return fail_at(why, FAIL_CORRUPT, AT_CREATOR, "creator is not printable ASCII");
	if (!bytes_all_zero(in + AT_RESERVED_60, AT_VM - AT_RESERVED_60) ||
	    !bytes_all_zero(in + AT_RESERVED_136, AT_NAME - AT_RESERVED_136) ||
	    !bytes_all_zero(in + AT_RESERVED_320, AT_HASH - AT_RESERVED_320))
		return fail_at(why, FAIL_CORRUPT, 0, "reserved header bytes not zero");
	return 0;
}

int snap_header_read(struct snap_header *h, const uint8_t in[SNAP_HEADER_BYTES], struct fail *why)
{
	return snap_header_get(h, in, why);
}

void file_digest_header(XXH3_state_t *x, const uint8_t header[SNAP_HEADER_BYTES])
{
	uint8_t flags[4];

	/* INCOMPLETE is cleared, and the hash changed with it, after END has been written. */
	put_le32(flags, get_le32(header + AT_FLAGS) & ~SNAP_FLAG_INCOMPLETE);
	XXH3_128bits_reset(x);
	XXH3_128bits_update(x, header, AT_FLAGS);
	XXH3_128bits_update(x, flags, sizeof(flags));
	XXH3_128bits_update(x, header + AT_FLAGS + 4, AT_HASH - AT_FLAGS - 4);
}

void file_digest_chunk(XXH3_state_t *x, const uint8_t header[CHUNK_HEADER_BYTES])
{
	XXH3_128bits_update(x, header, CHUNK_HEADER_BYTES);
}

void snap_end_put(uint8_t out[SNAP_END_PAYLOAD], const struct snap_end *e)
{
	memset(out, 0, SNAP_END_PAYLOAD);
	memcpy(out, e->snapshot.b, 16);
	memcpy(out + 16, e->digests.file, 16);
	memcpy(out + 32, e->digests.memory, 16);
	memcpy(out + 48, e->digests.machine, 16);
	put_le64(out + 64, e->index_at);
	put_le64(out + 72, e->index_runs);
	put_le64(out + 80, e->directory_at);
	put_le64(out + 88, e->directory_entries);
	put_le64(out + 96, e->chunks);
	put_le64(out + 104, e->total);
	put_le64(out + 112, e->hashes);
}

int snap_end_get(struct snap_end *e, const uint8_t in[SNAP_END_PAYLOAD], uint64_t at,
		 struct fail *why)
{
	memcpy(e->snapshot.b, in, 16);
	memcpy(e->digests.file, in + 16, 16);
	memcpy(e->digests.memory, in + 32, 16);
	memcpy(e->digests.machine, in + 48, 16);
	e->index_at          = get_le64(in + 64);
	e->index_runs        = get_le64(in + 72);
	e->directory_at      = get_le64(in + 80);
	e->directory_entries = get_le64(in + 88);
	e->chunks            = get_le64(in + 96);
	e->total             = get_le64(in + 104);
	e->hashes            = get_le64(in + 112);
	if (!bytes_all_zero(in + 120, 8))
		return fail_at(why, FAIL_CORRUPT, at, "end chunk: reserved bytes not zero");
	return 0;
}
