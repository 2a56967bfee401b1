/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/kvm/kvm.h"

#include <string.h>

/* Which CPUID features a guest can have, whatever --cpu says: those whose state is saved, and among
 * them those whose requirements are met. Works on the list of entries alone. */

/* ---- what is not offered, because it would not be saved ---- */

/* Bit names: /proc/cpuinfo. */
static const struct {
	uint32_t     leaf, index;
	enum x86_reg reg;
	uint32_t     bits;
} stripped[] = {
	/* debug store, monitor, vmx, counters */
	{ 1, 0, X86_ECX, 1u << 2 | 1u << 3 | 1u << 5 | 1u << 15 },
	/* osxsave follows CR4: KVM sets it */
	{ 1, 0, X86_ECX, 1u << 27 },
	/* sgx, cache monitoring and allocation, processor trace */
	{ 7, 0, X86_EBX, 1u << 2 | 1u << 12 | 1u << 15 | 1u << 25 },
	/* ospke follows CR4; shadow stacks: SSP is no MSR; sgx */
	{ 7, 0, X86_ECX, 1u << 4 | 1u << 7 | 1u << 30 },
	/* pconfig, branch records, ibt */
	{ 7, 0, X86_EDX, 1u << 18 | 1u << 19 | 1u << 20 },
	/* supervisor shadow stacks */
	{ 7, 1, X86_EDX, 1u << 18 },
	/* supervisor states, of XSAVES alone: the format that is saved does not contain them */
	{ 0xd, 1, X86_ECX, UINT32_MAX },
	{ 0xd, 1, X86_EDX, UINT32_MAX },
	/* KVM's own that need support in the VMM, which vmrun does not have */
	{ 0x40000001, 0, X86_EAX, 1u << 2 | 1u << 15 | 1u << 16 | 1u << 17 },
	/* hints about this host */
	{ 0x40000001, 0, X86_EDX, UINT32_MAX },
	/* svm, ibs, skinit, lwp, counters, mwaitx */
	{ 0x80000001, 0, X86_ECX, 1u << 2 | 1u << 10 | 1u << 12 | 1u << 15 | 1u << 23 | 1u << 24 |
				  1u << 28 | 1u << 29 },
};

static bool cpuid_leaf_kept(uint32_t leaf)
{
	switch (leaf) {
	case 5:             /* monitor */
	case 0xa:           /* counters */
	case 0x10:          /* cache allocation */
	case 0x12:          /* sgx */
	case 0x14:          /* processor trace */
	case 0x1b:          /* pconfig */
	case 0x1c:          /* branch records */
	case 0x1f:          /* topology: leaf 0xb says it */
	case 0x23:          /* counters */
	case 0x8000000a:    /* svm */
	case 0x8000001b:    /* ibs */
	case 0x8000001f:    /* encrypted memory */
	case 0x80000022:    /* counters */
	case 0x80000026:    /* topology */
		return false;
	}
	return leaf < 0x40000002 || leaf >= 0x80000000;
}

static void cpuid_drop(struct machine *m, uint32_t i)
{
	m->ncpuid--;
	memmove(&m->cpuid[i], &m->cpuid[i + 1], (m->ncpuid - i) * sizeof(m->cpuid[0]));
	memset(&m->cpuid[m->ncpuid], 0, sizeof(m->cpuid[0]));
}

void kvm_cpuid_strip(struct machine *m, bool tsc_deadline)
{
	struct machine_cpuid *e;

	for (uint32_t i = 0; i < m->ncpuid;)
		if (cpuid_leaf_kept(m->cpuid[i].leaf))
			i++;
		else
			cpuid_drop(m, i);
	for (size_t i = 0; i < sizeof(stripped) / sizeof(stripped[0]); i++) {
		e = kvm_cpuid_find(m, stripped[i].leaf, stripped[i].index);
		if (e)
			*kvm_cpuid_reg(e, stripped[i].reg) &= ~stripped[i].bits;
	}
	e = kvm_cpuid_find(m, 1, 0);
	/* hypervisor; the deadline timer is emulated by KVM, and not listed by old kernels */
	if (e)
		e->ecx |= 1u << 31 | (tsc_deadline ? 1u << 24 : 0);
	e = kvm_cpuid_find(m, 0x40000000, 0);
	if (e)
		e->eax = 0x40000001;
}

/* ---- XSAVE: states and sizes follow the features ---- */

static bool cpuid_has(struct machine *m, uint32_t leaf, uint32_t index, enum x86_reg reg,
		      unsigned bit)
{
	struct machine_cpuid *e = kvm_cpuid_find(m, leaf, index);

	return e && *kvm_cpuid_reg(e, reg) >> bit & 1;
}

static void cpuid_clear(struct machine *m, uint32_t leaf, uint32_t index, enum x86_reg reg,
			uint32_t bits)
{
	struct machine_cpuid *e = kvm_cpuid_find(m, leaf, index);

	if (e)
		*kvm_cpuid_reg(e, reg) &= ~bits;
}

/* Features that require another one. In order: what is cleared by one row is missing for the next
 * ones. */
