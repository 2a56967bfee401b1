/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_RV64_ASM_H
#define TESTS_UNIT_RV64_ASM_H

#include <stdint.h>

/* Encodings for tests that write small programs. Registers are plain numbers. */
enum {
	ZERO, RA, SP, GP, TP, T0, T1, T2, S0, S1, A0, A1, A2, A3, A4, A5, A6, A7,
	S2, S3, S4, S5, S6, S7, S8, S9, S10, S11, T3, T4, T5, T6,
};

static inline uint32_t rv_i(uint32_t op, uint32_t f3, uint32_t rd, uint32_t rs1, int32_t imm)
{
	return op | rd << 7 | f3 << 12 | rs1 << 15 | (uint32_t)imm << 20;
}

static inline uint32_t rv_s(uint32_t op, uint32_t f3, uint32_t rs1, uint32_t rs2, int32_t imm)
{
	return op | ((uint32_t)imm & 31) << 7 | f3 << 12 | rs1 << 15 | rs2 << 20 |
	       ((uint32_t)imm >> 5 & 127) << 25;
}

static inline uint32_t rv_r(uint32_t op, uint32_t f3, uint32_t f7, uint32_t rd, uint32_t rs1,
			    uint32_t rs2)
{
	return op | rd << 7 | f3 << 12 | rs1 << 15 | rs2 << 20 | f7 << 25;
}

static inline uint32_t rv_b(uint32_t f3, uint32_t rs1, uint32_t rs2, int32_t imm)
{
	uint32_t v = (uint32_t)imm;

	return 0x63 | f3 << 12 | rs1 << 15 | rs2 << 20 | (v >> 1 & 15) << 8 | (v >> 5 & 63) << 25 |
	       (v >> 11 & 1) << 7 | (v >> 12 & 1) << 31;
}

static inline uint32_t rv_jal(uint32_t rd, int32_t imm)
{
	uint32_t v = (uint32_t)imm;

	return 0x6f | rd << 7 | (v >> 1 & 1023) << 21 | (v >> 11 & 1) << 20 |
	       (v >> 12 & 255) << 12 | (v >> 20 & 1) << 31;
}

#define ADDI(rd, rs1, imm)   rv_i(0x13, 0, rd, rs1, imm)
#define SLLI(rd, rs1, n)     rv_i(0x13, 1, rd, rs1, n)
#define LUI(rd, imm20)       (0x37u | (uint32_t)(rd) << 7 | (uint32_t)(imm20) << 12)
#define ADD(rd, a, b)        rv_r(0x33, 0, 0, rd, a, b)
#define LB(rd, imm, rs1)     rv_i(0x03, 0, rd, rs1, imm)
#define LBU(rd, imm, rs1)    rv_i(0x03, 4, rd, rs1, imm)
#define LW(rd, imm, rs1)     rv_i(0x03, 2, rd, rs1, imm)
#define LD(rd, imm, rs1)     rv_i(0x03, 3, rd, rs1, imm)
#define SB(rs2, imm, rs1)    rv_s(0x23, 0, rs1, rs2, imm)
#define SW(rs2, imm, rs1)    rv_s(0x23, 2, rs1, rs2, imm)
#define SD(rs2, imm, rs1)    rv_s(0x23, 3, rs1, rs2, imm)
#define BEQ(a, b, imm)       rv_b(0, a, b, imm)
#define BNE(a, b, imm)       rv_b(1, a, b, imm)
#define JAL(rd, imm)         rv_jal(rd, imm)
#define JALR(rd, rs1, imm)   rv_i(0x67, 0, rd, rs1, imm)
#define CSRRW(rd, csr, rs1)  rv_i(0x73, 1, rd, rs1, (int32_t)(csr))
#define CSRRS(rd, csr, rs1)  rv_i(0x73, 2, rd, rs1, (int32_t)(csr))
#define CSRRC(rd, csr, rs1)  rv_i(0x73, 3, rd, rs1, (int32_t)(csr))
#define CSRRSI(rd, csr, imm) rv_i(0x73, 6, rd, imm, (int32_t)(csr))
#define LR_D(rd, rs1)        rv_r(0x2f, 3, 0x02 << 2, rd, rs1, 0)
#define SC_D(rd, rs2, rs1)   rv_r(0x2f, 3, 0x03 << 2, rd, rs1, rs2)
#define AMOADD_D(rd, rs2, rs1) rv_r(0x2f, 3, 0, rd, rs1, rs2)
#define ECALL      0x00000073u
#define EBREAK     0x00100073u
#define SRET       0x10200073u
#define WFI        0x10500073u
#define FENCE_I    0x0000100fu
#define FENCE      0x0ff0000fu
#define SFENCE(rs1) (0x12000073u | (uint32_t)(rs1) << 15)
#define NOP        0x00000013u

#define C_SSTATUS  0x100
#define C_SIE      0x104
#define C_STVEC    0x105
#define C_SCOUNTEREN 0x106
#define C_SSCRATCH 0x140
#define C_SEPC     0x141
#define C_SCAUSE   0x142
#define C_STVAL    0x143
#define C_SIP      0x144
#define C_STIMECMP 0x14d
#define C_SATP     0x180
#define C_CYCLE    0xc00
#define C_TIME     0xc01
#define C_INSTRET  0xc02

#endif
