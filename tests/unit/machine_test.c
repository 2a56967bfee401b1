/* SPDX-License-Identifier: MIT */
/* The VM tree: what is written is read again; hostile trees are refused with the reason. */
#include "tests/unit/sample.h"
#include "tests/unit/tap.h"
#include "tests/unit/tree_edit.h"
#include "tests/unit/zero_state.h"

#include "format/snapshot/snapshot.h"
#include "libcommon/bytes.h"

#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM (256u << 10)
static _Alignas(8) uint8_t blob[ROOM], scratch[ROOM];
static size_t              blob_len;
static struct machine      got;

/* A fresh tree of the sample, open for editing. */
static void fresh(struct sample *s, bool state)
{
	struct fail why;

	if (state ? machine_write_state(&s->m, &s->sections, scratch, sizeof(scratch), &blob_len,
					&why)
		  : machine_write(&s->m, scratch, sizeof(scratch), &blob_len, &why)) {
		printf("Bail out! %s\n", why.what);
		exit(1);
	}
	fdt_open_into(scratch, blob, sizeof(blob));
}

static int node(const char *path)
{
	return fdt_path_offset(blob, path);
}

static bool read_refused(enum fail_kind kind, const char *what)
{
	struct fail           why = { 0 };
	static struct machine before;

	memset(&got, 0x5a, sizeof(got));
	before = got;
	tree_edit_pack(blob);
	if (machine_read(&got, blob, fdt_totalsize(blob), &why) != -1 || why.kind != kind ||
	    strcmp(why.what, what)) {
		printf("# kind %d: %s\n", why.kind, why.what);
		return false;
	}
	return memcmp(&got, &before, sizeof(got)) == 0;
}

static bool write_refused(const struct machine *m, enum fail_kind kind, const char *what)
{
	struct fail why = { 0 };
	size_t      len;

	if (machine_write(m, scratch, sizeof(scratch), &len, &why) != -1 ||
	    why.kind != kind || strcmp(why.what, what)) {
		printf("# kind %d: %s\n", why.kind, why.what);
		return false;
	}
	return true;
}

/* got is the machine m without the facts of the pause. */
static bool is_config(const struct machine *m)
{
	static struct machine want;

	want = *m;
	for (uint32_t i = 0; i < want.nhosts; i++) {
		struct machine_host *h = &want.hosts[i];

		h->size = h->mtime_ns = h->written = 0;
		memset(h->digest, 0, sizeof(h->digest));
		memset(h->instance, 0, sizeof(h->instance));
	}
	return memcmp(&got, &want, sizeof(got)) == 0;
}

