/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/kvm/kvm.h"

#include <stdio.h>
#include <string.h>

/* --cpu: host, or a level of the x86-64 psABI (section 3.1.1, table 3.1), then +feature and
 * -feature with the names of /proc/cpuinfo. A level has the features of its table and those that
 * kernels require of a PC's CPU: a VM that is started with it can move to every host of that
 * level, of the same vendor. */

#define LEVELS 4u

/* Required, level by level; a level includes those below it. In the psABI's order; its LZCNT is
 * abm, its OSXSAVE is xsave. */
static const char *const levels[LEVELS][16] = {
	{ "cmov", "cx8", "fpu", "fxsr", "mmx", "syscall", "sse", "sse2" },
	{ "cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3" },
	{ "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave" },
	{ "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl" },
};

/* Not in the psABI, which is about user space; every x86-64 CPU under KVM has them. */
static const char *const kernel[] = {
	"de", "pse", "tsc", "msr", "pae", "mce", "apic", "sep", "mtrr", "pge", "mca", "pat",
	"pse36", "clflush", "nx", "lm", "hypervisor",
};

/* Kept when the host has them. KVM's are those that every KVM since Linux 3.10 has, so that they do
 * not limit where a VM can move. */
static const char *const welcome[] = {
	"x2apic", "tsc_deadline_timer", "arat", "topoext", "kvmclock", "kvmclock2",
	"kvmclock_stable", "kvm_nopiodelay", "kvm_pv_eoi",
	"kvm_pv_unhalt", "kvm_steal_time",
};

/* AMD repeats these bits of leaf 1's EDX in leaf 0x80000001. */
#define AMD_REPEATS 0x0183f3ffu

struct bit {
	size_t   word;
	uint32_t mask;
};

static bool feature_find(const char *name, struct bit *out)
{
	for (size_t w = 0; w < x86_nwords; w++) {
		/* 0xd.0 has states, not features: they follow from the features. */
		if (x86_words[w].leaf == 0xd && x86_words[w].index == 0)
			continue;
		for (unsigned b = 0; b < 32; b++) {
			if (x86_words[w].name[b] && strcmp(x86_words[w].name[b], name) == 0) {
				*out = (struct bit){ .word = w, .mask = 1u << b };
				return true;
			}
		}
	}
	return false;
}

static uint32_t *word_reg(struct machine *m, size_t word)
{
	struct machine_cpuid *e = kvm_cpuid_find(m, x86_words[word].leaf, x86_words[word].index);

	return e ? kvm_cpuid_reg(e, x86_words[word].reg) : NULL;
}

static int feature_lacks(const struct bit *b, const char *who, struct fail *why)
{
	const struct x86_word *w = &x86_words[b->word];
	char                   text[X86_BIT_TEXT];

	return fail_set(why, FAIL_REFUSED,
			"%s not supported by this host, but required by --cpu %.60s",
			x86_bit_text(w->leaf, w->index, w->reg, (unsigned)__builtin_ctz(b->mask),
				     text), who);
}

/* Adds a feature to keep[]. Where the host lacks it: a failure if needed, else not added. */
static int keep_add(struct machine *host, uint32_t *keep, const char *name, bool needed,
		    const char *who, struct fail *why)
{
	struct bit b;
	uint32_t  *has;

	if (!feature_find(name, &b))
		return fail_set(why, FAIL_USAGE,
				"--cpu: unknown feature '%.40s' (valid: names of /proc/cpuinfo)",
				name);
	has = word_reg(host, b.word);
	if (!has || !(*has & b.mask))
		return needed ? feature_lacks(&b, who, why) : 0;
	keep[b.word] |= b.mask;
	return 0;
}

static int keep_level(struct machine *host, uint32_t *keep, unsigned level, const char *who,
		      struct fail *why)
{
	for (unsigned l = 0; l < level; l++)
		for (unsigned i = 0; i < 16 && levels[l][i]; i++)
			if (keep_add(host, keep, levels[l][i], true, who, why))
				return -1;
	for (size_t i = 0; i < sizeof(kernel) / sizeof(kernel[0]); i++)
		if (keep_add(host, keep, kernel[i], true, who, why))
			return -1;
	for (size_t i = 0; i < sizeof(welcome) / sizeof(welcome[0]); i++)
		if (keep_add(host, keep, welcome[i], false, who, why))
			return -1;
	return 0;
}

/* The model's level: 1 to 4, 0 for host, -1 for an unknown model. */
static int model_level(const char *base)
{
	static const char *const names[] = {
		"host", "x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4",
	};

	for (int i = 0; i < (int)(sizeof(names) / sizeof(names[0])); i++)
		if (strcmp(base, names[i]) == 0)
			return i;
	return -1;
}

