/* SPDX-License-Identifier: MIT */
/* The configuration and state of an x86-64 machine: what comes back from its tree, what is
 * refused, what differs. */
#include "format/state/x86_names.h"
#include "tests/unit/sample.h"
#include "tests/unit/tap.h"
#include "tests/unit/tree_edit.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY LIMIT_TREE_BYTES
static _Alignas(8) uint8_t blob[CAPACITY], scratch[CAPACITY], other[CAPACITY];
static struct machine      got;

static void fresh(struct sample *s, bool state)
{
	struct fail why;
	size_t      len;

	if (state ? machine_write_state(&s->m, &s->sections, scratch, sizeof(scratch), &len, &why)
		  : machine_write(&s->m, scratch, sizeof(scratch), &len, &why)) {
		printf("Bail out! %s\n", why.what);
		exit(1);
	}
	fdt_open_into(scratch, blob, sizeof(blob));
}

static int node(const char *path)
{
	return fdt_path_offset(blob, path);
}

static bool said(const struct fail *why, enum fail_kind kind, const char *what)
{
	if (why->kind == kind && strcmp(why->what, what) == 0)
		return true;
	printf("# kind %d: %s\n", why->kind, why->what);
	return false;
}

static bool read_refused(enum fail_kind kind, const char *what)
{
	struct fail           why = { 0 };
	static struct machine before;

	memset(&got, 0x5a, sizeof(got));
	before = got;
	tree_edit_pack(blob);
	return machine_read(&got, blob, fdt_totalsize(blob), &why) == -1 &&
	       said(&why, kind, what) && memcmp(&got, &before, sizeof(got)) == 0;
}

static bool write_refused(const struct machine *m, enum fail_kind kind, const char *what)
{
	struct fail why = { 0 };
	size_t      len;

	return machine_write(m, scratch, sizeof(scratch), &len, &why) == -1 &&
	       said(&why, kind, what);
}

static bool same_sections(const struct state_section *a, size_t na, const struct state_section *b,
			  size_t nb)
{
	uint32_t element;

	for (size_t i = 0; i < na && na == nb; i++)
		if (a[i].table != b[i].table || state_differs(a[i].table, a[i].s, b[i].s, &element))
			return false;
	return na == nb;
}

/* Field by field: padding between them may differ. */
static bool same_state(struct sample *a, struct sample *b)
{
	static struct state_section x[MACHINE_SECTIONS_MAX], y[MACHINE_SECTIONS_MAX];
	size_t nx = a->sections.vm_sections(a, x, MACHINE_SECTIONS_MAX);
	size_t ny = b->sections.vm_sections(b, y, MACHINE_SECTIONS_MAX);
	bool   same = same_sections(x, nx, y, ny);

	for (uint32_t i = 0; i < a->m.ncpus; i++) {
		nx   = a->sections.cpu_sections(a, i, x, MACHINE_SECTIONS_MAX);
		ny   = b->sections.cpu_sections(b, i, y, MACHINE_SECTIONS_MAX);
		same = same && same_sections(x, nx, y, ny);
	}
	for (uint32_t i = 0; i < a->m.ndevices; i++) {
		nx   = a->sections.device_sections(a, i, x, MACHINE_SECTIONS_MAX);
		ny   = b->sections.device_sections(b, i, y, MACHINE_SECTIONS_MAX);
		same = same && same_sections(x, nx, y, ny);
	}
	return same;
}

static void clear_sections(const struct state_section *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		memset(list[i].s, 0, list[i].table->size);
}

/* All that is saved, through its sections. */
static void clear_state(struct sample *s)
{
	static struct state_section list[MACHINE_SECTIONS_MAX];

	clear_sections(list, s->sections.vm_sections(s, list, MACHINE_SECTIONS_MAX));
	for (uint32_t i = 0; i < s->m.ncpus; i++)
		clear_sections(list, s->sections.cpu_sections(s, i, list, MACHINE_SECTIONS_MAX));
	for (uint32_t i = 0; i < s->m.ndevices; i++)
		clear_sections(list, s->sections.device_sections(s, i, list, MACHINE_SECTIONS_MAX));
}