static void test_round_trip(struct sample *s)
{
	struct fail     why;
	size_t          len, again;
	static uint8_t  other[ROOM] __attribute__((aligned(8)));
	struct sample  *zero = sample_make(SAMPLE_RAM), *keep = sample_make(SAMPLE_RAM);
	struct machine_sections sections = s->sections;
	const size_t    first = offsetof(struct sample, clock),
			saved = offsetof(struct sample, sections) - first;

	ok(machine_write(&s->m, scratch, sizeof(scratch), &len, &why) == 0 &&
	   machine_read(&got, scratch, len, &why) == 0 && is_config(&s->m),
	   "a configuration comes back as it was, without what is of the moment");
	ok(fdt_path_offset(scratch, "/vm/state") < 0, "a configuration has no state");
	memcpy(other + 1, scratch, len);
	ok(machine_read(&got, other + 1, len, &why) == 0, "a tree at an odd address is read");
	ok(machine_write_state(&s->m, &sections, scratch, sizeof(scratch), &len, &why) == 0 &&
	   machine_read_state(&got, scratch, len, &why) == 0 &&
	   memcmp(&got, &s->m, sizeof(got)) == 0,
	   "the state brings what is of the moment");
	ok(machine_read(&got, scratch, len, &why) == -1 && why.kind == FAIL_CORRUPT,
	   "the state alone is no machine");
	sections.stopped = true;
	ok(machine_write_state(&s->m, &sections, other, sizeof(other), &again, &why) == 0 &&
	   machine_read_state(&got, other, again, &why) == 0 && got.stopped &&
	   !got.reset_pending,
	   "that the VM had been stopped is in the state");
	sections.reset_pending = true;
	ok(machine_write_state(&s->m, &sections, other, sizeof(other), &again, &why) == 0 &&
	   machine_read_state(&got, other, again, &why) == 0 && got.reset_pending && got.stopped,
	   "a reset that is pending, likewise");
	sections.stopped = false;
	ok(machine_write_state(&s->m, &sections, other, sizeof(other), &again, &why) == -1,
	   "and of a stopped VM only");
	ok(machine_write(&got, other, sizeof(other), &again, &why) == 0 &&
	   machine_read(&got, other, again, &why) == 0 && is_config(&s->m),
	   "the configuration has neither");
	ok(machine_write_state(&s->m, &s->sections, scratch, sizeof(scratch), &len, &why) == 0 &&
	   machine_read_state(&got, scratch, len, &why) == 0 && !got.stopped,
	   "a VM that ran is not stopped");
	memset((uint8_t *)zero + first, 0, saved);
	ok(machine_load_state(&zero->m, &zero->sections, scratch, len, &why) == 0 &&
	   machine_write_state(&zero->m, &zero->sections, other, sizeof(other), &again,
			       &why) == 0 &&
	   again == len && memcmp(other, scratch, len) == 0,
	   "state comes back: the same machine writes the same tree again");
	s->harts[1].pc ^= 4;
	fresh(s, true);
	fdt_setprop_u32(blob, node("/soc/virtio-rng@10003000/state/virtio"), "isr", 4);
	s->harts[1].pc ^= 4;
	tree_edit_pack(blob);
	ok(machine_load_state(&keep->m, &keep->sections, blob, fdt_totalsize(blob), &why) == -1 &&
	   memcmp((uint8_t *)keep + first, (uint8_t *)s + first, saved) == 0 &&
	   strcmp(why.what,
		  "virtio-rng@10003000: virtio: isr: 0x4 out of range (valid: 0x0 to 0x3)") == 0,
	   "one bad value in the last device leaves all state alone");
	free(zero);
	free(keep);
}

static bool load_refused(struct sample *s, enum fail_kind kind, const char *what)
{
	struct fail why = { 0 };

	tree_edit_pack(blob);
	if (machine_load_state(&s->m, &s->sections, blob, fdt_totalsize(blob), &why) != -1 ||
	    why.kind != kind || strcmp(why.what, what)) {
		printf("# kind %d: %s\n", why.kind, why.what);
		return false;
	}
	return true;
}

static void test_state_refused(struct sample *s)
{
	fresh(s, false);
	ok(load_refused(s, FAIL_CORRUPT, "vm: missing state"),
	   "a tree without state is not loaded");
	fresh(s, true);
	fdt_del_node(blob, node("/cpus/cpu@1/state/hart"));
	ok(load_refused(s, FAIL_CORRUPT, "cpu@1: missing hart"), "every part must be there");
	fresh(s, true);
	fdt_add_subnode(blob, node("/soc/virtio-blk@10001000/state"), "virtqueue@1");
	ok(load_refused(s, FAIL_VERSION,
			"virtio-blk@10001000: state 'virtqueue@1' not part of this machine"),
	   "state of an unknown part is refused");
	fresh(s, true);
	fdt_set_name(blob, node("/soc/sifive-plic@c000000/state/plic-context@1"), "plic-context@0");
	ok(load_refused(s, FAIL_CORRUPT,
			"VM tree: /soc/sifive-plic@c000000/state: duplicate node name"),
	   "two parts of one name are refused");
}

/* ok() of a claim with a name in it. */
static void ok_of(bool good, const char *claim, const char *node, const char *name)
{
	char text[160];

	snprintf(text, sizeof(text), "%s: %s %s", claim, node, name);
	ok(good, text);
}