/* Leaves that a level has; the others describe one CPU of one vendor. */
static bool level_leaf(uint32_t leaf)
{
	switch (leaf) {
	case 0:
	case 1:
	case 2:
	case 4:
	case 6:
	case 7:
	case 0xb:
	case 0xd:
	case 0x1d:
	case 0x1e:
	case 0x40000000:
	case 0x40000001:
	case 0x8000001d:
	case 0x8000001e:
		return true;
	}
	return leaf >= 0x80000000 && leaf <= 0x80000008;
}

/* Registers of feature leaves that x86_words does not name contain features as well: without names
 * they are in no level. */
static void level_rest(struct machine *m)
{
	for (uint32_t i = 0; i < m->ncpuid; i++) {
		struct machine_cpuid *e = &m->cpuid[i];

		if (e->leaf == 6)
			e->ebx = e->ecx = e->edx = 0;
		if (e->leaf == 7 && e->index == 0)
			e->eax = e->eax > 1 ? 1 : e->eax;
		if (e->leaf == 7 && e->index == 1)
			e->ebx = e->ecx = 0;
		if (e->leaf == 0x80000007)
			e->eax = e->ecx = 0;
	}
}

static void level_brand(struct machine *m, const char *base)
{
	char text[48] = "";

	snprintf(text, sizeof(text), "vmferry %s", base);
	for (unsigned i = 0; i < 3; i++) {
		struct machine_cpuid *e = kvm_cpuid_find(m, 0x80000002 + i, 0);

		if (!e)
			continue;
		memcpy(&e->eax, text + 16 * (size_t)i, 4);
		memcpy(&e->ebx, text + 16 * (size_t)i + 4, 4);
		memcpy(&e->ecx, text + 16 * (size_t)i + 8, 4);
		memcpy(&e->edx, text + 16 * (size_t)i + 12, 4);
	}
}

static void level_leaves(struct machine *m)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < m->ncpuid; i++)
		if (level_leaf(m->cpuid[i].leaf) &&
		    !(m->cpuid[i].leaf == 7 && m->cpuid[i].index > 1))
			m->cpuid[kept++] = m->cpuid[i];
	memset(&m->cpuid[kept], 0, (m->ncpuid - kept) * sizeof(m->cpuid[0]));
	m->ncpuid = kept;
}

static void keep_apply(struct machine *m, const uint32_t *keep)
{
	struct machine_cpuid *one     = kvm_cpuid_find(m, 1, 0);
	struct machine_cpuid *ext     = kvm_cpuid_find(m, 0x80000001, 0);
	const uint32_t        repeats = ext ? ext->edx & AMD_REPEATS : 0;

	for (size_t w = 0; w < x86_nwords; w++) {
		uint32_t *reg = word_reg(m, w);

		if (reg)
			*reg &= keep[w];
	}
	if (one && ext)
		ext->edx |= repeats & one->edx;
}

/* change is "+feature" or "-feature". */
static int model_change(struct machine *host, uint32_t *keep, const char *change, const char *who,
			struct fail *why)
{
	struct bit b;

	if (change[0] == '+')
		return keep_add(host, keep, change + 1, true, who, why);
	if (change[0] != '-' || !change[1])
		return fail_set(why, FAIL_USAGE,
				"--cpu %.60s: invalid value '%.40s' (valid: +FEATURE, -FEATURE)",
				who, change);
	if (!feature_find(change + 1, &b))
		return fail_set(why, FAIL_USAGE,
				"--cpu: unknown feature '%.40s' (valid: names of /proc/cpuinfo)",
				change + 1);
	keep[b.word] &= ~b.mask;
	return 0;
}

int kvm_cpuid_model(struct machine *m, const char *cpu, struct fail *why)
{
	char     text[sizeof(m->cpu_model)], *rest = text;
	uint32_t keep[64] = { 0 };
	char    *base;
	int      level;

	if (strlen(cpu) >= sizeof(text) || x86_nwords > sizeof(keep) / sizeof(keep[0]))
		return fail_set(why, FAIL_USAGE, "--cpu: value longer than %zu characters",
				sizeof(text) - 1);
	snprintf(text, sizeof(text), "%s", cpu);
	base  = strsep(&rest, ",");
	level = model_level(base);
	if (level < 0)
		return fail_set(why, FAIL_USAGE,
			"--cpu: unknown model '%.40s' (valid: host, x86-64-v1 to x86-64-v4)",
			base);
	for (size_t w = 0; w < x86_nwords; w++) {
		const uint32_t *reg = word_reg(m, w);
		/* XSAVE's states follow from the features, later. */
		const bool states = x86_words[w].leaf == 0xd && x86_words[w].index == 0;

		if (reg && (level == 0 || states))
			keep[w] = *reg;
	}
	if (level > 0 && keep_level(m, keep, (unsigned)level, base, why))
		return -1;
	while (rest)
		if (model_change(m, keep, strsep(&rest, ","), cpu, why))
			return -1;
	keep_apply(m, keep);
	if (level > 0) {
		level_leaves(m);
		level_rest(m);
		level_brand(m, base);
	}
	return 0;
}