static bool load_refused(struct sample *s, enum fail_kind kind, const char *what)
{
	struct sample *into = sample_make_x86(SAMPLE_RAM);
	struct fail    why = { 0 };
	bool           good;

	tree_edit_pack(blob);
	good = machine_load_state(&into->m, &into->sections, blob, fdt_totalsize(blob),
				  &why) == -1 && said(&why, kind, what) &&
	       same_state(into, s);
	free(into);
	return good;
}

static void test_round_trip(struct sample *s)
{
	struct sample *zero = sample_make_x86(SAMPLE_RAM);
	struct fail    why;
	size_t         len, again;

	ok(machine_write(&s->m, scratch, sizeof(scratch), &len, &why) == 0 &&
	   machine_read(&got, scratch, len, &why) == 0 &&
	   machine_write_state(&s->m, &s->sections, scratch, sizeof(scratch), &len, &why) == 0 &&
	   machine_read_state(&got, scratch, len, &why) == 0 &&
	   memcmp(&got, &s->m, sizeof(got)) == 0,
	   "CPUID, MSRs, XSAVE's size, model and TSC come back as they were");
	clear_state(zero);
	ok(machine_load_state(&zero->m, &zero->sections, scratch, len, &why) == 0 &&
	   same_state(zero, s),
	   "the state of vCPUs, chips and devices comes back, every field");
	ok(machine_write_state(&zero->m, &zero->sections, other, sizeof(other), &again,
			       &why) == 0 &&
	   again == len && memcmp(other, scratch, len) == 0,
	   "the same machine writes the same tree again");
	free(zero);
}

static void test_most(void)
{
	struct sample *s = sample_make_x86(SAMPLE_RAM);
	struct fail    why = { 0 };
	size_t         len = 0;

	s->m.ncpus = 128;
	for (s->m.ncpuid = 0; s->m.ncpuid < LIMIT_CPUID; s->m.ncpuid++)
		s->m.cpuid[s->m.ncpuid] = (struct machine_cpuid){ .leaf = s->m.ncpuid };
	for (s->m.nmsrs = 0; s->m.nmsrs < LIMIT_MSRS; s->m.nmsrs++)
		s->m.msrs[s->m.nmsrs] = s->m.nmsrs;
	ok(machine_write(&s->m, scratch, sizeof(scratch), &len, &why) == 0 &&
	   machine_read(&got, scratch, len, &why) == 0 &&
	   memcmp(&got, &s->m, sizeof(got)) == 0,
	   "as many answers, MSRs and CPUs as there may be come back");
	s->m.ncpus = 129;
	ok(write_refused(&s->m, FAIL_LIMIT,
			 "machine: number of CPUs out of range: 129 (valid: 1 to 128)"),
	   "more CPUs than a tree can hold are refused");
	free(s);
}

static size_t cpu_sections_of_two(void *arg, uint32_t cpu, struct state_section *out, size_t max)
{
	struct sample *s = arg;

	return s->sections.cpu_sections(s, cpu & 1, out, max);
}

/* Every reader of a tree, libfdt's own functions included, goes from tag to tag by this one. */
static uint64_t tags_read;

uint32_t fdt_next_tag(const void *fdt, int at, int *next)
{
	static uint32_t (*real)(const void *, int, int *);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "fdt_next_tag");
	tags_read++;
	return real(fdt, at, next);
}

static uint64_t tags_in(const void *fdt)
{
	uint64_t n = 1;

	for (int at = 0, next; fdt_next_tag(fdt, at, &next) != FDT_END; at = next)
		n++;
	return n;
}

#define MORE_NODES 200u
#define MORE_PROPS 500u

/* MORE_NODES unknown nodes of MORE_PROPS properties each, in front of the root's first child, in a
 * buffer of CAPACITY bytes. */