static bool state_refused(struct sample *s, enum fail_kind kind, const char *what)
{
	struct fail           why = { 0 };
	static struct machine before;

	got    = s->m;
	before = got;
	tree_edit_pack(blob);
	if (machine_read_state(&got, blob, fdt_totalsize(blob), &why) != -1 || why.kind != kind ||
	    strcmp(why.what, what)) {
		printf("# kind %d: %s\n", why.kind, why.what);
		return false;
	}
	return memcmp(&got, &before, sizeof(got)) == 0;
}

/* What the configuration has already, and what it does not have. */
static void test_state_names(struct sample *s)
{
	static const struct {
		const char *node, *property, *what;
	} repeats[] = {
		{ "/", "compatible", "VM tree: /: compatible: repeats the configuration" },
		{ "/vm", "uuid", "VM tree: /vm: uuid: repeats the configuration" },
		{ "/cpus", "#size-cells",
		  "VM tree: /cpus: #size-cells: repeats the configuration" },
		{ "/cpus/cpu@1", "reg", "VM tree: /cpus/cpu@1: reg: repeats the configuration" },
		{ "/soc", "ranges", "VM tree: /soc: ranges: repeats the configuration" },
		{ "/soc/ns16550a@10000000", "interrupts",
		  "VM tree: /soc/ns16550a@10000000: interrupts: repeats the configuration" },
		{ "/host/root", "read-only",
		  "VM tree: /host/root: read-only: repeats the configuration" },
	};
	static const struct {
		const char *parent, *name, *what;
	} strangers[] = {
		{ "/cpus", "cpu@2", "VM tree: /cpus/cpu@2: not in the configuration" },
		{ "/cpus", "cpu@01", "VM tree: /cpus/cpu@01: not in the configuration" },
		{ "/cpus", "cpu@", "VM tree: /cpus/cpu@: not in the configuration" },
		{ "/cpus", "cpu", "VM tree: /cpus/cpu: not in the configuration" },
		{ "/soc", "uart@1", "VM tree: /soc/uart@1: not in the configuration" },
		{ "/host", "disk2", "VM tree: /host/disk2: not in the configuration" },
		{ "/host", "rng", "VM tree: /host/rng: not a disk in the configuration" },
		{ "/", "memory", "VM tree: /memory: region: repeats the configuration" },
	};
	static const struct {
		const char *node, *what;
	} missing[] = {
		{ "/vm", "VM tree: missing /vm" },
		{ "/vm/state", "vm: missing state" },
		{ "/cpus/cpu@0", "VM tree: missing /cpus/cpu@0" },
		{ "/cpus/cpu@0/state/hart", "cpu@0: missing hart" },
		{ "/soc/ns16550a@10000000", "ns16550a@10000000: missing state" },
		{ "/soc/virtio-rng@10003000/state/virtio", "virtio-rng@10003000: missing virtio" },
		{ "/host/root", "VM tree: missing /host/root" },
	};
	struct fail why;

	for (size_t i = 0; i < sizeof(repeats) / sizeof(repeats[0]); i++) {
		fresh(s, true);
		fdt_setprop(blob, node(repeats[i].node), repeats[i].property, "x", 2);
		ok_of(state_refused(s, FAIL_CORRUPT, repeats[i].what),
		      "a state that repeats the configuration is refused", repeats[i].node,
		      repeats[i].property);
	}
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		fresh(s, true);
		/* By fdt_set_name(): to fdt_add_subnode() cpu and cpu@1 are the same. */
		fdt_set_name(blob, fdt_add_subnode(blob, node(strangers[i].parent), "new"),
			     strangers[i].name);
		ok_of(state_refused(s, FAIL_CORRUPT, strangers[i].what),
		      "a state with what the configuration has not is refused",
		      strangers[i].parent, strangers[i].name);
	}
	for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
		fresh(s, true);
		fdt_del_node(blob, node(missing[i].node));
		ok_of(state_refused(s, FAIL_CORRUPT, missing[i].what),
		      "a state in which something is missing is refused", missing[i].node, "");
	}
	fresh(s, true);
	fdt_setprop(blob, node("/vm"), "vmferry,reset-pending", NULL, 0);
	ok(state_refused(s, FAIL_CORRUPT,
			 "VM tree: /vm: vmferry,reset-pending without vmferry,stopped"),
	   "a pending reset of a VM that would run is refused");
	fresh(s, true);
	fdt_setprop(blob, node("/vm"), "vmferry,stopped", NULL, 0);
	fdt_setprop_u32(blob, node("/vm"), "vmferry,reset-pending", 1);
	ok(state_refused(s, FAIL_CORRUPT, "VM tree: /vm: vmferry,reset-pending: "
			 "invalid length: 4 bytes, expected 0"),
	   "and one with a value");
	fresh(s, true);
	fdt_delprop(blob, node("/host/root"), "instance");
	ok(state_refused(s, FAIL_CORRUPT, "VM tree: /host/root: missing instance"),
	   "a count of writes without what it is of is refused");
	fresh(s, true);
	fdt_setprop_u32(blob, 0, "needs", 2);
	fdt_setprop_u32(blob, 0, "version", 2);
	ok(state_refused(s, FAIL_VERSION,
			 "VM tree: unsupported version: needs reader version 2, this build has 1"),
	   "a state from the future is refused with both versions");
	fresh(s, true);
	fdt_setprop_string(blob, node("/vm"), "vendor,extra", "x");
	fdt_add_subnode(blob, 0, "chosen");
	fdt_add_subnode(blob, node("/cpus"), "topology");
	tree_edit_pack(blob);
	ok(machine_read_state(&s->m, blob, fdt_totalsize(blob), &why) == 0,
	   "unknown properties and nodes are passed over");
	fresh(s, true);
	/* libfdt puts a new node in front of the others. */
	fdt_del_node(blob, node("/cpus/cpu@0/state/hart"));
	fdt_set_name(blob, node("/cpus/cpu@1"), "cpu@x");
	fdt_set_name(blob, node("/cpus/cpu@0"), "cpu@1");
	fdt_set_name(blob, node("/cpus/cpu@x"), "cpu@0");
	ok(state_refused(s, FAIL_CORRUPT, "cpu@1: missing hart"),
	   "the order of the nodes has no meaning");
}

