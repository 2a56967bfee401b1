/* SPDX-License-Identifier: MIT */
#include "tests/unit/snapshot_guest.h"

#include "format/tree/machine.h"
#include "tests/unit/zero_state.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t rng_state = 20261121;

uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

_Alignas(8) uint8_t config[LIMIT_TREE_BYTES];
size_t  config_len;

_Alignas(8) uint8_t state[LIMIT_TREE_BYTES];
size_t  state_len;

uint8_t ram[RAM_PAGES][4096], vram[VRAM_PAGES][4096];
bool    ram_touched[RAM_PAGES], vram_touched[VRAM_PAGES];

uint8_t kernel[KERNEL_BYTES], initrd[INITRD_BYTES];

struct page_batch *batch;

static void host_image(struct machine *m, const char *name, enum host_class cls, uint8_t *bytes,
		       size_t len)
{
	struct machine_host *h = &m->hosts[m->nhosts++];

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251 + (unsigned)cls);
	*h = (struct machine_host){ .cls = cls, .readonly = true, .size = len };
	strcpy(h->name, name);
	snprintf(h->path, sizeof(h->path), "/boot/%s", name);
	digest_put(h->digest, XXH3_128bits(bytes, len));
}

static void make_config(void)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct fail     why;

	m->type = MACHINE_RISCV64_1;
	strcpy(m->name, "unit");
	strcpy(m->cpu_model, "rv64imafdc");
	memset(m->uuid.b, 0x11, 16);
	m->ncpus = 1;
	m->timebase_hz = 10000000;
	m->nhosts = 1;
	m->hosts[0] = (struct machine_host){ .name = "root", .cls = HOST_DISK, .path = "root.img" };
	host_image(m, "kernel", HOST_KERNEL, kernel, sizeof(kernel));
	host_image(m, "initrd", HOST_INITRD, initrd, sizeof(initrd));
	m->nregions = 2;
	m->regions[0] = (struct machine_region){ .id = 0, .kind = REGION_RAM, .name = "ram",
						 .gpa = 0x80000000,
						 .size = RAM_PAGES * 4096ull, .page_size = 4096 };
	m->regions[1] = (struct machine_region){ .id = 3, .kind = REGION_VRAM, .name = "vram",
						 .gpa = 0x40000000,
						 .size = VRAM_PAGES * 4096ull, .page_size = 4096 };
	if (machine_write(m, config, sizeof(config), &config_len, &why))
		DIE("machine_write: %s", why.what);
	m->hosts[0].size = 4096;
	if (zero_state_write(m, state, sizeof(state), &state_len, &why))
		DIE("machine_write_state: %s", why.what);
	free(m);
}

static void fill_page(uint8_t *page, unsigned how)
{
	uint64_t x = rng();

	switch (how % 3) {
	case 0:
		memset(page, 0, 4096);
		return;
	case 1:      /* packs well */
		for (int i = 0; i < 4096; i++)
			page[i] = (uint8_t)(i / 64 + (int)(x & 7));
		return;
	default:
		for (int i = 0; i < 4096; i += 8)
			put_le64(page + i, rng());
	}
}

static void batch_make(void)
{
	batch = aligned_alloc(4096, (sizeof(*batch) + 4095) / 4096 * 4096);
	if (!batch)
		DIE("no memory");
}

void guest_make(void)
{
	batch_make();
	make_config();
	for (unsigned p = 0; p < RAM_PAGES; p++)
		if ((ram_touched[p] = rng() % 4 != 0))
			fill_page(ram[p], (unsigned)(rng() % 3));
	for (unsigned p = 0; p < VRAM_PAGES; p++)
		if ((vram_touched[p] = rng() % 2))
			fill_page(vram[p], (unsigned)(rng() % 3));
}

int temp_file(void)
{
	char path[] = "/tmp/vmferry-snapshot-test.XXXXXX";
	int  fd = mkostemp(path, O_CLOEXEC);

	if (fd < 0)
		DIE("no temporary file");
	unlink(path);
	return fd;
}

int memfd_of(const void *buf, size_t len)
{
	const uint8_t *p  = buf;
	int            fd = memfd_create("snapshot", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)len))
		DIE("memfd");
	for (size_t at = 0, n; at < len; at += n) {
		n = len - at < 4096 ? len - at : 4096;
		if (!bytes_all_zero(p + at, n) && pwrite(fd, p + at, n, (off_t)at) != (ssize_t)n)
			DIE("memfd");
	}
	return fd;
}