static void add_tags(uint8_t *fdt)
{
	uint32_t at      = fdt_off_dt_struct(fdt) + (uint32_t)fdt_first_subnode(fdt, 0);
	uint32_t strings = fdt_size_dt_strings(fdt), bytes = MORE_NODES * (16 + 12 * MORE_PROPS);
	uint8_t *p       = fdt + at;
	fdt32_t  prop[3] = { cpu_to_fdt32(FDT_PROP) };

	memmove(p + bytes, p, fdt_totalsize(fdt) - at);
	for (uint32_t n = 0; n < MORE_NODES; n++) {
		memcpy(p, &(fdt32_t){ cpu_to_fdt32(FDT_BEGIN_NODE) }, 4);
		snprintf((char *)p + 4, 8, "more%03u", n);
		p += 12;
		for (uint32_t i = 0; i < MORE_PROPS; i++, p += sizeof(prop)) {
			prop[2] = cpu_to_fdt32(strings + 5 * i);
			memcpy(p, prop, sizeof(prop));
		}
		memcpy(p, &(fdt32_t){ cpu_to_fdt32(FDT_END_NODE) }, 4);
		p += 4;
	}
	fdt_set_size_dt_struct(fdt, fdt_size_dt_struct(fdt) + bytes);
	fdt_set_off_dt_strings(fdt, fdt_off_dt_strings(fdt) + bytes);
	fdt_set_totalsize(fdt, fdt_totalsize(fdt) + bytes);
	for (uint32_t i = 0; i < MORE_PROPS; i++)
		snprintf((char *)fdt + fdt_totalsize(fdt) + 5 * i, 6, "p%03u", i);
	fdt_set_size_dt_strings(fdt, strings + 5 * MORE_PROPS);
	fdt_set_totalsize(fdt, fdt_totalsize(fdt) + 5 * MORE_PROPS);
}

/* What a reader does with its tree: the work follows the tags, not tags times CPUs. */
static void test_tags(const struct machine *m, const struct machine_sections *sections)
{
	struct fail why = { 0 };
	uint64_t    total, before;
	bool        good;

	add_tags(scratch);
	total  = tags_in(scratch);
	before = tags_read;
	got    = *m;
	good   = machine_read_state(&got, scratch, fdt_totalsize(scratch), &why) == 0;
	ok(good && tags_read - before < 20 * total,
	   "a state of 128 CPUs and 100000 properties is read by fewer than 20 times its tags");
	if (!good)
		printf("# %s\n", why.what);
	printf("# %" PRIu64 " tags, %" PRIu64 " read\n", total, tags_read - before);
	before = tags_read;
	good   = machine_check_state(m, scratch, fdt_totalsize(scratch), &why) == 0;
	ok(good && tags_read - before < 20 * total, "and checked by fewer");
	printf("# %" PRIu64 " read\n", tags_read - before);
	before = tags_read;
	good   = machine_load_state(m, sections, scratch, fdt_totalsize(scratch), &why) == 0;
	ok(good && tags_read - before < 20 * total, "and loaded");
}

static void test_most_state(struct sample *s)
{
	struct machine      *m     = malloc(sizeof(*m));
	struct machine_sections sections = s->sections;
	struct fail          why   = { 0 };
	size_t               len   = 0;

	*m        = s->m;
	m->ncpus  = 128;
	sections.cpu_sections = cpu_sections_of_two;
	ok(machine_write_state(m, &sections, scratch, sizeof(scratch), &len, &why) == 0 &&
	   len < LIMIT_TREE_BYTES, "128 vCPUs' state fits a tree");
	printf("# %zu bytes\n", len);
	test_tags(m, &sections);
	free(m);
}