static void test_write_refused(struct sample *s)
{
	struct machine *m = malloc(sizeof(*m));
	struct fail     why;
	size_t          len;

	*m = s->m;
	m->regions[m->nregions++] = (struct machine_region){ .id = 1,
							     .kind = REGION_ROM,
							     .name = "rom",
							     .gpa = 0x80000000 + SAMPLE_RAM - 4096,
							     .size = 8192,
							     .page_size = 4096 };
	ok(write_refused(m, FAIL_CORRUPT, "regions 0 and 1: overlap"),
	   "overlapping regions are refused");
	m->regions[1].gpa = 0xfffffffffffff000;
	ok(write_refused(m, FAIL_CORRUPT, "region 1: invalid address 0xfffffffffffff000"),
	   "a region that wraps around is refused");
	m->regions[1].size = 4096;
	ok(machine_write(m, scratch, sizeof(scratch), &len, &why) == 0 &&
	   machine_read(&got, scratch, len, &why) == 0,
	   "a region may end at the end of all addresses");
	m->regions[1] = (struct machine_region){ .id = 1,
						 .kind = REGION_DISK,
						 .name = "disk",
						 .size = 8192,
						 .page_size = 4096 };
	ok(machine_write(m, scratch, sizeof(scratch), &len, &why) == 0 &&
	   machine_read(&got, scratch, len, &why) == 0 && is_config(m),
	   "a disk's region has no address and comes back");
	strcpy(m->regions[1].name, "ram");
	ok(write_refused(m, FAIL_CORRUPT, "regions 0 and 1: both named ram"),
	   "two regions of one name are refused");
	m->regions[1].id = 0;
	ok(write_refused(m, FAIL_CORRUPT, "region 0: must be main RAM"), "region 0 is main RAM");
	*m = s->m;
	m->regions[0].gpa += 2048;
	ok(write_refused(m, FAIL_CORRUPT, "region 0: invalid address 0x80000800"),
	   "an address inside a page is refused");
	*m = s->m;
	m->regions[0].size = LIMIT_REGION_BYTES + 4096;
	ok(write_refused(m, FAIL_LIMIT, "region 0: invalid size: 17592186048512 bytes"),
	   "a region above the limit is refused");
	*m = s->m;
	m->regions[m->nregions++] = (struct machine_region){ .id = 1,
							     .kind = REGION_RAM,
							     .name = "high",
							     .gpa = (uint64_t)1 << 50,
							     .size = LIMIT_REGION_BYTES,
							     .page_size = 4096 };
	ok(write_refused(m, FAIL_LIMIT,
			 "machine: 17592253153280 bytes of memory "
			 "exceed the limit of 17592186044416"),
	   "regions that are too large together are refused");
	*m = s->m;
	m->devices[5].gpa = m->devices[4].gpa + 0xfff;
	ok(write_refused(m, FAIL_CORRUPT,
			 "virtio-console@10002000 and virtio-rng@10002fff: overlap"),
	   "overlapping windows are refused");
	*m = s->m;
	m->devices[5].gpa = 0x80000000 - 0xfff;
	ok(write_refused(m, FAIL_CORRUPT, "virtio-rng@7ffff001: overlaps region 0"),
	   "a window in RAM is refused");
	*m = s->m;
	m->devices[5].slot = 0;
	ok(write_refused(m, FAIL_CORRUPT,
			 "virtio-blk@10001000 and virtio-rng@10003000: both in slot 0"),
	   "two devices in one slot are refused");
	*m = s->m;
	strcpy(m->devices[5].host, "nobody");
	ok(write_refused(m, FAIL_CORRUPT, "virtio-rng@10003000: missing host resource 'nobody'"),
	   "a device's host resource must be there");
	*m = s->m;
	strcpy(m->hosts[2].name, "root");
	ok(write_refused(m, FAIL_CORRUPT, "duplicate host resource root"),
	   "two host resources of one name are refused");
	*m = s->m;
	strcpy(m->name, "../etc");
	ok(write_refused(m, FAIL_CORRUPT, "machine: invalid VM name '../etc'"),
	   "a name must be a name");
	*m = s->m;
	m->ncpus = LIMIT_CPUS + 1;
	ok(write_refused(m, FAIL_LIMIT,
			 "machine: number of CPUs out of range: 513 (valid: 1 to 512)"),
	   "CPUs are limited");
	*m = s->m;
	ok(machine_write(m, scratch, 700, &len, &why) == -1 && why.kind == FAIL_LIMIT,
	   "a tree that does not fit is a limit");
	free(m);
}