struct snap_header guest_header(void)
{
	struct snap_header h = { .arch = 243, .created_ns = 1795000000000000000, .name = "unit",
				 .creator = "snapshot_test" };

	memset(h.vm.b, 0x11, 16);
	memset(h.snapshot.b, 0x22, 16);
	return h;
}

void guest_send(struct snap_writer *w, uint32_t region, uint64_t first, uint64_t count, bool stale)
{
	struct fail why;
	uint64_t    n = region ? VRAM_PAGES : RAM_PAGES;

	page_batch_begin(batch, region);
	for (uint64_t p = first; p < first + count && p < n; p++) {
		if (!(region ? vram_touched : ram_touched)[p])
			continue;
		if (page_batch_full(batch)) {
			if (snap_writer_pages(w, batch, &why))
				DIE("pages: %s", why.what);
			page_batch_begin(batch, region);
		}
		uint8_t *slot = page_batch_slot(batch);

		memcpy(slot, region ? vram[p] : ram[p], 4096);
		if (stale)
			slot[rng() % 4096] ^= 0x5a;
		page_batch_add_slot(batch, p);
	}
	if (snap_writer_pages(w, batch, &why))
		DIE("pages: %s", why.what);
}

int guest_copy(struct snap_writer *w, const struct page_batch *b, struct fail *why)
{
	if (!batch)
		batch_make();
	memcpy(batch, b, offsetof(struct page_batch, data));
	return snap_writer_pages(w, batch, why);
}

static struct snap_writer_options options_of(int level)
{
	const bool flat = level == GUEST_FLAT;

	return (struct snap_writer_options){ .layout  = flat ? SNAP_FLAT : SNAP_CHUNKED,
					     .level   = flat ? 0 : level,
					     .threads = 3 };
}

void guest_write(int fd, int level, int order, struct snap_digests *out)
{
	const struct snap_writer_options o = options_of(level);
	struct snap_header               h = guest_header();
	struct snap_writer              *w;
	struct fail                      why;

	if (snap_writer_open(&w, fd, &h, &o, "test", &why) ||
	    snap_writer_config(w, config, config_len, &why))
		DIE("open: %s", why.what);
	switch (order) {
	case 0:
		guest_send(w, 0, 0, RAM_PAGES, false);
		guest_send(w, 3, 0, VRAM_PAGES, false);
		break;
	case 1:      /* stale first, then right in small pieces backwards */
		guest_send(w, 3, 0, VRAM_PAGES, true);
		guest_send(w, 0, 0, RAM_PAGES, true);
		if (snap_writer_round_end(w, &why))
			DIE("round: %s", why.what);
		for (uint64_t p = RAM_PAGES; p;) {
			uint64_t n = rng() % 90 + 1;

			n = n < p ? n : p;
			p -= n;
			guest_send(w, 0, p, n, false);
		}
		guest_send(w, 3, 0, VRAM_PAGES, false);
		break;
	default:     /* everything, then some again, several rounds */
		guest_send(w, 0, 0, RAM_PAGES, false);
		guest_send(w, 3, 0, VRAM_PAGES, true);
		for (int r = 0; r < 4; r++) {
			if (snap_writer_round_end(w, &why))
				DIE("round: %s", why.what);
			for (int i = 0; i < 8; i++)
				guest_send(w, 0, rng() % RAM_PAGES, rng() % 40, false);
		}
		guest_send(w, 3, 0, VRAM_PAGES, false);
	}
	if (snap_writer_state(w, state, state_len, &why) || snap_writer_end(w, out, &why))
		DIE("end: %s", why.what);
	if (snap_writer_bytes(w) != (uint64_t)lseek(fd, 0, SEEK_END))
		DIE("the writer miscounts its bytes");
	snap_writer_close(w);
	lseek(fd, 0, SEEK_SET);
}

size_t guest_small(uint8_t **out, int level, uint64_t required)
{
	const struct snap_writer_options o = options_of(level);
	struct snap_header  h = guest_header();
	struct snap_writer *w;
	struct fail         why;
	struct snap_digests digests;
	int                 fd = temp_file();

	h.required = required;
	if (snap_writer_open(&w, fd, &h, &o, "small", &why) ||
	    snap_writer_config(w, config, config_len, &why))
		DIE("small: %s", why.what);
	if (!required) {
		for (int round = 0; round < 2; round++) {
			page_batch_begin(batch, 0);
			for (uint64_t p = 3; p < 6; p++) {
				memset(page_batch_slot(batch), p == 4 ? 0 : (int)p + round, 4096);
				page_batch_add_slot(batch, p);
			}
			if (snap_writer_pages(w, batch, &why) ||
			    snap_writer_round_end(w, &why))
				DIE("small: %s", why.what);
		}
	}
	if (snap_writer_state(w, state, state_len, &why) || snap_writer_end(w, &digests, &why))
		DIE("small: %s", why.what);
	size_t len = snap_writer_bytes(w);
	snap_writer_close(w);
	*out = malloc(len);
	if (pread(fd, *out, len, 0) != (ssize_t)len)
		DIE("small: read");
	close(fd);
	return len;
}

