/* Snapshots written to files and pipes and read back: what comes back, what is refused and where. */
#include "format/machine.h"
#include "format/snapshot.h"
#include "format/snapshot_internal.h"
#include "libcommon/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned ntests, nfailed;

static void ok(bool good, const char *claim)
{
	ntests++;
	nfailed += !good;
	printf("%sok %u - %s\n", good ? "" : "not ", ntests, claim);
}

#define DIE(...) (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))

static uint64_t rng_state = 20261121;

static uint64_t rng(void)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return rng_state;
}

/* A configuration: the real tree of a machine with two regions. */
#define RAM_PAGES  2048u
#define VRAM_PAGES 600u

static uint8_t config[LIMIT_TREE_BYTES];
static size_t  config_len;

static void make_config(void)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct fail     why;

	m->type = MACHINE_RISCV64_1;
	strcpy(m->name, "unit");
	strcpy(m->isa, "rv64imafdc");
	m->uuid.b[0] = 1;
	m->ncpus = 1;
	m->timebase_hz = 10000000;
	m->nregions = 2;
	m->regions[0] = (struct machine_region){ .id = 0, .kind = REGION_RAM, .name = "ram", .gpa = 0x80000000,
						 .size = RAM_PAGES * 4096ull, .page_size = 4096 };
	m->regions[1] = (struct machine_region){ .id = 3, .kind = REGION_VRAM, .name = "vram", .gpa = 0x40000000,
						 .size = VRAM_PAGES * 4096ull, .page_size = 4096 };
	if (machine_write(m, NULL, config, sizeof(config), &config_len, &why))
		DIE("machine_write: %s", why.what);
	free(m);
}

static const uint8_t state[] = "the state tree is opaque to the stream";

static int temp_file(void)
{
	char path[] = "/tmp/vmferry-snapshot-test.XXXXXX";
	int  fd = mkostemp(path, O_CLOEXEC);

	if (fd < 0)
		DIE("no temporary file");
	unlink(path);
	return fd;
}

static struct snap_header test_header(void)
{
	struct snap_header h = { .arch = 243, .created_ns = 1795000000000000000, .name = "unit", .creator = "snapshot_test" };

	memset(h.vm.b, 0x11, 16);
	memset(h.snapshot.b, 0x22, 16);
	return h;
}

/* The guest: what each page is at the end. Untouched pages are not in `touched`. */
static uint8_t ram[RAM_PAGES][4096], vram[VRAM_PAGES][4096];
static bool    ram_touched[RAM_PAGES], vram_touched[VRAM_PAGES];

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

static struct page_batch *batch;

static void send_range(struct snap_writer *w, uint32_t region, uint64_t first, uint64_t count, bool stale)
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

/* The same guest in one of several ways: level, order, superseded pages. */
static void write_snapshot(int fd, int level, int order, uint8_t content[16])
{
	struct snap_header  h = test_header();
	struct snap_writer *w;
	struct fail         why;

	if (snap_writer_open(&w, fd, &h, level, "test", &why) || snap_writer_config(w, config, config_len, &why))
		DIE("open: %s", why.what);
	switch (order) {
	case 0:
		send_range(w, 0, 0, RAM_PAGES, false);
		send_range(w, 3, 0, VRAM_PAGES, false);
		break;
	case 1:      /* stale first, then right in small pieces backwards */
		send_range(w, 3, 0, VRAM_PAGES, true);
		send_range(w, 0, 0, RAM_PAGES, true);
		if (snap_writer_round_end(w, 0, &why))
			DIE("round: %s", why.what);
		for (uint64_t p = RAM_PAGES; p;) {
			uint64_t n = rng() % 90 + 1;

			n = n < p ? n : p;
			p -= n;
			send_range(w, 0, p, n, false);
		}
		send_range(w, 3, 0, VRAM_PAGES, false);
		break;
	default:     /* everything, then some again, several rounds */
		send_range(w, 0, 0, RAM_PAGES, false);
		send_range(w, 3, 0, VRAM_PAGES, true);
		for (uint32_t r = 0; r < 4; r++) {
			if (snap_writer_round_end(w, r, &why))
				DIE("round: %s", why.what);
			for (int i = 0; i < 8; i++)
				send_range(w, 0, rng() % RAM_PAGES, rng() % 40, false);
		}
		send_range(w, 3, 0, VRAM_PAGES, false);
	}
	if (snap_writer_state(w, state, sizeof(state), &why) || snap_writer_end(w, content, &why))
		DIE("end: %s", why.what);
	if (snap_writer_bytes(w) != (uint64_t)lseek(fd, 0, SEEK_END))
		DIE("the writer miscounts its bytes");
	snap_writer_close(w);
	lseek(fd, 0, SEEK_SET);
}