static void test_read_refused(struct sample *s)
{
	const fdt64_t wrap[2] = { cpu_to_fdt64(0x10003000), cpu_to_fdt64(UINT64_MAX) };
	struct fail   why;

	fresh(s, false);
	fdt_setprop(blob, node("/soc/virtio-rng@10003000"), "reg", wrap, sizeof(wrap));
	ok(read_refused(FAIL_CORRUPT,
			"VM tree: virtio-rng@10003000: invalid register window: "
			"18446744073709551615 bytes"),
	   "a window that overflows is refused");
	fresh(s, false);
	fdt_setprop(blob, node("/soc/virtio-rng@10003000"), "reg", wrap, 12);
	ok(read_refused(FAIL_CORRUPT,
			"VM tree: /soc/virtio-rng@10003000: reg: "
			"invalid length: 12 bytes, expected 16"),
	   "a property of another length is refused");
	fresh(s, false);
	fdt_setprop(blob, node("/vm"), "append", "abc", 3);
	ok(read_refused(FAIL_CORRUPT, "VM tree: /vm: append: not a single NUL-terminated string"),
	   "text without NUL is refused");
	fresh(s, false);
	fdt_setprop(blob, node("/vm"), "vmferry,stopped", NULL, 0);
	ok(read_refused(FAIL_CORRUPT, "VM tree: /vm: vmferry,stopped: valid in the state only"),
	   "a configuration does not say that the VM was stopped");
	fresh(s, false);
	fdt_setprop(blob, node("/vm"), "vmferry,reset-pending", NULL, 0);
	ok(read_refused(FAIL_CORRUPT,
			"VM tree: /vm: vmferry,reset-pending: valid in the state only"),
	   "nor that a reset is pending");
	fresh(s, false);
	fdt_setprop_u64(blob, node("/host/root"), "size", 4096);
	ok(read_refused(FAIL_CORRUPT, "VM tree: /host/root: size: valid in the state only"),
	   "nor what a disk was at the pause");
	fresh(s, false);
	fdt_add_subnode(blob, node("/cpus/cpu@1"), "state");
	ok(read_refused(FAIL_CORRUPT,
			"VM tree: /cpus/cpu@1: state: not valid in a configuration"),
	   "nor has it a state node");
	fresh(s, false);
	fdt_setprop(blob, node("/vm"), "vmferry,features", "nested\0huge", 12);
	ok(read_refused(FAIL_VERSION,
			"VM tree: /vm: feature 'nested' not supported by this build"),
	   "a feature that is not known is refused by name");
	fresh(s, false);
	fdt_setprop(blob, node("/vm"), "vmferry,features", "nested", 6);
	ok(read_refused(FAIL_CORRUPT, "VM tree: /vm: vmferry,features: not a list of names"),
	   "a list of features without its end is refused");
	fresh(s, false);
	fdt_setprop(blob, node("/vm"), "vmferry,features", NULL, 0);
	ok(read_refused(FAIL_CORRUPT, "VM tree: /vm: vmferry,features: not a list of names"),
	   "and an empty one");
	fresh(s, false);
	fdt_setprop(blob, node("/host/root"), "path", "/a\0/b", 6);
	ok(read_refused(FAIL_CORRUPT,
			"VM tree: /host/root: path: not a single NUL-terminated string"),
	   "a path with a NUL inside is refused");
	fresh(s, false);
	fdt_setprop(blob, node("/vm"), "uuid", "abc", 3);
	ok(read_refused(FAIL_CORRUPT, "VM tree: /vm: uuid: invalid length: 3 bytes, expected 16"),
	   "a short uuid is refused");
	fresh(s, false);
	fdt_set_name(blob, node("/soc/virtio-rng@10003000"), "virtio-rng@10003001");
	ok(read_refused(FAIL_CORRUPT,
			"VM tree: /soc/virtio-rng@10003001: expected the name virtio-rng@10003000"),
	   "a name that lies about its address is refused");
	fresh(s, false);
	fdt_set_name(blob, node("/cpus/cpu@1"), "cpu@0");
	ok(read_refused(FAIL_CORRUPT, "VM tree: /cpus: duplicate node name"),
	   "two nodes of one name are refused");
	fresh(s, false);
	fdt_setprop_u32(blob, node("/cpus/cpu@1"), "reg", 0);
	ok(read_refused(FAIL_CORRUPT, "VM tree: /cpus/cpu@1: reg is 0"),
	   "a CPU's number is its place");
	fresh(s, false);
	fdt_setprop_string(blob, node("/cpus/cpu@1"), "riscv,isa", "rv32i");
	ok(read_refused(FAIL_VERSION, "VM tree: /cpus/cpu@1: riscv,isa differs from that of cpu@0"),
	   "CPUs of two kinds are refused");
	fresh(s, false);
	fdt_setprop_u32(blob, 0, "needs", 2);
	fdt_setprop_u32(blob, 0, "version", 2);
	ok(read_refused(FAIL_VERSION,
			"VM tree: unsupported version: needs reader version 2, this build has 1"),
	   "a tree from the future is refused with both versions");
	fresh(s, false);
	fdt_setprop_string(blob, 0, "compatible", "vmferry,vax-1");
	ok(read_refused(FAIL_VERSION,
			"VM tree: machine 'vmferry,vax-1' not supported by this build"),
	   "an unknown machine is refused");
	fresh(s, false);
	fdt_setprop_string(blob, node("/host/root"), "class", "tape");
	ok(read_refused(FAIL_VERSION, "VM tree: /host/root: class: unsupported value 'tape'"),
	   "an unknown class is refused");
	fresh(s, false);
	fdt_del_node(blob, node("/memory@80000000"));
	ok(read_refused(FAIL_LIMIT,
			"VM tree: machine: number of regions out of range: 0 (valid: 1 to 16)"),
	   "a machine without RAM is refused");
	fresh(s, false);
	fdt_setprop_u32(blob, node("/memory@80000000"), "vmferry,region", 1);
	ok(read_refused(FAIL_CORRUPT, "VM tree: region 0: missing main RAM"),
	   "main RAM is region 0");
	fresh(s, false);
	fdt_setprop_u32(blob, node("/memory@80000000"), "vmferry,page-size", 0);
	ok(read_refused(FAIL_LIMIT,
			"VM tree: region 0: unsupported page size: 0 bytes (supported: 4096)"),
	   "a page size of 0 is refused");
	fresh(s, false);
	for (int i = 0; i < 70; i++) {
		char name[16];

		snprintf(name, sizeof(name), "h%d", i);
		int n = fdt_add_subnode(blob, node("/host"), name);

		fdt_setprop_string(blob, n, "class", "rng");
		fdt_setprop_string(blob, n, "path", "");
	}
	ok(read_refused(FAIL_LIMIT, "VM tree: more than 64 host resources"),
	   "counts are bounded while reading");
	fresh(s, false);
	fdt_setprop_string(blob, node("/vm"), "vendor,extra", "x");
	fdt_add_subnode(blob, 0, "chosen");
	tree_edit_pack(blob);
	ok(machine_read(&got, blob, fdt_totalsize(blob), &why) == 0 &&
	   is_config(&s->m),
	   "unknown properties and nodes are passed over");
}