size_t guest_images(uint8_t **out, struct snap_digests *digests)
{
	struct snap_header  h = guest_header();
	struct snap_writer *w;
	struct fail         why;
	struct snap_digests ignored;
	int                 fd = temp_file();

	if (snap_writer_open(&w, fd, &h, NULL, "images", &why) ||
	    snap_writer_config(w, config, config_len, &why) ||
	    snap_writer_image(w, "kernel", kernel, sizeof(kernel), &why) ||
	    snap_writer_image(w, "initrd", initrd, sizeof(initrd), &why))
		DIE("images: %s", why.what);
	page_batch_begin(batch, 0);
	memset(page_batch_slot(batch), 9, 4096);
	page_batch_add_slot(batch, 3);
	if (snap_writer_pages(w, batch, &why) || snap_writer_state(w, state, state_len, &why) ||
	    snap_writer_end(w, digests ? digests : &ignored, &why))
		DIE("images: %s", why.what);

	size_t len = snap_writer_bytes(w);

	snap_writer_close(w);
	*out = malloc(len);
	if (!*out || pread(fd, *out, len, 0) != (ssize_t)len)
		DIE("images: read");
	close(fd);
	return len;
}

static bool is_flat(const uint8_t *f)
{
	return get_le32(f + 44) == SNAP_FLAT;
}

/* What MAP says may be what is wrong: the memory ends where there is a chunk again. */
static size_t memory_end(const uint8_t *f, size_t map)
{
	size_t at = (map + CHUNK_HEADER_BYTES + 4095) / 4096 * 4096;

	while (memcmp(f + at, f + map, 4) != 0)
		at += 4096;
	return at;
}

size_t guest_next(const uint8_t *f, size_t at)
{
	uint32_t len = get_le32(f + at + 20);

	if (is_flat(f) && get_le16(f + at + 4) == CHUNK_MAP)
		return memory_end(f, at);
	return at + CHUNK_HEADER_BYTES + len + chunk_padding(len);
}

void guest_hash(uint8_t *f, size_t len, size_t at)
{
	uint32_t hashed = get_le32(f + at + 32);
	size_t   have   = len - at - CHUNK_HEADER_BYTES;

	put_le64(f + at + 40,
		 XXH3_64bits(f + at + CHUNK_HEADER_BYTES, hashed < have ? hashed : have));
	put_le64(f + at + 56, XXH3_64bits(f + at, 56));
}

void guest_rehash(uint8_t *f, size_t len)
{
	XXH3_state_t *x = XXH3_createState();

	put_le64(f + 4088, XXH3_64bits(f, 4088));
	file_digest_header(x, f);
	for (size_t at = SNAP_HEADER_BYTES; at < len && len - at >= CHUNK_HEADER_BYTES;
	     at = guest_next(f, at)) {
		bool end = get_le16(f + at + 4) == CHUNK_END && len - at == SNAP_END_BYTES;

		if (end)
			digest_put(f + at + CHUNK_HEADER_BYTES + 16, XXH3_128bits_digest(x));
		guest_hash(f, len, at);
		if (!end)
			file_digest_chunk(x, f + at);
	}
	XXH3_freeState(x);
}

size_t guest_find(const uint8_t *f, uint16_t type)
{
	size_t at = SNAP_HEADER_BYTES;

	while (get_le16(f + at + 4) != type)
		at = guest_next(f, at);
	return at;
}

/* The pages behind `from` have moved by that much. */
static void index_moved(uint8_t *f, size_t from, size_t by)
{
	if (is_flat(f))
		return;
	for (size_t at = guest_find(f, CHUNK_INDEX); get_le16(f + at + 4) == CHUNK_INDEX;
	     at = guest_next(f, at)) {
		uint8_t *p = f + at + CHUNK_HEADER_BYTES, *end = p + get_le32(f + at + 20);

		for (; p < end; p += INDEX_RUN_BYTES)
			if (get_le16(p + 2) == PAGE_DATA && get_le64(p + 24) >= from)
				put_le64(p + 24, get_le64(p + 24) + by);
	}
}