/* Reads a whole stream; 0 and a filled RAM image (when asked), or -1. */
static int read_all(int fd, uint8_t (*out)[4096], uint8_t content[16], uint64_t counts[2], struct fail *why)
{
	struct snap_stream *s;
	struct chunk        c;
	const uint8_t      *payload;
	uint64_t            at;
	int                 rc;

	if (snap_stream_open(&s, fd, "test", why))
		return -1;
	while ((rc = snap_stream_next(s, &c, &payload, &at, why)) > 0) {
		const struct page_batch *b = snap_stream_batch(s);
		uint32_t                 slot = 0;

		if ((b != NULL) != (c.type == CHUNK_PAGES))
			DIE("a batch without pages");
		for (uint32_t i = 0; b && out && b->region == 0 && i < b->nruns; i++)
			for (uint32_t k = 0; k < b->runs[i].count; k++) {
				uint8_t *to = out[b->runs[i].first + k];

				if (b->runs[i].kind == PAGE_DATA)
					memcpy(to, b->data + (size_t)slot++ * 4096, 4096);
				else
					memset(to, 0, 4096);
			}
	}
	if (rc == 0 && content) {
		uint8_t file[16];

		snap_stream_digests(s, file, content);
	}
	if (rc == 0 && counts) {
		counts[0] = snap_stream_pages(s, 0, PAGE_DATA);
		counts[1] = snap_stream_pages(s, 0, PAGE_ZERO);
	}
	snap_stream_close(s);
	return rc;
}

static int memfd_of(const void *buf, size_t len)
{
	int fd = memfd_create("snapshot", MFD_CLOEXEC);

	if (fd < 0 || pwrite(fd, buf, len, 0) != (ssize_t)len)
		DIE("memfd");
	return fd;
}

static bool refused(const uint8_t *buf, size_t len, struct fail *why)
{
	int fd = memfd_of(buf, len);
	int rc = read_all(fd, NULL, NULL, NULL, why);

	close(fd);
	return rc < 0 && (why->kind == FAIL_CORRUPT || why->kind == FAIL_VERSION || why->kind == FAIL_LIMIT) && why->what[0] &&
	       why->at != FAIL_NOWHERE;
}

static void test_round_trips(void)
{
	static const int levels[] = { 0, 1, 3, -1, 7 };
	uint8_t          content[16], first[16], (*got)[4096] = calloc(RAM_PAGES, 4096);
	uint64_t         counts[2], data = 0, zero = 0;
	struct fail      why;
	bool             same = true, right = true, counted = true;

	for (unsigned p = 0; p < RAM_PAGES; p++)
		if ((ram_touched[p] = rng() % 4 != 0))
			fill_page(ram[p], (unsigned)(rng() % 3));
	for (unsigned p = 0; p < VRAM_PAGES; p++)
		if ((vram_touched[p] = rng() % 2))
			fill_page(vram[p], (unsigned)(rng() % 3));
	for (unsigned p = 0; p < RAM_PAGES; p++) {
		bool z = page_is_zero(ram[p], 4096);

		data += ram_touched[p] && !z;
		zero += ram_touched[p] && z;
	}
	for (unsigned i = 0; i < 9; i++) {
		int     fd = temp_file();
		uint8_t written[16];

		write_snapshot(fd, levels[i % 5], (int)i % 3, written);
		memset(got, 0, RAM_PAGES * 4096ull);
		if (read_all(fd, got, content, counts, &why))
			DIE("level %d: %s at %llu", levels[i % 5], why.what, (unsigned long long)why.at);
		if (i == 0)
			memcpy(first, written, 16);
		same &= memcmp(first, written, 16) == 0 && memcmp(first, content, 16) == 0;
		right &= memcmp(got, ram, sizeof(ram)) == 0;
		counted &= counts[0] == data && counts[1] == zero;
		close(fd);
	}
	ok(right, "a snapshot reads back page for page, at every level, with superseded pages");
	ok(same, "the content digest is the same at every level and in every order of rounds");
	ok(counted, "the final pages of a kind are counted");
	free(got);
}

