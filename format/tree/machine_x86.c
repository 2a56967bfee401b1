/* SPDX-License-Identifier: MIT */
#include "format/tree/machine_internal.h"
#include "format/state/state_x86.h"
#include "format/state/x86_names.h"

#include <inttypes.h>
#include <string.h>

static bool cpuid_before(const struct machine_cpuid *a, const struct machine_cpuid *b)
{
	return a->leaf != b->leaf ? a->leaf < b->leaf : a->index < b->index;
}

static bool machine_has_x86(const struct machine *m)
{
	return m->ncpuid || m->nmsrs || m->xsave_bytes;
}

int machine_check_x86(const struct machine *m, struct fail *why)
{
	if (!machine_types[m->type].cpuid)
		return machine_has_x86(m)
			       ? fail_set(why, FAIL_CORRUPT,
					  "machine: CPUID or MSRs of a machine that is not x86")
			       : 0;
	if (m->ncpus > LIMIT_CPUS_X86)
		return fail_set(why, FAIL_LIMIT, "machine: number of CPUs out of range: %" PRIu32
				" (valid: 1 to %u)", m->ncpus, LIMIT_CPUS_X86);
	if (m->timebase_hz % 1000)
		return fail_set(why, FAIL_CORRUPT,
				"machine: invalid TSC frequency: %" PRIu64
				" Hz (not a multiple of 1000)", m->timebase_hz);
	if (m->ncpuid < 1 || m->ncpuid > LIMIT_CPUID)
		return fail_set(why, FAIL_LIMIT,
				"machine: number of CPUID entries out of range: %" PRIu32
				" (valid: 1 to %u)", m->ncpuid, LIMIT_CPUID);
	if (m->nmsrs > LIMIT_MSRS)
		return fail_set(why, FAIL_LIMIT, "machine: %" PRIu32 " MSRs exceed the limit of %u",
				m->nmsrs, LIMIT_MSRS);
	if (m->xsave_bytes < 4096 || m->xsave_bytes > X86_XSAVE_MAX || m->xsave_bytes % 4)
		return fail_set(why, FAIL_LIMIT, "machine: XSAVE area size out of range: %" PRIu32
				" bytes (valid: 4096 to %u)", m->xsave_bytes, X86_XSAVE_MAX);
	for (uint32_t i = 1; i < m->ncpuid; i++)
		if (!cpuid_before(&m->cpuid[i - 1], &m->cpuid[i]))
			return fail_set(why, FAIL_CORRUPT,
					"machine: CPUID %" PRIx32 ".%" PRIx32
					": duplicate or out of order", m->cpuid[i].leaf,
					m->cpuid[i].index);
	for (uint32_t i = 1; i < m->nmsrs; i++)
		if (m->msrs[i] <= m->msrs[i - 1])
			return fail_set(why, FAIL_CORRUPT,
					"machine: MSR 0x%" PRIx32 ": duplicate or out of order",
					m->msrs[i]);
	return 0;
}

/* Names the lowest bit that differs. */
static int cpuid_differs(const struct machine_cpuid *x, const struct machine_cpuid *y,
			 struct fail *why)
{
	const uint32_t a[] = { x->eax, x->ebx, x->ecx, x->edx },
	b[] = { y->eax, y->ebx, y->ecx, y->edx };
	char           text[X86_BIT_TEXT];

	for (unsigned r = 0; r < X86_REGS; r++) {
		if (a[r] == b[r])
			continue;
		unsigned bit = (unsigned)__builtin_ctz(a[r] ^ b[r]);

		return fail_set(why, FAIL_VERSION, "%s: %s here, %s there",
				x86_bit_text(x->leaf, x->index, (enum x86_reg)r, bit, text),
				a[r] >> bit & 1 ? "set" : "clear",
				b[r] >> bit & 1 ? "set" : "clear");
	}
	return fail_set(why, FAIL_VERSION, "CPUID %" PRIx32 ".%" PRIx32 ": flags 0x%" PRIx32
			" here, 0x%" PRIx32 " there", x->leaf, x->index, x->flags, y->flags);
}

static int machine_same_cpuid(const struct machine *a, const struct machine *b, struct fail *why)
{
	for (uint32_t i = 0; i < a->ncpuid || i < b->ncpuid; i++) {
		const struct machine_cpuid *x = &a->cpuid[i], *y = &b->cpuid[i];
		const bool here  = i < a->ncpuid && (i >= b->ncpuid || cpuid_before(x, y));
		const bool there = i < b->ncpuid && (i >= a->ncpuid || cpuid_before(y, x));

		if (here || there)
			return fail_set(why, FAIL_VERSION, "CPUID %" PRIx32 ".%" PRIx32 ": only %s",
					here ? x->leaf : y->leaf, here ? x->index : y->index,
					here ? "here" : "there");
		if (memcmp(x, y, sizeof(*x)))
			return cpuid_differs(x, y, why);
	}
	return 0;
}

int machine_same_x86(const struct machine *a, const struct machine *b, struct fail *why)
{
	char text[X86_MSR_TEXT];

	if (machine_same_cpuid(a, b, why))
		return -1;
	if (a->xsave_bytes != b->xsave_bytes)
		return fail_set(why, FAIL_VERSION,
				"XSAVE area: %" PRIu32 " bytes here, %" PRIu32 " there",
				a->xsave_bytes, b->xsave_bytes);
	for (uint32_t i = 0; i < a->nmsrs || i < b->nmsrs; i++) {
		const bool here  = i < a->nmsrs && (i >= b->nmsrs || a->msrs[i] < b->msrs[i]);
		const bool there = i < b->nmsrs && (i >= a->nmsrs || b->msrs[i] < a->msrs[i]);

		if (here || there)
			return fail_set(why, FAIL_VERSION, "%s: only %s",
					x86_msr_text(here ? a->msrs[i] : b->msrs[i], text),
					here ? "here" : "there");
	}
	return 0;
}
