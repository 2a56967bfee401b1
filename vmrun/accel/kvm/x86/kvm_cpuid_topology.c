/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/kvm/kvm.h"

#include <string.h>

/* CPUs as cores of one socket with one thread each; APIC ids are 0, 1, ... (Intel SDM 2A, CPUID
 * leaves 1, 4, 0xb; AMD APM 3, E.4, E.5). What differs between vCPUs is zero in the configuration,
 * and set by kvm_cpuid_apic_id. */

#define LEVEL_THREADS 1u
#define LEVEL_CORES   2u
#define INTEL_EBX     0x756e6547u      /* "Genu" of GenuineIntel */

/* Bits of an APIC id that n CPUs take. */
static unsigned id_bits(uint32_t n)
{
	unsigned bits = 0;

	while (bits < 31 && 1u << bits < n)
		bits++;
	return bits;
}

static void bits_put(uint32_t *reg, unsigned low, unsigned high, uint32_t value)
{
	const uint32_t mask = (UINT32_MAX >> (31 - (high - low))) << low;
	const uint32_t most = mask >> low;

	*reg = (*reg & ~mask) | (value < most ? value : most) << low;
}

static bool cpuid_insert(struct machine *m, const struct machine_cpuid *e)
{
	struct machine_cpuid *have = kvm_cpuid_find(m, e->leaf, e->index);
	uint32_t              at   = 0;

	if (have) {
		*have = *e;
		return true;
	}
	if (m->ncpuid == LIMIT_CPUID)
		return false;
	while (at < m->ncpuid &&
	       (m->cpuid[at].leaf < e->leaf ||
		(m->cpuid[at].leaf == e->leaf && m->cpuid[at].index < e->index)))
		at++;
	memmove(&m->cpuid[at + 1], &m->cpuid[at], (m->ncpuid - at) * sizeof(*e));
	m->cpuid[at] = *e;
	m->ncpuid++;
	return true;
}

/* An entry for each level; for levels past the last one KVM itself fills in ECX and EDX. */
static void topology_0xb(struct machine *m, uint32_t n)
{
	const struct machine_cpuid threads = {
		.leaf  = 0xb,
		.index = 0,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.ebx   = 1,
		.ecx   = LEVEL_THREADS << 8,
	};
	const struct machine_cpuid cores = {
		.leaf  = 0xb,
		.index = 1,
		.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.eax   = id_bits(n),
		.ebx   = n,
		.ecx   = LEVEL_CORES << 8 | 1,
	};
	struct machine_cpuid      *top   = kvm_cpuid_find(m, 0, 0);

	/* A CPU that is too old for this leaf reports its cores in leaves 1 and 4. */
	if (top && top->eax >= 0xb && cpuid_insert(m, &threads))
		cpuid_insert(m, &cores);
}

static void topology_caches(struct machine *m, uint32_t n)
{
	const uint32_t ids = 1u << id_bits(n);

	for (uint32_t i = 0; i < m->ncpuid; i++) {
		struct machine_cpuid *e     = &m->cpuid[i];
		const uint32_t        level = e->eax >> 5 & 7;

		if ((e->leaf != 4 && e->leaf != 0x8000001d) || (e->eax & 31) == 0)
			continue;
		bits_put(&e->eax, 14, 25, level >= 3 ? (e->leaf == 4 ? ids : n) - 1 : 0);
		if (e->leaf == 4)
			bits_put(&e->eax, 26, 31, ids - 1);
	}
}

void kvm_cpuid_topology(struct machine *m)
{
	const uint32_t        n     = m->ncpus;
	struct machine_cpuid *one   = kvm_cpuid_find(m, 1, 0), *top = kvm_cpuid_find(m, 0, 0);
	const bool            intel = top && top->ebx == INTEL_EBX;
	struct machine_cpuid *e;

	if (one) {
		bits_put(&one->ebx, 24, 31, 0);
		bits_put(&one->ebx, 16, 23, n > 1 ? 1u << id_bits(n) : 1);
		bits_put(&one->edx, 28, 28, n > 1);      /* ht: the field above is valid */
	}
	topology_0xb(m, n);
	topology_caches(m, n);
	if (intel)
		return;
	e = kvm_cpuid_find(m, 0x80000001, 0);
	if (e)
		bits_put(&e->ecx, 1, 1, n > 1);      /* cmp_legacy */
	e = kvm_cpuid_find(m, 0x80000008, 0);
	if (e) {
		bits_put(&e->ecx, 0, 7, n - 1);
		bits_put(&e->ecx, 12, 15, id_bits(n));
	}
	e = kvm_cpuid_find(m, 0x8000001e, 0);
	if (e)
		e->eax = e->ebx = e->ecx = e->edx = 0;      /* one thread a core, one node */
}

void kvm_cpuid_apic_id(struct machine_cpuid *e, uint32_t id)
{
	switch (e->leaf) {
	case 1:
		bits_put(&e->ebx, 24, 31, id);
		return;
	case 0xb:
		e->edx = id;
		return;
	case 0x8000001e:
		e->eax = id;
		bits_put(&e->ebx, 0, 7, id);
		return;
	}
}