struct pump { int fd; uint8_t content[16]; };

static void *pump_write(void *arg)
{
	struct pump        *p = arg;
	struct snap_header  h = test_header();
	struct snap_writer *w;
	struct fail         why;

	if (snap_writer_open(&w, p->fd, &h, 1, "pipe", &why) || snap_writer_config(w, config, config_len, &why))
		DIE("pipe: %s", why.what);
	send_range(w, 0, 0, RAM_PAGES, false);
	send_range(w, 3, 0, VRAM_PAGES, false);
	if (snap_writer_state(w, state, sizeof(state), &why) || snap_writer_end(w, p->content, &why))
		DIE("pipe: %s", why.what);
	snap_writer_close(w);
	close(p->fd);
	return NULL;
}

static void test_pipe(void)
{
	struct pump pump;
	pthread_t   thread;
	uint8_t     content[16], from_file[16];
	int         ends[2], fd = temp_file();
	struct fail why;

	if (pipe2(ends, O_CLOEXEC))
		DIE("pipe");
	pump.fd = ends[1];
	pthread_create(&thread, NULL, pump_write, &pump);
	int rc = read_all(ends[0], NULL, content, NULL, &why);
	pthread_join(thread, NULL);
	close(ends[0]);
	write_snapshot(fd, 0, 0, from_file);
	close(fd);
	ok(rc == 0 && memcmp(content, pump.content, 16) == 0 && memcmp(content, from_file, 16) == 0,
	   "a pipe carries the same content, and is complete by its end although its header says incomplete");
}

static void test_header_flag(void)
{
	uint8_t            raw[SNAP_HEADER_BYTES], content[16];
	struct snap_header h;
	struct fail        why;
	int                fd = temp_file();

	write_snapshot(fd, 0, 0, content);
	bool file = pread(fd, raw, sizeof(raw), 0) == sizeof(raw) && snap_header_get(&h, raw, &why) == 0 && !h.incomplete &&
		    strcmp(h.name, "unit") == 0 && strcmp(h.creator, "snapshot_test") == 0 && h.arch == 243 && h.vm.b[3] == 0x11;
	ok(file, "a file's header is complete and says who, what and when");
	ok((fcntl(fd, F_GETFL) & O_DIRECT) == 0, "the writer gives the descriptor its flags back");
	close(fd);

	/* Appended behind something else: the head is not ours to replace, END still proves all. */
	fd = temp_file();
	if (write(fd, "before", 6) != 6)
		DIE("write");
	struct pump p = { .fd = dup(fd) };
	pump_write(&p);
	lseek(fd, 6, SEEK_SET);
	int rc = read_all(fd, NULL, content, NULL, &why);
	char head[6];
	ok(rc == 0 && pread(fd, head, 6, 0) == 6 && memcmp(head, "before", 6) == 0, "a snapshot that begins within a file leaves what is before it alone");
	close(fd);

	fd = temp_file();
	if (write(fd, "before", 6) != 6)
		DIE("write");
	lseek(fd, 0, SEEK_SET);
	struct snap_writer *w;
	h = test_header();
	rc = snap_writer_open(&w, fd, &h, 0, "full.vms", &why);
	ok(rc && why.kind == FAIL_USAGE, "a file that is not empty is not written over");
	close(fd);
}