static void test_refused(struct sample *s)
{
	struct machine *m = malloc(sizeof(*m));

	*m = s->m;
	m->cpuid[2] = m->cpuid[1];
	ok(write_refused(m, FAIL_CORRUPT, "machine: CPUID 1.0: duplicate or out of order"),
	   "an answer of CPUID that is there twice is refused");
	*m = s->m;
	m->msrs[3] = m->msrs[2];
	ok(write_refused(m, FAIL_CORRUPT, "machine: MSR 0x2ff: duplicate or out of order"),
	   "an MSR that is there twice is refused");
	*m = s->m;
	m->xsave_bytes = 12292;
	ok(write_refused(m, FAIL_LIMIT,
			 "machine: XSAVE area size out of range: 12292 bytes (valid: 4096 to "
			 "12288)"), "an XSAVE area above the limit is refused");
	*m = s->m;
	m->timebase_hz++;
	ok(write_refused(m, FAIL_CORRUPT,
			 "machine: invalid TSC frequency: 2596120001 Hz (not a multiple of 1000)"),
	   "a TSC of fractions of a kHz is refused");
	*m = s->m;
	m->cpu_model[0] = '\0';
	ok(write_refused(m, FAIL_CORRUPT, "machine: missing vmferry,cpu-model"),
	   "a machine without CPU model is refused");
	*m = s->m;
	m->ncpuid = 0;
	ok(write_refused(m, FAIL_LIMIT,
			 "machine: number of CPUID entries out of range: 0 (valid: 1 to 256)"),
	   "a machine without CPUID is refused");
	*m = s->m;
	m->type = MACHINE_RISCV64_1;
	ok(write_refused(m, FAIL_CORRUPT, "machine: CPUID or MSRs of a machine that is not x86"),
	   "a RISC-V machine has no CPUID");
	free(m);

	fresh(s, false);
	fdt_delprop(blob, node("/cpus"), "vmferry,cpuid");
	ok(read_refused(FAIL_CORRUPT, "VM tree: /cpus: missing vmferry,cpuid"),
	   "a tree without CPUID is refused");
	fresh(s, false);
	fdt_setprop(blob, node("/cpus"), "vmferry,cpuid", scratch, 27);
	ok(read_refused(FAIL_CORRUPT, "VM tree: /cpus: vmferry,cpuid: 27 bytes, no multiple of 28"),
	   "half an answer of CPUID is refused");
	fresh(s, false);
	fdt_setprop(blob, node("/cpus"), "vmferry,cpuid", other, 257 * 28);
	ok(read_refused(FAIL_LIMIT, "VM tree: /cpus: vmferry,cpuid: 257 entries, above 256"),
	   "more answers than there may be are refused before they are read");
	fresh(s, false);
	fdt_setprop(blob, node("/cpus"), "vmferry,msrs", other, 513 * 4);
	ok(read_refused(FAIL_LIMIT, "VM tree: /cpus: vmferry,msrs: 513 entries, above 512"),
	   "more MSRs than there may be are refused before they are read");
	fresh(s, false);
	fdt_delprop(blob, node("/cpus"), "vmferry,xsave-bytes");
	ok(read_refused(FAIL_CORRUPT, "VM tree: /cpus: missing vmferry,xsave-bytes"),
	   "a tree without XSAVE's size is refused");
	fresh(s, false);
	fdt_setprop_string(blob, node("/cpus/cpu@1"), "vmferry,cpu-model", "host");
	ok(read_refused(FAIL_VERSION,
			"VM tree: /cpus/cpu@1: vmferry,cpu-model differs from that of cpu@0"),
	   "CPUs of two models are refused");
}

