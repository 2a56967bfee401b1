/* SPDX-License-Identifier: MIT */
/* mksnap [options] OUT: writes a small valid snapshot of a plausible machine
 * (tests/unit/sample.c), the same bytes at each call with the same options. OUT "-" is standard
 * output. Memory, from the start of RAM:
 *   page 0           text
 *   pages 1 to N-1   by number mod 4: 0, 1 data, 2 zero, 3 untouched
 *   the last page    data
 * Three rounds: all; every 8th page anew; pages 0 and 4 anew. What came last counts (mksnap_fill).
 *
 *   --pages N          (32)        --level L       zstd (0: raw)
 *   --ram MIB          (64)        --state-only        --flat: that layout
 *   --uuid UUID        of the snapshot; --created NS its time
 *   --spoil WHAT       a snapshot whose hashes are right and whose content is not:
 *                      state    an invalid register
 *                      vm       header of another VM
 *                      escape   a kernel command line that clears the screen
 *                      stray    an unknown property and an unknown section of state
 *                      version  header of version 7
 *   --del NODE         left out of the state tree; --add NODE: one more in it;
 *                      --set NODE PROPERTY TEXT: another text there
 *   --arch N, --name NAME  of the header
 *   --tree config|state  only that tree, as a blob
 *   --images           with a kernel of 5000 bytes and an initrd of 300, in the snapshot
 *   --x86              of an x86-64-1 (tests/unit/sample_x86.c); nothing to be spoilt */
#include "format/snapshot/images.h"
#include "format/snapshot/snapshot.h"
#include "libcommon/bytes.h"
#include "libcommon/io.h"
#include "tests/unit/sample.h"
#include "tests/unit/tree_edit.h"

#include <fcntl.h>
#include <getopt.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct mksnap {
	uint64_t    pages, ram, low;      /* low: of region 0 */
	int         level;
	bool        state_only, images, flat;
	struct uuid uuid;
	uint64_t    created_ns;
	const char *tree, *spoil;
	const char *del, *add, *set[3], *name;
	uint32_t    arch;
	bool        x86;
};

static void mksnap_fill(uint8_t *page, uint64_t number, unsigned round)
{
	memset(page, 0, PAGE_SIZE_4K);
	if (number == 0) {
		snprintf((char *)page, PAGE_SIZE_4K, "vmferry sample, page 0, round %u\n", round);
		return;
	}
	for (unsigned i = 0; i < PAGE_SIZE_4K; i += 8)
		put_le64(page + i, number << 32 | (uint64_t)round << 24 | (i & 0x3f));
}

static int mksnap_round(struct snap_writer *w, const struct mksnap *o, unsigned round,
			struct fail *why)
{
	struct page_batch *b    = aligned_alloc(4096, (sizeof(*b) + 4095) / 4096 * 4096);
	uint64_t           last = o->low / PAGE_SIZE_4K - 1;
	int                rc   = -1;

	if (!b)
		return fail_sys(why, "batch");
	page_batch_begin(b, 0);
	for (uint64_t p = 0; p < o->pages; p++) {
		if ((round == 1 && p % 8) || (round == 2 && p != 0 && p != 4) || p % 4 == 3)
			continue;
		if (page_batch_full(b)) {
			if (snap_writer_pages(w, b, why))
				goto out;
			page_batch_begin(b, 0);
		}
		if (p % 4 == 2) {
			page_batch_add_zero(b, p);
			continue;
		}
		mksnap_fill(page_batch_slot(b), p, round);
		page_batch_add_slot(b, p);
	}
	if (round == 0) {
		if (page_batch_full(b)) {
			if (snap_writer_pages(w, b, why))
				goto out;
			page_batch_begin(b, 0);
		}
		mksnap_fill(page_batch_slot(b), last, round);
		page_batch_add_slot(b, last);
	}
	if (snap_writer_pages(w, b, why) || snap_writer_round_end(w, why))
		goto out;
	rc = 0;
out:
	free(b);
	return rc;
}

static const struct {
	const char     *name;
	enum host_class cls;
	uint64_t        len;
} mksnap_images[] = {
	{ "kernel", HOST_KERNEL, 5000 },
	{ "initrd", HOST_INITRD, 300 },
};
#define MKSNAP_IMAGES (sizeof(mksnap_images) / sizeof(mksnap_images[0]))
static uint8_t mksnap_image[MKSNAP_IMAGES][5000];