/* A small file: two data pages, a zero one, a superseded one. */
static size_t small_file(uint8_t **out, int level, uint64_t required)
{
	struct snap_header  h = test_header();
	struct snap_writer *w;
	struct fail         why;
	uint8_t             content[16];
	int                 fd = temp_file();

	h.required = required;
	if (snap_writer_open(&w, fd, &h, level, "small", &why) || snap_writer_config(w, config, config_len, &why))
		DIE("small: %s", why.what);
	if (!required) {
		for (int round = 0; round < 2; round++) {
			page_batch_begin(batch, 0);
			for (uint64_t p = 3; p < 6; p++) {
				memset(page_batch_slot(batch), p == 4 ? 0 : (int)p + round, 4096);
				page_batch_add_slot(batch, p);
			}
			if (snap_writer_pages(w, batch, &why) || snap_writer_round_end(w, (uint32_t)round, &why))
				DIE("small: %s", why.what);
		}
	}
	if (snap_writer_state(w, state, sizeof(state), &why) || snap_writer_end(w, content, &why))
		DIE("small: %s", why.what);
	size_t len = snap_writer_bytes(w);
	snap_writer_close(w);
	*out = malloc(len);
	if (pread(fd, *out, len, 0) != (ssize_t)len)
		DIE("small: read");
	close(fd);
	return len;
}