static void test_state_refused(struct sample *s)
{
	uint8_t area[X86_XSAVE_MAX + 1] = { 0 };
	fdt32_t attr[X86_SEGS] = { 0 }, index[LIMIT_MSRS] = { 0 };

	fresh(s, true);
	fdt_setprop(blob, node("/cpus/cpu@1/state/x86-xsave"), "area", area, sizeof(area));
	ok(load_refused(s, FAIL_CORRUPT, "cpu@1: x86-xsave: area: invalid length: 12289 bytes, "
			"expected 0 to 12288, a multiple of 1"),
	   "an XSAVE area above the limit is no state");
	fresh(s, true);
	attr[3] = cpu_to_fdt32(0x100);
	fdt_setprop(blob, node("/cpus/cpu@0/state/x86-sregs"), "seg-attr", attr, sizeof(attr));
	ok(load_refused(s, FAIL_CORRUPT, "cpu@0: x86-sregs: seg_attr[3]: 0x100: reserved bits set"),
	   "attributes that do not exist are refused");
	fresh(s, true);
	fdt_setprop_u32(blob, node("/cpus/cpu@0/state/x86-sregs"), "pdptrs-valid", 1);
	fdt_setprop_u64(blob, node("/cpus/cpu@0/state/x86-sregs"), "cr8", 16);
	ok(load_refused(s, FAIL_CORRUPT,
			"cpu@0: x86-sregs: cr8: 0x10 out of range (valid: 0x0 to 0xf)"),
	   "an invalid register value is refused by name");
	fresh(s, true);
	index[0] = cpu_to_fdt32(0x175);
	for (unsigned i = 1; i < s->x86_cpus[0].msrs.count; i++)
		index[i] = cpu_to_fdt32(s->x86_cpus[0].msrs.index[i]);
	fdt_setprop(blob, node("/cpus/cpu@0/state/x86-msrs"), "index", index,
		    (int)(4 * s->x86_cpus[0].msrs.count));
	ok(load_refused(s, FAIL_CORRUPT,
			"cpu@0: x86-msrs: MSR 0x174 after 0x175: not in ascending order"),
	   "MSRs out of order are refused");
	fresh(s, true);
	fdt_setprop(blob, node("/cpus/cpu@0/state/x86-msrs"), "index", index, 12);
	ok(load_refused(s, FAIL_CORRUPT, "cpu@0: x86-msrs: index: 3 elements, expected 7") ||
	   load_refused(s, FAIL_CORRUPT, "cpu@0: x86-msrs: value: 7 elements, expected 3"),
	   "MSRs without a value, or the other way round, are refused");
	fresh(s, true);
	fdt_setprop_u32(blob, node("/cpus/cpu@1/state/x86-events"), "mp-state", 5);
	ok(load_refused(s, FAIL_CORRUPT,
			"cpu@1: x86-events: mp_state: 0x5 out of range (valid: 0x0 to 0x4)"),
	   "a vCPU is in a state there is");
	fresh(s, true);
	fdt_del_node(blob, node("/vm/state/x86-pic@1"));
	ok(load_refused(s, FAIL_CORRUPT, "vm: missing x86-pic@1"), "every chip must be there");
}

static bool differs(const struct machine *a, const struct machine *b, const char *what)
{
	struct fail why = { 0 };

	return machine_same_shape(a, b, &why) == -1 && said(&why, FAIL_VERSION, what);
}

static void test_same_shape(struct sample *s)
{
	struct machine *m = malloc(sizeof(*m));
	struct fail     why;

	*m = s->m;
	ok(machine_same_shape(&s->m, m, &why) == 0, "a machine is as itself");
	m->cpuid[2].ebx ^= 1u << 5;
	ok(differs(&s->m, m, "CPUID 7.0 EBX bit 5 (avx2): set here, clear there"),
	   "a bit of CPUID that differs is named, with its feature");
	ok(differs(m, &s->m, "CPUID 7.0 EBX bit 5 (avx2): clear here, set there"),
	   "and which side has it");
	*m = s->m;
	m->cpuid[0].eax++;
	ok(differs(&s->m, m, "CPUID 0.0 EAX bit 0: set here, clear there"),
	   "a bit without a name is named by its number");
	*m = s->m;
	m->ncpuid--;
	ok(differs(&s->m, m, "CPUID 80000001.0: only here"),
	   "an answer that the other has not is named");
	*m = s->m;
	m->cpuid[4].leaf = 0xe;
	ok(differs(&s->m, m, "CPUID d.2: only here"), "the first answer that differs is named");
	*m = s->m;
	m->cpuid[3].flags = 0;
	ok(differs(&s->m, m, "CPUID d.0: flags 0x1 here, 0x0 there"), "flags of an answer count");
	*m = s->m;
	m->xsave_bytes += 64;
	ok(differs(&s->m, m, "XSAVE area: 4096 bytes here, 4160 there"),
	   "an XSAVE area of another size is another machine");
	*m = s->m;
	m->msrs[1] = 0x175;
	ok(differs(&s->m, m, "MSR 0x174 (IA32_SYSENTER_CS): only here"),
	   "an MSR that the other has not is named");
	*m = s->m;
	m->nmsrs--;
	ok(differs(m, &s->m, "MSR 0xc0000082 (LSTAR): only there"), "and which side has it, too");
	free(m);
}