static void mksnap_hosts(struct machine *m)
{
	for (size_t i = 0; i < MKSNAP_IMAGES; i++) {
		struct machine_host *h = &m->hosts[m->nhosts++];
		XXH128_canonical_t   digest;

		for (uint64_t k = 0; k < mksnap_images[i].len; k++)
			mksnap_image[i][k] = (uint8_t)(k * 5 + k / 256 + i);
		*h = (struct machine_host){ .cls      = mksnap_images[i].cls,
					    .readonly = true,
					    .size     = mksnap_images[i].len };
		snprintf(h->name, sizeof(h->name), "%s", mksnap_images[i].name);
		snprintf(h->path, sizeof(h->path), "/srv/vm/%s", mksnap_images[i].name);
		XXH128_canonicalFromHash(&digest, XXH3_128bits(mksnap_image[i], h->size));
		memcpy(h->digest, digest.digest, sizeof(h->digest));
	}
}

static int mksnap_write_images(struct snap_writer *w, struct fail *why)
{
	for (size_t i = 0; i < MKSNAP_IMAGES; i++)
		if (snap_writer_image(w, mksnap_images[i].name, mksnap_image[i],
				      mksnap_images[i].len, why))
			return -1;
	return 0;
}

static int mksnap_spoil(const struct mksnap *o, void *fdt, size_t *len, struct fail *why)
{
	const char *what = o->spoil;
	int         err  = 0;

	if (o->del) {
		err = fdt_del_node(fdt, fdt_path_offset(fdt, o->del));
	} else if (o->add) {
		const char *slash = strrchr(o->add, '/');

		err = fdt_open_into(fdt, fdt, LIMIT_TREE_BYTES);
		/* By fdt_set_name(): to fdt_add_subnode() cpu and cpu@1 are the same. */
		if (!err)
			err = fdt_add_subnode(fdt, fdt_path_offset_namelen(fdt, o->add,
					      slash == o->add ? 1 : (int)(slash - o->add)), "new");
		err = err < 0 ? err : fdt_set_name(fdt, err, slash + 1);
	} else if (o->set[0]) {
		err = fdt_open_into(fdt, fdt, LIMIT_TREE_BYTES);
		if (!err)
			err = fdt_setprop(fdt, fdt_path_offset(fdt, o->set[0]), o->set[1],
					  o->set[2], (int)strlen(o->set[2]) + 1);
	} else if (!strcmp(what, "state")) {
		err = fdt_setprop_inplace_u32(fdt, fdt_path_offset(fdt, "/cpus/cpu@0/state/hart"),
					      "scounteren", 0xffff);
	} else if (!strcmp(what, "stray")) {
		err = fdt_open_into(fdt, fdt, LIMIT_TREE_BYTES);
		if (!err)
			err = fdt_setprop_string(fdt, fdt_path_offset(fdt, "/vm"), "vendor,extra",
						 "x\033y");
		if (!err)
			err = fdt_setprop_u32(fdt, fdt_add_subnode(fdt,
					      fdt_path_offset(fdt, "/vm/state"), "moon"),
					      "phase", 3);
	}
	if (o->del || o->add || *what || o->set[0]) {
		tree_edit_pack(fdt);
		*len = fdt_totalsize(fdt);
	}
	return err ? fail_set(why, FAIL_USAGE, "spoil: %s", fdt_strerror(err)) : 0;
}

/* The header of a later version: its hash is right. */
static int mksnap_version(int fd, const char *what, struct fail *why)
{
	uint8_t h[SNAP_HEADER_BYTES];

	if (io_pread(fd, h, sizeof(h), 0, what, why))
		return -1;
	put_le32(h + 8, 7);
	put_le64(h + 4088, XXH3_64bits(h, 4088));
	return io_pwrite(fd, h, sizeof(h), 0, what, why);
}

static int mksnap_write(const struct mksnap *o, struct sample *s, int fd, const char *what,
			struct fail *why)
{
	struct snap_header h = { .arch = o->arch,
				 .vm = s->m.uuid,
				 .snapshot = o->uuid,
				 .creator = "mksnap",
				 .created_ns = (int64_t)o->created_ns,
				 .required = o->state_only ? SNAP_STATE_ONLY : 0 };
	const struct snap_writer_options wo = { .level  = o->level,
						.layout = o->flat ? SNAP_FLAT : SNAP_CHUNKED };
	struct snap_writer *w = NULL;
	uint8_t            *tree[2] = { malloc(LIMIT_TREE_BYTES), malloc(LIMIT_TREE_BYTES) };
	struct snap_digests digests;
	size_t              len[2];
	int                 rc = -1;