static const struct {
	uint32_t     leaf, index;
	enum x86_reg reg;
	unsigned     bit;
	uint32_t     dleaf, dindex;
	enum x86_reg dreg;
	uint32_t     dependent;
} depends[] = {
	/* xsave: avx; pku; mpx */
	{ 1, 0, X86_ECX, 26, 1, 0, X86_ECX, 1u << 28 },
	{ 1, 0, X86_ECX, 26, 7, 0, X86_ECX, 1u << 3 },
	{ 1, 0, X86_ECX, 26, 7, 0, X86_EBX, 1u << 14 },
	/* avx: fma, f16c; avx2, avx512f; vaes, vpclmulqdq; avx_vnni, avx_ifma; then avx_vnni_int8,
	 * avx_ne_convert, avx_vnni_int16; xop, fma4 */
	{ 1, 0, X86_ECX, 28, 1, 0, X86_ECX, 1u << 12 | 1u << 29 },
	{ 1, 0, X86_ECX, 28, 7, 0, X86_EBX, 1u << 5 | 1u << 16 },
	{ 1, 0, X86_ECX, 28, 7, 0, X86_ECX, 1u << 9 | 1u << 10 },
	{ 1, 0, X86_ECX, 28, 7, 1, X86_EAX, 1u << 4 | 1u << 23 },
	{ 1, 0, X86_ECX, 28, 7, 1, X86_EDX, 1u << 4 | 1u << 5 | 1u << 10 },
	{ 1, 0, X86_ECX, 28, 0x80000001, 0, X86_ECX, 1u << 11 | 1u << 16 },
	/* avx512f: the other avx512* */
	{ 7, 0, X86_EBX, 16, 7, 0, X86_EBX, 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 |
					    1u << 30 | 1u << 31 },
	{ 7, 0, X86_EBX, 16, 7, 0, X86_ECX, 1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14 },
	{ 7, 0, X86_EBX, 16, 7, 0, X86_EDX, 1u << 2 | 1u << 3 | 1u << 8 | 1u << 23 },
	{ 7, 0, X86_EBX, 16, 7, 1, X86_EAX, 1u << 5 },
	{ 7, 0, X86_EBX, 16, 7, 1, X86_EDX, 1u << 19 },
	/* amx: XCR0 has the tiles only when the kernel has permitted them to this process. */
	{ 0xd, 0, X86_EAX, 18, 7, 0, X86_EDX, 1u << 24 },
	{ 7, 0, X86_EDX, 24, 7, 0, X86_EDX, 1u << 22 | 1u << 25 },
	{ 7, 0, X86_EDX, 24, 7, 1, X86_EAX, 1u << 21 },
	{ 7, 0, X86_EDX, 24, 7, 1, X86_EDX, 1u << 8 },
};

static uint32_t cpuid_xcr0(struct machine *m)
{
	return 3u |
	       (cpuid_has(m, 1, 0, X86_ECX, 28) ? 1u << 2 : 0) |
	       (cpuid_has(m, 7, 0, X86_EBX, 14) ? 3u << 3 : 0) |
	       (cpuid_has(m, 7, 0, X86_EBX, 16) ? 7u << 5 : 0) |
	       (cpuid_has(m, 7, 0, X86_ECX, 3) ? 1u << 9 : 0) |
	       (cpuid_has(m, 7, 0, X86_EDX, 24) ? 3u << 17 : 0);
}

void kvm_cpuid_consistent(struct machine *m)
{
	struct machine_cpuid *d;
	uint32_t              xcr0, bytes = 576;      /* legacy area and header */
	bool                  xsave, amx;

	for (size_t i = 0; i < sizeof(depends) / sizeof(depends[0]); i++)
		if (!cpuid_has(m, depends[i].leaf, depends[i].index, depends[i].reg,
			       depends[i].bit))
			cpuid_clear(m, depends[i].dleaf, depends[i].dindex, depends[i].dreg,
				    depends[i].dependent);
	xsave = cpuid_has(m, 1, 0, X86_ECX, 26);
	amx   = cpuid_has(m, 7, 0, X86_EDX, 24);
	d     = kvm_cpuid_find(m, 0xd, 0);
	xcr0  = d && xsave ? d->eax & cpuid_xcr0(m) : 0;
	for (uint32_t i = 0; i < m->ncpuid;) {
		const struct machine_cpuid *e = &m->cpuid[i];

		if ((e->leaf == 0xd &&
		     (!xsave || (e->index >= 2 && !(e->index < 32 && xcr0 >> e->index & 1)))) ||
		    ((e->leaf == 0x1d || e->leaf == 0x1e) && !amx)) {
			cpuid_drop(m, i);
			continue;
		}
		if (e->leaf == 0xd && e->index >= 2 && e->ebx + e->eax > bytes)
			bytes = e->ebx + e->eax;
		i++;
	}
	d = kvm_cpuid_find(m, 0xd, 0);
	if (d) {      /* EBX is the size for the current XCR0: KVM updates it */
		d->eax = xcr0;
		d->ebx = 576;
		d->ecx = bytes;
		d->edx = 0;
	}
	d = kvm_cpuid_find(m, 0xd, 1);
	if (d)
		d->ebx = 0;
}