static void test_names(void)
{
	char text[X86_BIT_TEXT];
	bool unique = true;

	for (size_t w = 0; w < x86_nwords; w++)
		for (unsigned b = 0; b < 32; b++)
			for (size_t v = 0; x86_words[w].name[b] && v < x86_nwords; v++)
				for (unsigned c = 0; c < 32; c++)
					if ((v != w || c != b) && x86_words[v].name[c] &&
					    !strcmp(x86_words[v].name[c], x86_words[w].name[b])) {
						printf("# %s\n", x86_words[w].name[b]);
						unique = false;
					}
	ok(unique, "no two bits have one name");
	ok(strcmp(x86_bit_text(0x80000001, 0, X86_EDX, 29, text),
		  "CPUID 80000001.0 EDX bit 29 (lm)") == 0, "a bit is named");
	ok(strcmp(x86_bit_text(0x80000001, 0, X86_EBX, 31, text),
		  "CPUID 80000001.0 EBX bit 31") == 0, "a bit without a name is numbered");
	ok(strcmp(x86_msr_name(0x201), "IA32_MTRR_PHYSMASK0") == 0 && !x86_msr_name(0x1234),
	   "MSRs have names, or none");
	ok(strcmp(x86_lapic_name(0x390), "TIMER_CURRENT") == 0 && !x86_lapic_name(0x391) &&
	   !x86_lapic_name(0x400), "so have the local APIC's registers");
}

/* A bit of a tree flipped, here and there: refused with a reason, or read without harm. */
static void test_bits(struct sample *s)
{
	struct sample *into    = sample_make_x86(SAMPLE_RAM);
	bool           reasons = true;
	size_t         len;
	struct fail    why;

	if (machine_write_state(&s->m, &s->sections, blob, sizeof(blob), &len, &why))
		exit(1);
	for (size_t i = 0; i < len; i += 7) {
		blob[i] ^= (uint8_t)(1u << i % 8);
		why = (struct fail){ 0 };
		got = s->m;
		if (machine_read_state(&got, blob, len, &why) &&
		    (why.kind == FAIL_NONE || !why.what[0]))
			reasons = false;
		why = (struct fail){ 0 };
		if (i % 49 == 0 && machine_load_state(&into->m, &into->sections, blob, len, &why) &&
		    (why.kind == FAIL_NONE || !why.what[0]))
			reasons = false;
		blob[i] ^= (uint8_t)(1u << i % 8);
	}
	ok(reasons, "a damaged tree is refused with a reason or read without harm");
	free(into);
}

static void test_dtc(struct sample *s)
{
	char        path[] = "/tmp/x86_state_test.XXXXXX", command[128], line[256];
	int         fd = mkstemp(path);
	FILE       *f = fdopen(fd, "w"), *p;
	bool        silent = true;
	struct fail why;
	size_t      len;

	if (system("command -v dtc >/dev/null 2>&1")) {
		skip("dtc has nothing to complain about", "no dtc");
	} else if (f && machine_write(&s->m, blob, sizeof(blob), &len, &why) == 0 &&
		   fwrite(blob, 1, len, f) == len && fflush(f) == 0) {
		snprintf(command, sizeof(command), "dtc -I dtb -O dts -o /dev/null %s 2>&1", path);
		p = popen(command, "r");
		while (p && fgets(line, sizeof(line), p)) {
			printf("# %s", line);
			silent = false;
		}
		ok(p && pclose(p) == 0 && silent, "dtc has nothing to complain about");
	} else {
		ok(false, "dtc has nothing to complain about");
	}
	if (f)
		fclose(f);
	remove(path);
}

int main(void)
{
	struct sample *s = sample_make_x86(SAMPLE_RAM);

	test_round_trip(s);
	test_most();
	test_most_state(s);
	test_refused(s);
	test_state_refused(s);
	test_same_shape(s);
	test_names();
	test_bits(s);
	test_dtc(s);
	free(s);
	return done_testing();
}
