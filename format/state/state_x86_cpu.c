/* SPDX-License-Identifier: MIT */
#include "format/state/state_x86.h"
#include "format/state/x86_names.h"

#include <inttypes.h>

static const struct field regs_fields[] = {
	F_X64(struct x86_regs_state, rax, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, rbx, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, rcx, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, rdx, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, rsi, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, rdi, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, rsp, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, rbp, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, r8, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, r9, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, r10, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, r11, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, r12, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, r13, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, r14, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, r15, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, rip, 1, UINT64_MAX),
	F_X64(struct x86_regs_state, rflags, 1, UINT32_MAX),
	F_END
};

static const struct field sregs_fields[] = {
	F_X64_ARRAY(struct x86_sregs_state, seg_base, 1, UINT64_MAX),
	F_X32_ARRAY(struct x86_sregs_state, seg_limit, 1, UINT32_MAX),
	F_X32_ARRAY(struct x86_sregs_state, seg_selector, 1, UINT16_MAX),
	F_X32_ARRAY(struct x86_sregs_state, seg_attr, 1, 0x1f0ff),
	F_X64(struct x86_sregs_state, gdt_base, 1, UINT64_MAX),
	F_X64(struct x86_sregs_state, idt_base, 1, UINT64_MAX),
	F_X16(struct x86_sregs_state, gdt_limit, 1, UINT16_MAX),
	F_X16(struct x86_sregs_state, idt_limit, 1, UINT16_MAX),
	F_X64(struct x86_sregs_state, cr0, 1, UINT32_MAX),
	F_X64(struct x86_sregs_state, cr2, 1, UINT64_MAX),
	F_X64(struct x86_sregs_state, cr3, 1, UINT64_MAX),
	F_X64(struct x86_sregs_state, cr4, 1, UINT64_MAX),
	F_X64(struct x86_sregs_state, cr8, 1, 15),
	F_X64(struct x86_sregs_state, efer, 1, UINT64_MAX),
	F_X64(struct x86_sregs_state, apic_base, 1, UINT64_MAX),
	F_BOOL(struct x86_sregs_state, pdptrs_valid, 1),
	F_X64_ARRAY(struct x86_sregs_state, pdptrs, 1, UINT64_MAX),
	F_END
};

static int sregs_check(const void *state, struct fail *why)
{
	const struct x86_sregs_state *s = state;

	for (unsigned i = 0; i < X86_SEGS; i++)
		if (s->seg_attr[i] & 0xf00)
			return fail_set(why, FAIL_CORRUPT,
					"seg_attr[%u]: 0x%" PRIx32 ": reserved bits set", i,
					s->seg_attr[i]);
	for (unsigned i = 0; i < 4; i++)
		if (!s->pdptrs_valid && s->pdptrs[i])
			return fail_set(why, FAIL_CORRUPT, "pdptrs set without pdptrs_valid");
	return 0;
}

static const struct field xsave_fields[] = {
	F_X64(struct x86_xsave_state, xcr0, 1, UINT64_MAX),
	F_BYTES_LIST(struct x86_xsave_state, area, area_len, 1),
	F_END
};

static const struct field msrs_fields[] = {
	F_X32_LIST(struct x86_msrs_state, index, count, 1, UINT32_MAX),
	F_X64_LIST(struct x86_msrs_state, value, count, 1, UINT64_MAX),
	F_END
};

static int msrs_check(const void *state, struct fail *why)
{
	const struct x86_msrs_state *s = state;

	for (uint32_t i = 1; i < s->count; i++)
		if (s->index[i] <= s->index[i - 1])
			return fail_set(why, FAIL_CORRUPT,
					"MSR 0x%" PRIx32 " after 0x%" PRIx32
					": not in ascending order", s->index[i], s->index[i - 1]);
	return 0;
}

static const struct field lapic_fields[] = {
	F_BYTES(struct x86_lapic_state, regs, 1),
	F_END
};

static const struct field events_fields[] = {
	F_U32(struct x86_events_state, mp_state, 1, 4),
	F_X32(struct x86_events_state, flags, 1, 0x3f),
	F_BOOL(struct x86_events_state, exception_injected, 1),
	F_BOOL(struct x86_events_state, exception_pending, 1),
	F_BOOL(struct x86_events_state, exception_has_error, 1),
	F_BOOL(struct x86_events_state, exception_has_payload, 1),
	F_U8(struct x86_events_state, exception_nr, 1, 31),
	F_X32(struct x86_events_state, exception_error, 1, UINT32_MAX),
	F_X64(struct x86_events_state, exception_payload, 1, UINT64_MAX),
	F_BOOL(struct x86_events_state, interrupt_injected, 1),
	F_BOOL(struct x86_events_state, interrupt_soft, 1),
	F_X8(struct x86_events_state, interrupt_nr, 1, 0xff),
	F_X8(struct x86_events_state, interrupt_shadow, 1, 3),
	F_BOOL(struct x86_events_state, nmi_injected, 1),
	F_BOOL(struct x86_events_state, nmi_masked, 1),
	F_U8(struct x86_events_state, nmi_pending, 1, 2),
	F_X32(struct x86_events_state, sipi_vector, 1, 0xff),
	F_BOOL(struct x86_events_state, smm, 1),
	F_BOOL(struct x86_events_state, smm_pending, 1),
	F_BOOL(struct x86_events_state, smm_inside_nmi, 1),
	F_BOOL(struct x86_events_state, smm_latched_init, 1),
	F_BOOL(struct x86_events_state, triple_fault_pending, 1),
	F_END
};

static const struct field debugregs_fields[] = {
	F_X64_ARRAY(struct x86_debugregs_state, db, 1, UINT64_MAX),
	F_X64(struct x86_debugregs_state, dr6, 1, UINT32_MAX),
	F_X64(struct x86_debugregs_state, dr7, 1, UINT32_MAX),
	F_END
};

const struct state_table x86_regs_state_table = {
	.name = "x86-regs", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct x86_regs_state), .fields = regs_fields,
};
const struct state_table x86_sregs_state_table = {
	.name = "x86-sregs", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct x86_sregs_state), .fields = sregs_fields, .check = sregs_check,
};
const struct state_table x86_xsave_state_table = {
	.name = "x86-xsave", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct x86_xsave_state), .fields = xsave_fields,
};
const struct state_table x86_msrs_state_table = {
	.name = "x86-msrs", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct x86_msrs_state), .fields = msrs_fields, .check = msrs_check,
};
const struct state_table x86_lapic_state_table = {
	.name = "x86-lapic", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct x86_lapic_state), .fields = lapic_fields,
};
const struct state_table x86_events_state_table = {
	.name = "x86-events", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct x86_events_state), .fields = events_fields,
};
const struct state_table x86_debugregs_state_table = {
	.name = "x86-debugregs", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct x86_debugregs_state), .fields = debugregs_fields,
};
