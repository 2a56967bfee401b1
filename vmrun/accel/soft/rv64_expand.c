/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/soft/rv64_ops.h"

/* Compressed instructions to their 32 bit form. RISC-V Unprivileged ISA 20191213, chapter 16,
 * tables 16.5 to 16.7. */

/* Bits [hi..lo] of h. */
static uint32_t bits(uint32_t h, unsigned hi, unsigned lo)
{
	return h >> lo & ((1u << (hi - lo + 1)) - 1);
}

static int32_t sext(uint32_t v, unsigned width)
{
	return (int32_t)(v << (32 - width)) >> (32 - width);
}

enum { X0 = 0, RA = 1, SP = 2 };

static uint32_t enc_i(uint32_t op, uint32_t f3, uint32_t rd, uint32_t rs1, int32_t imm)
{
	return RV_F3(op, f3) | rd << 7 | rs1 << 15 | (uint32_t)imm << 20;
}

static uint32_t enc_s(uint32_t op, uint32_t f3, uint32_t rs1, uint32_t rs2, uint32_t imm)
{
	return RV_F3(op, f3) | rs1 << 15 | rs2 << 20 | bits(imm, 4, 0) << 7 |
	       bits(imm, 11, 5) << 25;
}

static uint32_t enc_r(uint32_t op, uint32_t f3, uint32_t f7, uint32_t rd, uint32_t rs1,
		      uint32_t rs2)
{
	return RV_F7(op, f3, f7) | rd << 7 | rs1 << 15 | rs2 << 20;
}

static uint32_t enc_b(uint32_t f3, uint32_t rs1, int32_t imm)
{
	uint32_t v = (uint32_t)imm;

	return RV_F3(24, f3) | rs1 << 15 | bits(v, 4, 1) << 8 | bits(v, 10, 5) << 25 |
	       bits(v, 11, 11) << 7 | bits(v, 12, 12) << 31;
}

static uint32_t enc_j(uint32_t rd, int32_t imm)
{
	uint32_t v = (uint32_t)imm;

	return RV_F3(27, 0) | rd << 7 | bits(v, 10, 1) << 21 | bits(v, 11, 11) << 20 |
	       bits(v, 19, 12) << 12 | bits(v, 20, 20) << 31;
}

/* Quadrant 0: loads and stores with a base. */
static uint32_t expand_0(uint32_t h)
{
	uint32_t r1 = 8 + bits(h, 9, 7), r2 = 8 + bits(h, 4, 2);
	uint32_t off4 = bits(h, 12, 10) << 3 | bits(h, 6, 6) << 2 | bits(h, 5, 5) << 6;
	uint32_t off8 = bits(h, 12, 10) << 3 | bits(h, 6, 5) << 6;
	uint32_t wide = bits(h, 10, 7) << 6 | bits(h, 12, 11) << 4 | bits(h, 5, 5) << 3 |
			bits(h, 6, 6) << 2;

	switch (bits(h, 15, 13)) {
	case 0: return wide ? enc_i(4, 0, r2, SP, (int32_t)wide) : 0;       /* c.addi4spn */
	case 1: return enc_i(1, 3, r2, r1, (int32_t)off8);                  /* c.fld */
	case 2: return enc_i(0, 2, r2, r1, (int32_t)off4);                  /* c.lw */
	case 3: return enc_i(0, 3, r2, r1, (int32_t)off8);                  /* c.ld */
	case 5: return enc_s(9, 3, r1, r2, off8);                           /* c.fsd */
	case 6: return enc_s(8, 2, r1, r2, off4);                           /* c.sw */
	case 7: return enc_s(8, 3, r1, r2, off8);                           /* c.sd */
	}
	return 0;
}

/* c.srli, c.srai, c.andi and the register forms below them */
static uint32_t expand_alu(uint32_t h)
{
	/* sub xor or and, subw addw */
	static const uint32_t f3[8] = { 0, 4, 6, 7, 0, 0, 0, 0 };
	uint32_t r1 = 8 + bits(h, 9, 7), r2 = 8 + bits(h, 4, 2);
	uint32_t kind = bits(h, 12, 12) << 2 | bits(h, 6, 5);
	uint32_t sh = bits(h, 12, 12) << 5 | bits(h, 6, 2);

	switch (bits(h, 11, 10)) {
	case 0: return enc_i(4, 5, r1, r1, (int32_t)sh);
	case 1: return enc_i(4, 5, r1, r1, (int32_t)(sh | 0x400));
	case 2: return enc_i(4, 7, r1, r1, sext(sh, 6));
	}
	if (kind > 5)
		return 0;
	return enc_r(kind < 4 ? 12 : 14, f3[kind], kind == 0 || kind == 4 ? 0x20 : 0, r1, r1, r2);
}

