/* SPDX-License-Identifier: MIT */
#include "format/state/state_hart.h"

#include <inttypes.h>

static const struct field fields[] = {
	F_X64_ARRAY(struct hart_state, x, 1, UINT64_MAX),
	F_X64(struct hart_state, pc, 1, UINT64_MAX),
	F_X64_ARRAY(struct hart_state, f, 1, UINT64_MAX),
	F_U8(struct hart_state, priv, 1, HART_S),
	F_U8(struct hart_state, frm, 1, 7),
	F_X8(struct hart_state, fflags, 1, 31),
	F_BOOL(struct hart_state, res_valid, 1),
	F_U8(struct hart_state, res_size, 1, 8),
	F_X64(struct hart_state, res_gpa, 1, UINT64_MAX),
	F_X64(struct hart_state, res_value, 1, UINT64_MAX),
	F_X64(struct hart_state, sstatus, 1, SSTATUS_KEPT),
	F_X64(struct hart_state, sie, 1, HART_IRQS),
	F_BOOL(struct hart_state, ssip, 1),
	F_X64(struct hart_state, stvec, 1, UINT64_MAX),
	F_X64(struct hart_state, sscratch, 1, UINT64_MAX),
	F_X64(struct hart_state, sepc, 1, UINT64_MAX),
	F_X64(struct hart_state, scause, 1, UINT64_MAX),
	F_X64(struct hart_state, stval, 1, UINT64_MAX),
	F_X64(struct hart_state, satp, 1, UINT64_MAX),
	F_X32(struct hart_state, scounteren, 1, 7),
	F_X64(struct hart_state, senvcfg, 1, 1),
	F_U64(struct hart_state, stimecmp, 1, UINT64_MAX),
	F_U64(struct hart_state, instret, 1, (uint64_t)1 << 62),
	F_U8(struct hart_state, hsm, 1, HSM_SUSPENDED),
	F_X64(struct hart_state, hsm_start, 1, UINT64_MAX),
	F_X64(struct hart_state, hsm_opaque, 1, UINT64_MAX),
	F_BOOL(struct hart_state, wfi, 1),
	F_END
};

static int hart_check(const void *state, struct fail *why)
{
	const struct hart_state *s = state;
	const uint64_t extra = ~(SSTATUS_KEPT);

	if (s->x[0])
		return fail_set(why, FAIL_CORRUPT, "x0 not zero");
	if ((s->pc | s->sepc | s->hsm_start) & 1)
		return fail_set(why, FAIL_CORRUPT, "pc not aligned to 2 bytes");
	if (s->stvec & 2)
		return fail_set(why, FAIL_CORRUPT, "stvec 0x%" PRIx64 ": unsupported mode",
				s->stvec);
	if (s->sstatus & extra || s->sie & ~HART_IRQS)
		return fail_set(why, FAIL_CORRUPT, "sstatus or sie: unsupported bits set");
	/* Sv39 or none; no address space numbers; 44 bits of page number. */
	if (s->satp && (s->satp >> 60 != 8 || s->satp >> 44 & 0xffff))
		return fail_set(why, FAIL_CORRUPT, "satp 0x%" PRIx64 ": unsupported mode", s->satp);
	if (s->res_valid && ((s->res_size != 4 && s->res_size != 8) ||
			     s->res_gpa & (s->res_size - 1u)))
		return fail_set(why, FAIL_CORRUPT, "invalid reservation: %u bytes at 0x%" PRIx64,
				s->res_size, s->res_gpa);
	if (s->hsm == 3)
		return fail_set(why, FAIL_CORRUPT, "invalid hsm state 3");
	if (s->hsm == HSM_SUSPENDED && !s->wfi)
		return fail_set(why, FAIL_CORRUPT, "suspended hart without wfi set");
	return 0;
}

const struct state_table hart_state_table = {
	.name = "hart", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct hart_state), .fields = fields, .check = hart_check,
};