/* As many CPUs as there may be, each with a section of the interrupt controller. */
static void test_most(struct sample *s)
{
	struct machine *m    = malloc(sizeof(*m));
	uint8_t        *tree = aligned_alloc(8, LIMIT_TREE_BYTES);
	struct fail     why  = { 0 };
	size_t          len;

	*m       = s->m;
	m->ncpus = LIMIT_CPUS;
	ok(machine_write(m, tree, LIMIT_TREE_BYTES, &len, &why) == 0 &&
	   machine_read(&got, tree, len, &why) == 0 && got.ncpus == 512,
	   "a configuration of 512 CPUs comes back");
	ok(zero_state_write(m, tree, LIMIT_TREE_BYTES, &len, &why) == 0 &&
	   machine_read_state(&got, tree, len, &why) == 0 &&
	   machine_check_state(m, tree, len, &why) == 0, "and so does their state");
	printf("# %zu bytes%s%s\n", len, why.what[0] ? ": " : "", why.what);
	free(tree);
	free(m);
}

static void test_same_shape(struct sample *s)
{
	struct machine *m = malloc(sizeof(*m));
	struct fail     why;

	*m = s->m;
	strcpy(m->append, "quiet");
	strcpy(m->hosts[1].path, "/elsewhere");
	ok(machine_same_shape(&s->m, m, &why) == 0,
	   "paths and command line may differ at a restore");
	m->ncpus = 4;
	ok(machine_same_shape(&s->m, m, &why) == -1 && why.kind == FAIL_VERSION &&
	   strcmp(why.what, "CPUs: 2 here, 4 there") == 0,
	   "another number of CPUs is another machine");
	*m = s->m;
	m->regions[0].size *= 2;
	ok(machine_same_shape(&s->m, m, &why) == -1 &&
	   strcmp(why.what, "region 0 (ram): 67108864 bytes here, 134217728 there") == 0,
	   "memory of another size is another machine");
	*m = s->m;
	m->devices[3].irq = 9;
	ok(machine_same_shape(&s->m, m, &why) == -1 &&
	   strcmp(why.what,
		  "virtio-blk@10001000: address, interrupt, slot or host resource differs") == 0,
	   "another interrupt is another machine");
	free(m);
}