	snprintf(h.name, sizeof(h.name), "%s", o->name);
	if (o->images)
		mksnap_hosts(&s->m);
	if (!tree[0] || !tree[1]) {
		fail_sys(why, "trees");
		goto out;
	}
	if (!strcmp(o->spoil, "escape"))
		strcpy(s->m.append, "\033[2Jconsole");
	if (machine_write(&s->m, tree[0], LIMIT_TREE_BYTES, &len[0], why))
		goto out;
	if (!strcmp(o->spoil, "vm"))
		h.vm.b[0] ^= 1;
	if (machine_write_state(&s->m, &s->sections, tree[1], LIMIT_TREE_BYTES, &len[1], why))
		goto out;
	if (mksnap_spoil(o, tree[1], &len[1], why))
		goto out;
	if (o->tree) {
		int which = strcmp(o->tree, "config") != 0;

		rc = io_write(fd, tree[which], len[which], what, why);
		goto out;
	}
	if (snap_writer_open(&w, fd, &h, &wo, what, why) ||
	    snap_writer_config(w, tree[0], len[0], why))
		goto out;
	if (o->images && mksnap_write_images(w, why))
		goto out;
	for (unsigned round = 0; round < 3 && !o->state_only; round++)
		if (mksnap_round(w, o, round, why))
			goto out;
	if (snap_writer_state(w, tree[1], len[1], why) || snap_writer_end(w, &digests, why))
		goto out;
	rc = !strcmp(o->spoil, "version") ? mksnap_version(fd, what, why) : 0;
out:
	snap_writer_close(w);
	free(tree[0]);
	free(tree[1]);
	return rc;
}

static const struct option longs[] = {
	{ "pages", 1, NULL, 'p' },      { "level", 1, NULL, 'l' },  { "ram", 1, NULL, 'r' },
	{ "state-only", 0, NULL, 's' }, { "uuid", 1, NULL, 'u' },   { "created", 1, NULL, 'c' },
	{ "tree", 1, NULL, 't' },       { "spoil", 1, NULL, 'x' },  { "x86", 0, NULL, 'i' },
	{ "del", 1, NULL, 'd' },        { "set", 1, NULL, 'e' },    { "arch", 1, NULL, 'a' },
	{ "flat", 0, NULL, 'f' },
	{ "name", 1, NULL, 'n' },       { "images", 0, NULL, 'm' }, { "add", 1, NULL, 'A' },
	{ NULL, 0, NULL, 0 },
};

int main(int argc, char **argv)
{
	struct mksnap o = { .pages = 32,
			    .ram = SAMPLE_RAM,
			    .created_ns = UINT64_C(1795219201000000000),
			    .spoil = "",
			    .name = "sample" };
	struct fail   why;
	bool          good = uuid_parse(&o.uuid, "0f0e0d0c-0b0a-4908-8706-050403020100");

	for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;)
		switch (c) {
		case 'p': o.pages = strtoull(optarg, NULL, 0); break;
		case 'l': o.level = atoi(optarg); break;
		case 'r': o.ram = strtoull(optarg, NULL, 0) << 20; break;
		case 's': o.state_only = true; break;
		case 'f': o.flat = true; break;
		case 'u': good = uuid_parse(&o.uuid, optarg); break;
		case 'c': o.created_ns = strtoull(optarg, NULL, 0); break;
		case 't': o.tree = optarg; break;
		case 'x': o.spoil = optarg; break;
		case 'i': o.x86 = true; break;
		case 'd': o.del = optarg; break;
		case 'A': o.add = optarg; break;
		case 'e':
			o.set[0] = optarg;
			good     = argc - optind >= 3;
			o.set[1] = good ? argv[optind++] : NULL;
			o.set[2] = good ? argv[optind++] : NULL;
			break;
		case 'a': o.arch = (uint32_t)strtoul(optarg, NULL, 0); break;
		case 'm': o.images = true; break;
		case 'n': o.name = optarg; break;
		default:  good = false;
		}
	if (!good || optind != argc - 1 || o.ram == 0 || o.pages >= o.ram / PAGE_SIZE_4K) {
		fprintf(stderr, "usage: mksnap [options] OUT\n");
		return 2;
	}
	if (!o.arch)
		o.arch = o.x86 ? 62 : 243;

	bool           standard = strcmp(argv[optind], "-") == 0;
	int            fd = standard ? STDOUT_FILENO
			    : open(argv[optind], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	struct sample *s = o.x86 ? sample_make_x86(o.ram) : sample_make(o.ram);
	int            rc;

	if (fd < 0)
		return fail_sys(&why, "%s", argv[optind]), fail_report("mksnap", &why);
	o.low = s->m.regions[0].size;
	rc = mksnap_write(&o, s, fd, argv[optind], &why);
	free(s);
	return rc ? fail_report("mksnap", &why) : 0;
}