void guest_rebuild(uint8_t **f, size_t *len)
{
	size_t   at = SNAP_HEADER_BYTES, end = *len - SNAP_END_BYTES, n = 0, first, capacity = 0;
	uint8_t *table = NULL, *grown, *e;
	uint64_t chunks = 0, runs = 0, hashes = 0;
	uint32_t most = DIRECTORY_ENTRIES * DIRECTORY_ENTRY_BYTES;

	for (; get_le16(*f + at + 4) != CHUNK_DIRECTORY; at = guest_next(*f, at), chunks++) {
		uint8_t *c = *f + at;

		put_le64(c + 24, chunks);
		if (get_le16(c + 4) == CHUNK_INDEX)
			runs += get_le32(c + 20) / INDEX_RUN_BYTES;
		if (get_le16(c + 4) == CHUNK_HASHES)
			hashes += get_le32(c + 20) / 8;
		if (!directory_lists(get_le16(c + 4)))
			continue;
		if (n == capacity)
			table = reallocarray(table, capacity = capacity * 2 + 64,
					     DIRECTORY_ENTRY_BYTES);
		directory_entry_put(table + n++ * DIRECTORY_ENTRY_BYTES, &(struct directory_entry){
			.type = get_le16(c + 4), .flags = get_le16(c + 6),
			.region = get_le16(c + 12), .round = get_le32(c + 16),
			.len = get_le32(c + 20), .sequence = chunks, .at = at });
	}
	first = at;
	grown = malloc(at + n * (CHUNK_HEADER_BYTES + DIRECTORY_ENTRY_BYTES) + SNAP_END_BYTES);
	memcpy(grown, *f, at);
	for (size_t from = 0, left = n * DIRECTORY_ENTRY_BYTES; left; chunks++) {
		uint32_t     now = left < most ? (uint32_t)left : most;
		struct chunk c   = chunk_of(CHUNK_DIRECTORY, chunks, now);

		chunk_header_put(grown + at, &c, table + from);
		memcpy(grown + at + CHUNK_HEADER_BYTES, table + from, now);
		at += CHUNK_HEADER_BYTES + now;
		from += now;
		left -= now;
	}
	memcpy(grown + at, *f + end, SNAP_END_BYTES);
	put_le64(grown + at + 24, chunks);
	e = grown + at + CHUNK_HEADER_BYTES;
	put_le64(e + 64, guest_find(grown, CHUNK_INDEX));
	put_le64(e + 72, runs);
	put_le64(e + 80, first);
	put_le64(e + 88, n);
	put_le64(e + 96, chunks);
	put_le64(e + 104, at + SNAP_END_BYTES);
	put_le64(e + 112, hashes);
	free(table);
	free(*f);
	*f   = grown;
	*len = at + SNAP_END_BYTES;
	guest_rehash(*f, *len);
}

void guest_type(uint8_t **f, size_t *len, size_t at, uint16_t type, uint16_t flags)
{
	put_le16(*f + at + 4, type);
	put_le16(*f + at + 6, flags);
	guest_rebuild(f, len);
}

/* Where what follows `at` ends as far as it moves: before a flat snapshot's memory. */
static size_t moved_end(const uint8_t *f, size_t len, size_t at)
{
	size_t map = is_flat(f) ? guest_find(f, CHUNK_MAP) : 0;

	return map && at <= map ? map + CHUNK_HEADER_BYTES + get_le32(f + map + 20) : len;
}

void guest_insert(uint8_t **f, size_t *len, size_t at, struct chunk *c, const void *payload)
{
	size_t   n = (size_t)chunk_bytes(c), end = moved_end(*f, *len, at);
	uint8_t *g = calloc(1, *len + n);

	index_moved(*f, at, n);
	memcpy(g, *f, *len);
	memcpy(g + at + n, *f + at, end - at);
	memset(g + at, 0, n);
	chunk_header_put(g + at, c, payload);
	memcpy(g + at + CHUNK_HEADER_BYTES, payload, c->len);
	free(*f);
	*f = g;
	*len += end == *len ? n : 0;
	guest_rebuild(f, len);
}

void guest_remove(uint8_t **f, size_t *len, size_t at)
{
	size_t n = guest_next(*f, at) - at, end = moved_end(*f, *len, at + n);

	index_moved(*f, at + n, -n);
	memmove(*f + at, *f + at + n, end - at - n);
	memset(*f + end - n, 0, n);
	*len -= end == *len ? n : 0;
	guest_rebuild(f, len);
}