/* Every bit of a tree flipped: refused with a reason, or read without harm (ASan watches). */
static void test_bits(struct sample *s, bool state)
{
	struct sample *into = sample_make(SAMPLE_RAM);
	bool           reasons = true, cut = true;
	size_t         len;
	struct fail    why;

	fresh(s, state);
	memcpy(blob, scratch, blob_len);
	len = blob_len;
	for (size_t i = 0; i < len; i++) {
		blob[i] ^= (uint8_t)(1u << i % 8);
		why = (struct fail){ 0 };
		got = s->m;
		if ((state ? machine_read_state(&got, blob, len, &why)
			   : machine_read(&got, blob, len, &why)) &&
		    (why.kind == FAIL_NONE || !why.what[0]))
			reasons = false;
		why = (struct fail){ 0 };
		if (state && i % 16 == 0 &&
		    machine_load_state(&into->m, &into->sections, blob, len, &why) &&
		    (why.kind == FAIL_NONE || !why.what[0]))
			reasons = false;
		blob[i] ^= (uint8_t)(1u << i % 8);
	}
	ok_of(reasons, "a damaged tree is refused with a reason or read without harm",
	      state ? "state" : "configuration", "");
	for (size_t i = 0; i < len; i++)
		cut &= (state ? machine_read_state(&got, blob, i, &why)
			      : machine_read(&got, blob, i, &why)) == -1;
	ok(cut, "one that is cut anywhere is refused");
	free(into);
}