/* Quadrant 1: immediates, jumps, branches. */
static uint32_t expand_1(uint32_t h)
{
	uint32_t rd = bits(h, 11, 7), r1 = 8 + bits(h, 9, 7);
	int32_t  imm = sext(bits(h, 12, 12) << 5 | bits(h, 6, 2), 6);
	int32_t  jump = sext(bits(h, 12, 12) << 11 | bits(h, 11, 11) << 4 | bits(h, 10, 9) << 8 |
			     bits(h, 8, 8) << 10 | bits(h, 7, 7) << 6 | bits(h, 6, 6) << 7 |
			     bits(h, 5, 3) << 1 | bits(h, 2, 2) << 5, 12);
	int32_t  branch = sext(bits(h, 12, 12) << 8 | bits(h, 11, 10) << 3 | bits(h, 6, 5) << 6 |
			       bits(h, 4, 3) << 1 | bits(h, 2, 2) << 5, 9);
	int32_t  sp16 = sext(bits(h, 12, 12) << 9 | bits(h, 6, 6) << 4 | bits(h, 5, 5) << 6 |
			     bits(h, 4, 3) << 7 | bits(h, 2, 2) << 5, 10);

	switch (bits(h, 15, 13)) {
	case 0: return enc_i(4, 0, rd, rd, imm);                            /* c.nop, c.addi */
	case 1: return rd ? enc_i(6, 0, rd, rd, imm) : 0;                   /* c.addiw */
	case 2: return enc_i(4, 0, rd, X0, imm);                            /* c.li */
	case 3:
		if (rd == SP)
			return sp16 ? enc_i(4, 0, SP, SP, sp16) : 0;        /* c.addi16sp */
		return imm ? RV_F3(13, 0) | rd << 7 | (uint32_t)imm << 12 : 0;    /* c.lui */
	case 4: return expand_alu(h);
	case 5: return enc_j(X0, jump);                                     /* c.j */
	case 6: return enc_b(0, r1, branch);                                /* c.beqz */
	case 7: return enc_b(1, r1, branch);                                /* c.bnez */
	}
	return 0;
}

/* Quadrant 2: stack-relative accesses and moves. */
static uint32_t expand_2(uint32_t h)
{
	uint32_t rd = bits(h, 11, 7), r2 = bits(h, 6, 2);
	uint32_t ld8 = bits(h, 12, 12) << 5 | bits(h, 6, 5) << 3 | bits(h, 4, 2) << 6;
	uint32_t ld4 = bits(h, 12, 12) << 5 | bits(h, 6, 4) << 2 | bits(h, 3, 2) << 6;
	uint32_t st8 = bits(h, 12, 10) << 3 | bits(h, 9, 7) << 6;
	uint32_t st4 = bits(h, 12, 9) << 2 | bits(h, 8, 7) << 6;

	switch (bits(h, 15, 13)) {
	case 0: return enc_i(4, 1, rd, rd, (int32_t)(bits(h, 12, 12) << 5 | r2));     /* c.slli */
	case 1: return enc_i(1, 3, rd, SP, (int32_t)ld8);                   /* c.fldsp */
	case 2: return rd ? enc_i(0, 2, rd, SP, (int32_t)ld4) : 0;          /* c.lwsp */
	case 3: return rd ? enc_i(0, 3, rd, SP, (int32_t)ld8) : 0;          /* c.ldsp */
	case 4:
		if (!bits(h, 12, 12)) {
			if (r2)
				return enc_r(12, 0, 0, rd, X0, r2);         /* c.mv */
			return rd ? enc_i(25, 0, X0, rd, 0) : 0;            /* c.jr */
		}
		if (r2)
			return enc_r(12, 0, 0, rd, rd, r2);                 /* c.add */
		return rd ? enc_i(25, 0, RA, rd, 0) : 0x00100073u;          /* c.jalr, c.ebreak */
	case 5: return enc_s(9, 3, SP, r2, st8);                            /* c.fsdsp */
	case 6: return enc_s(8, 2, SP, r2, st4);                            /* c.swsp */
	case 7: return enc_s(8, 3, SP, r2, st8);                            /* c.sdsp */
	}
	return 0;
}

uint32_t rv64_expand(uint16_t half)
{
	switch (half & 3) {
	case 0: return expand_0(half);
	case 1: return expand_1(half);
	case 2: return expand_2(half);
	}
	return 0;
}