static void test_flips(void)
{
	struct fail why;
	uint8_t    *f;
	size_t      len = small_file(&f, 1, 0), missed = 0, tried = 0;
	bool        whole = !refused(f, len, &why);

	for (size_t bit = 0; bit < 512 * 8; bit += 7, tried++) {      /* the header's fields */
		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
		missed += !refused(f, len, &why);
		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t bit = (len - SNAP_END_BYTES) * 8; bit < len * 8; bit++, tried++) {
		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
		missed += !refused(f, len, &why);
		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (int i = 0; i < 2000; i++, tried++) {
		size_t bit = rng() % (len * 8);

		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (!refused(f, len, &why)) {
			missed++;
			printf("# bit %zu of byte %zu went unseen\n", bit % 8, bit / 8);
		}
		f[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	ok(whole && missed == 0, "every flipped bit of header, end and elsewhere is refused, with its place");
	f = realloc(f, len + 1);
	f[len] = 0;
	ok(refused(f, len + 1, &why) && strstr(why.what, "trailing") && why.at == len, "a byte behind the end is trailing data");
	missed = 0;
	for (size_t cut = 0; cut < len; cut += cut < len - 400 ? 97 : 1)
		missed += !refused(f, cut, &why);
	ok(missed == 0, "a truncated snapshot is refused wherever it was cut");
	free(f);
}

/* Hashes made right again after a change: what is left is the structure's own defence. */
static void rehash(uint8_t *f, size_t len)
{
	XXH3_state_t *x = XXH3_createState();
	size_t        at = SNAP_HEADER_BYTES;

	put_le64(f + 4088, XXH3_64bits(f, 4088));
	file_digest_header(x, f);
	while (len - at >= CHUNK_HEADER_BYTES) {
		uint64_t n = get_le64(f + at + 16);
		uint8_t *p = f + at + CHUNK_HEADER_BYTES;

		if (n > len - at - CHUNK_HEADER_BYTES)
			n = len - at - CHUNK_HEADER_BYTES;
		if (get_le16(f + at + 4) == CHUNK_END)
			digest_put(p + 16, XXH3_128bits_digest(x));
		if (get_le16(f + at + 4) == CHUNK_PAGES && n >= 24) {
			uint64_t tables = (uint64_t)get_le32(p) * 16 + (uint64_t)get_le32(p + 4) * 8;

			put_le64(p + 16, XXH3_64bits(p + 24, tables < n - 24 ? tables : n - 24));
		}
		put_le64(f + at + 24, XXH3_64bits(p, n));
		put_le64(f + at + 40, XXH3_64bits(f + at, 40));
		file_digest_chunk(x, f + at);
		at += CHUNK_HEADER_BYTES + n;
	}
	XXH3_freeState(x);
}

static size_t find_chunk(const uint8_t *f, uint16_t type)
{
	size_t at = SNAP_HEADER_BYTES;

	while (get_le16(f + at + 4) != type)
		at += CHUNK_HEADER_BYTES + get_le64(f + at + 16);
	return at;
}

static void test_hostile(void)
{
	static const struct {
		const char *claim;
		uint16_t    chunk;      /* 0: the file's header */
		size_t      at;         /* from the chunk's header */
		size_t      width;
		uint64_t    value;
	} cases[] = {
		{ "a pages chunk with no runs is refused", CHUNK_PAGES, 48, 4, 0 },
		{ "a pages chunk with 2^32-1 runs is refused", CHUNK_PAGES, 48, 4, UINT32_MAX },
		{ "a pages chunk with 1025 runs is refused", CHUNK_PAGES, 48, 4, 1025 },
		{ "a pages chunk with 513 data pages is refused", CHUNK_PAGES, 52, 4, 513 },
		{ "a pages chunk whose data length lies is refused", CHUNK_PAGES, 56, 4, 1 },
		{ "a run outside its region is refused", CHUNK_PAGES, 48 + 24, 8, RAM_PAGES },
		{ "a run whose end wraps is refused", CHUNK_PAGES, 48 + 24, 8, UINT64_MAX },
		{ "a run of no pages is refused", CHUNK_PAGES, 48 + 24 + 8, 4, 0 },
		{ "a run of 2^32-1 pages is refused", CHUNK_PAGES, 48 + 24 + 8, 4, UINT32_MAX },
		{ "a run of an unknown kind is refused", CHUNK_PAGES, 48 + 24 + 12, 4, 9 },
		{ "a parent's pages are refused", CHUNK_PAGES, 48 + 24 + 12, 4, PAGE_PARENT },
		{ "pages of a region the configuration lacks are refused", CHUNK_PAGES, 12, 4, 1 },
		{ "pages of region 2^32-1 are refused", CHUNK_PAGES, 12, 4, UINT32_MAX },
		{ "an unknown encoding is refused", CHUNK_PAGES, 8, 2, 2 },
		{ "a chunk longer than the limit is refused", CHUNK_PAGES, 16, 8, LIMIT_CHUNK_BYTES + 1 },
		{ "a chunk of 2^64-1 bytes is refused", CHUNK_PAGES, 16, 8, UINT64_MAX },
		{ "a chunk of an unknown type that is required is refused", CHUNK_ROUND_END, 4, 4, 0x10000 + 77 },
		{ "a disk chunk is refused by a build without disks", CHUNK_ROUND_END, 4, 4, 0x10000 + CHUNK_DISK },
		{ "a control chunk is refused in a snapshot", CHUNK_ROUND_END, 4, 4, 0x10000 + CHUNK_CONTROL },
		{ "a second configuration is refused", CHUNK_ROUND_END, 4, 4, 0x10000 + CHUNK_CONFIG },
		{ "an end in the middle is refused", CHUNK_ROUND_END, 4, 4, 0x10000 + CHUNK_END },
		{ "reserved bytes of a round's end must be zero", CHUNK_ROUND_END, 48 + 4, 4, 1 },
		{ "an index that names another page is refused", CHUNK_INDEX, 48 + 8, 8, 2 },
		{ "an index that names another place is refused", CHUNK_INDEX, 48 + 24, 8, 4096 },
		{ "an end with another count of chunks is refused", CHUNK_END, 48 + 64, 8, 3 },
		{ "an end with another length is refused", CHUNK_END, 48 + 72, 8, 3 },
		{ "an end of another snapshot is refused", CHUNK_END, 48, 8, 3 },
		{ "a content digest that is another's is refused", CHUNK_END, 48 + 32, 8, 3 },
		{ "reserved bytes of the end must be zero", CHUNK_END, 48 + 120, 8, 3 },
		{ "an unknown required feature is refused", 0, 16, 8, (uint64_t)1 << 40 },
		{ "another format version is refused", 0, 8, 4, 7 },
		{ "the flat layout is refused by a build without it", 0, 36, 4, SNAP_FLAT },
		{ "unknown header flags are refused", 0, 40, 4, 2 },
		{ "reserved bytes of the header must be zero", 0, 2000, 4, 2 },
		{ "a name with a slash is refused", 0, 128, 4, 0x2f2f2f2f },
	};
	uint8_t    *f;
	size_t      len = small_file(&f, 0, 0);
	struct fail why;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *g = malloc(len);
		size_t   at = cases[i].chunk ? find_chunk(f, cases[i].chunk) : 0;

		memcpy(g, f, len);
		for (size_t b = 0; b < cases[i].width; b++)
			g[at + cases[i].at + b] = (uint8_t)(cases[i].value >> (8 * b));
		rehash(g, len);
		bool is = refused(g, len, &why);
		ok(is, cases[i].claim);
		printf("#   %s (at byte %llu)\n", is ? why.what : "accepted", (unsigned long long)why.at);
		free(g);
	}
	rehash(f, len);
	ok(!refused(f, len, &why), "the same file with nothing changed is accepted");
	/* An unknown chunk without the required bit. */
	size_t at = find_chunk(f, CHUNK_ROUND_END);
	put_le32(f + at + 4, 77);
	rehash(f, len);
	ok(!refused(f, len, &why), "an unknown chunk that is not required is skipped");
	free(f);
}

static void test_state_only(void)
{
	uint8_t    *f;
	size_t      len = small_file(&f, 0, SNAP_STATE_ONLY);
	struct fail why;
	uint8_t    *g = calloc(1, len + 65536);
	uint8_t    *full;
	size_t      full_len = small_file(&full, 0, 0);
	bool        good = !refused(f, len, &why);

	ok(good, "a snapshot without memory is one");
	(void)full_len;
	put_le64(full + 16, SNAP_STATE_ONLY);
	rehash(full, full_len);
	ok(refused(full, full_len, &why) && strstr(why.what, "without memory"), "pages in a snapshot without memory are refused");
	free(f);
	free(g);
	free(full);
}

static void test_order(void)
{
	struct snap_header  h = test_header();
	struct snap_writer *w;
	struct fail         why;
	uint8_t             content[16];
	int                 fd = temp_file();

	if (snap_writer_open(&w, fd, &h, 0, "order", &why))
		DIE("order: %s", why.what);
	page_batch_begin(batch, 0);
	page_batch_add_zero(batch, 1);
	bool early = snap_writer_pages(w, batch, &why) == -1 && snap_writer_end(w, content, &why) == -1;
	bool config_ok = snap_writer_config(w, config, config_len, &why) == 0;
	page_batch_begin(batch, 0);
	page_batch_add_zero(batch, RAM_PAGES);
	bool outside = snap_writer_pages(w, batch, &why) == -1;
	bool after = snap_writer_state(w, state, sizeof(state), &why) == -1;
	ok(early && config_ok && outside && after, "the writer refuses parts out of order, pages outside, and everything after a failure");
	snap_writer_close(w);
	close(fd);
}

static void test_disk_full(void)
{
	struct snap_header  h = test_header();
	struct snap_writer *w;
	struct fail         why = { 0 };
	uint8_t             content[16];
	int                 fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	int rc = snap_writer_open(&w, fd, &h, 0, "full.vms", &why);
	if (rc == 0) {
		rc = snap_writer_config(w, config, config_len, &why) || snap_writer_state(w, state, sizeof(state), &why) ||
		     snap_writer_end(w, content, &why);
		snap_writer_close(w);
	}
	ok(rc && why.kind == FAIL_SYSTEM && why.sys == ENOSPC && strstr(why.what, "full.vms"), "a full disk is said so");
	close(fd);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	batch = aligned_alloc(4096, (sizeof(*batch) + 4095) / 4096 * 4096);
	make_config();
	test_round_trips();
	test_pipe();
	test_header_flag();
	test_flips();
	test_hostile();
	test_state_only();
	test_order();
	test_disk_full();
	free(batch);
	printf("1..%u\n", ntests);
	return nfailed ? 1 : 0;
}