/* A state's nodes have the configuration's names without its reg: dtc is not asked about that. */
static bool dtc_silent(const char *path, bool state)
{
	char  command[160], line[256];
	bool  silent = true;
	FILE *p;

	snprintf(command, sizeof(command), "dtc %s -I dtb -O dts -o /dev/null %s 2>&1",
		 state ? "-W no-unit_address_vs_reg" : "", path);
	p = popen(command, "r");
	while (p && fgets(line, sizeof(line), p)) {
		printf("# %s", line);
		silent = false;
	}
	return p && pclose(p) == 0 && silent;
}

/* A blob that dtc has written is in canonical form. */
static bool dtc_writes(const struct machine *m, const char *path, bool state)
{
	char        command[256];
	struct fail why;
	FILE       *p;
	size_t      len;

	snprintf(command, sizeof(command), "dtc -q -I dtb -O dtb %s", path);
	p   = popen(command, "r");
	len = p ? fread(blob, 1, sizeof(blob), p) : 0;
	got = *m;
	return p && pclose(p) == 0 && (state ? machine_read_state(&got, blob, len, &why)
					     : machine_read(&got, blob, len, &why)) == 0;
}

static void test_dtc(struct sample *s, bool state)
{
	const char *what = state ? "state" : "configuration";
	char        path[] = "/tmp/machine_test.XXXXXX";
	FILE       *f = fdopen(mkstemp(path), "w");

	fresh(s, state);
	if (system("command -v dtc >/dev/null 2>&1")) {
		skip("dtc has nothing to complain about", "no dtc");
	} else {
		ok_of(f && fwrite(scratch, 1, blob_len, f) == blob_len && fflush(f) == 0 &&
		      dtc_silent(path, state), "dtc has nothing to complain about", what, "");
		ok(dtc_writes(&s->m, path, state), "and what it writes is read");
	}
	if (f)
		fclose(f);
	remove(path);
}

int main(void)
{
	struct sample *s = sample_make(SAMPLE_RAM);

	test_round_trip(s);
	test_state_refused(s);
	test_state_names(s);
	test_write_refused(s);
	test_read_refused(s);
	test_most(s);
	test_same_shape(s);
	test_bits(s, false);
	test_bits(s, true);
	test_dtc(s, false);
	test_dtc(s, true);
	free(s);
	return done_testing();
}
