/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_ACCEL_SOFT_RV64_OPS_H
#define VMRUN_ACCEL_SOFT_RV64_OPS_H

#include <stdint.h>

/* The instructions of RV64IMAFDC_Zicsr_Zifencei in S and U mode: one list, from which the
 * decoder's table, the opcode numbers and the executor's label table are made. RISC-V
 * Unprivileged ISA 20191213, chapter 24 (opcode maps).
 *
 * X(name, format, match, mask, lengths): TWO has an executor body for each of 4 and 2 bytes (so
 * that going to the next op adds a constant), ONE has a single body that calls op_len().
 * Compressed instructions are expanded before they are looked up. */

#define RV_F3(op, f3)          (3u | (uint32_t)(op) << 2 | (uint32_t)(f3) << 12)
#define RV_F7(op, f3, f7)      (RV_F3(op, f3) | (uint32_t)(f7) << 25)
#define RV_F7R(op, f3, f7, r2) (RV_F7(op, f3, f7) | (uint32_t)(r2) << 20)

#define K_OP   0x0000007fu      /* opcode alone */
#define K_F3   0x0000707fu
#define K_F6   0xfc00707fu      /* 6 bit shift amount */
#define K_F7   0xfe00707fu
#define K_F7RM 0xfe00007fu      /* funct3 is the rounding mode */
#define K_F7R  0xfff0007fu      /* and rs2 selects */
#define K_F7R3 0xfff0707fu
#define K_F5   0xf800707fu      /* AMO: aq and rl are free */
#define K_LR   0xf9f0707fu
#define K_R4   0x0600007fu
#define K_ALL  0xffffffffu

/* Loads, stores, integer arithmetic: what guests mostly execute. */
#define RV64_INSNS_I(X) \
	X(lb,     I,   RV_F3(0, 0),        K_F3, TWO) \
	X(lh,     I,   RV_F3(0, 1),        K_F3, TWO) \
	X(lw,     I,   RV_F3(0, 2),        K_F3, TWO) \
	X(ld,     I,   RV_F3(0, 3),        K_F3, TWO) \
	X(lbu,    I,   RV_F3(0, 4),        K_F3, TWO) \
	X(lhu,    I,   RV_F3(0, 5),        K_F3, TWO) \
	X(lwu,    I,   RV_F3(0, 6),        K_F3, TWO) \
	X(sb,     S,   RV_F3(8, 0),        K_F3, TWO) \
	X(sh,     S,   RV_F3(8, 1),        K_F3, TWO) \
	X(sw,     S,   RV_F3(8, 2),        K_F3, TWO) \
	X(sd,     S,   RV_F3(8, 3),        K_F3, TWO) \
	X(addi,   I,   RV_F3(4, 0),        K_F3, TWO) \
	X(slti,   I,   RV_F3(4, 2),        K_F3, TWO) \
	X(sltiu,  I,   RV_F3(4, 3),        K_F3, TWO) \
	X(xori,   I,   RV_F3(4, 4),        K_F3, TWO) \
	X(ori,    I,   RV_F3(4, 6),        K_F3, TWO) \
	X(andi,   I,   RV_F3(4, 7),        K_F3, TWO) \
	X(slli,   SH6, RV_F7(4, 1, 0x00),  K_F6, TWO) \
	X(srli,   SH6, RV_F7(4, 5, 0x00),  K_F6, TWO) \
	X(srai,   SH6, RV_F7(4, 5, 0x20),  K_F6, TWO) \
	X(auipc,  U,   RV_F3(5, 0),        K_OP, TWO) \
	X(addiw,  I,   RV_F3(6, 0),        K_F3, TWO) \
	X(slliw,  SH5, RV_F7(6, 1, 0x00),  K_F7, TWO) \
	X(srliw,  SH5, RV_F7(6, 5, 0x00),  K_F7, TWO) \
	X(sraiw,  SH5, RV_F7(6, 5, 0x20),  K_F7, TWO) \
	X(add,    R,   RV_F7(12, 0, 0x00), K_F7, TWO) \
	X(sub,    R,   RV_F7(12, 0, 0x20), K_F7, TWO) \
	X(sll,    R,   RV_F7(12, 1, 0x00), K_F7, TWO) \
	X(slt,    R,   RV_F7(12, 2, 0x00), K_F7, TWO) \
	X(sltu,   R,   RV_F7(12, 3, 0x00), K_F7, TWO) \
	X(xor,    R,   RV_F7(12, 4, 0x00), K_F7, TWO) \
	X(srl,    R,   RV_F7(12, 5, 0x00), K_F7, TWO) \
	X(sra,    R,   RV_F7(12, 5, 0x20), K_F7, TWO) \
	X(or,     R,   RV_F7(12, 6, 0x00), K_F7, TWO) \
	X(and,    R,   RV_F7(12, 7, 0x00), K_F7, TWO) \
	X(mul,    R,   RV_F7(12, 0, 0x01), K_F7, TWO) \
	X(mulh,   R,   RV_F7(12, 1, 0x01), K_F7, TWO) \
	X(mulhsu, R,   RV_F7(12, 2, 0x01), K_F7, TWO) \
	X(mulhu,  R,   RV_F7(12, 3, 0x01), K_F7, TWO) \
	X(div,    R,   RV_F7(12, 4, 0x01), K_F7, TWO) \
	X(divu,   R,   RV_F7(12, 5, 0x01), K_F7, TWO) \
	X(rem,    R,   RV_F7(12, 6, 0x01), K_F7, TWO) \
	X(remu,   R,   RV_F7(12, 7, 0x01), K_F7, TWO) \
	X(lui,    U,   RV_F3(13, 0),       K_OP, TWO) \
	X(addw,   R,   RV_F7(14, 0, 0x00), K_F7, TWO) \
	X(subw,   R,   RV_F7(14, 0, 0x20), K_F7, TWO) \
	X(sllw,   R,   RV_F7(14, 1, 0x00), K_F7, TWO) \
	X(srlw,   R,   RV_F7(14, 5, 0x00), K_F7, TWO) \
	X(sraw,   R,   RV_F7(14, 5, 0x20), K_F7, TWO) \
	X(mulw,   R,   RV_F7(14, 0, 0x01), K_F7, TWO) \
	X(divw,   R,   RV_F7(14, 4, 0x01), K_F7, TWO) \
	X(divuw,  R,   RV_F7(14, 5, 0x01), K_F7, TWO) \
	X(remw,   R,   RV_F7(14, 6, 0x01), K_F7, TWO) \
	X(remuw,  R,   RV_F7(14, 7, 0x01), K_F7, TWO) \
	X(beq,    B,   RV_F3(24, 0),       K_F3, TWO) \
	X(bne,    B,   RV_F3(24, 1),       K_F3, TWO) \
	X(blt,    B,   RV_F3(24, 4),       K_F3, TWO) \
	X(bge,    B,   RV_F3(24, 5),       K_F3, TWO) \
	X(bltu,   B,   RV_F3(24, 6),       K_F3, TWO) \
	X(bgeu,   B,   RV_F3(24, 7),       K_F3, TWO) \
	X(jalr,   I,   RV_F3(25, 0),       K_F3, TWO) \
	X(jal,    J,   RV_F3(27, 0),       K_OP, TWO) \
	X(flw,    FL,  RV_F3(1, 2),        K_F3, TWO) \
	X(fld,    FL,  RV_F3(1, 3),        K_F3, TWO) \
	X(fsw,    FS,  RV_F3(9, 2),        K_F3, TWO) \
	X(fsd,    FS,  RV_F3(9, 3),        K_F3, TWO) \
	X(fence,  FENCE, RV_F3(3, 0),      K_F3, TWO)

/* Everything that ends a block for its effect on the hart as a whole. */
#define RV64_INSNS_SYS(X) \
	X(fence_i,    END, RV_F3(3, 1),  K_F3, ONE) \
	X(ecall,      END, 0x00000073u,  K_ALL, ONE) \
	X(ebreak,     END, 0x00100073u,  K_ALL, ONE) \
	X(sret,       END, 0x10200073u,  K_ALL, ONE) \
	X(wfi,        END, 0x10500073u,  K_ALL, ONE) \
	X(sfence_vma, ENDR, 0x12000073u, 0xfe007fffu, ONE) \
	X(csrrw,      CSR, RV_F3(28, 1), K_F3, ONE) \
	X(csrrs,      CSR, RV_F3(28, 2), K_F3, ONE) \
	X(csrrc,      CSR, RV_F3(28, 3), K_F3, ONE) \
	X(csrrwi,     CSR, RV_F3(28, 5), K_F3, ONE) \
	X(csrrsi,     CSR, RV_F3(28, 6), K_F3, ONE) \
	X(csrrci,     CSR, RV_F3(28, 7), K_F3, ONE)

#define RV64_AMO(X, name, f5) \
	X(name##_w, R, RV_F7(11, 2, (f5) << 2), K_F5, ONE) \
	X(name##_d, R, RV_F7(11, 3, (f5) << 2), K_F5, ONE)

#define RV64_INSNS_A(X) \
	X(lr_w, R, RV_F7(11, 2, 0x02 << 2), K_LR, ONE) \
	X(lr_d, R, RV_F7(11, 3, 0x02 << 2), K_LR, ONE) \
	X(sc_w, R, RV_F7(11, 2, 0x03 << 2), K_F5, ONE) \
	X(sc_d, R, RV_F7(11, 3, 0x03 << 2), K_F5, ONE) \
	RV64_AMO(X, amoswap, 0x01) \
	RV64_AMO(X, amoadd,  0x00) \
	RV64_AMO(X, amoxor,  0x04) \
	RV64_AMO(X, amoand,  0x0c) \
	RV64_AMO(X, amoor,   0x08) \
	RV64_AMO(X, amomin,  0x10) \
	RV64_AMO(X, amomax,  0x14) \
	RV64_AMO(X, amominu, 0x18) \
	RV64_AMO(X, amomaxu, 0x1c)

/* F and D; fp is 0 for single, 1 for double: they differ in one bit of the encoding. */
#define RV64_FP(X, p, fp) \
	X(fmadd_##p,   R4, RV_F7(16, 0, fp), K_R4, ONE) \
	X(fmsub_##p,   R4, RV_F7(17, 0, fp), K_R4, ONE) \
	X(fnmsub_##p,  R4, RV_F7(18, 0, fp), K_R4, ONE) \
	X(fnmadd_##p,  R4, RV_F7(19, 0, fp), K_R4, ONE) \
	X(fadd_##p,    FR, RV_F7(20, 0, 0x00 | (fp)), K_F7RM, ONE) \
	X(fsub_##p,    FR, RV_F7(20, 0, 0x04 | (fp)), K_F7RM, ONE) \
	X(fmul_##p,    FR, RV_F7(20, 0, 0x08 | (fp)), K_F7RM, ONE) \
	X(fdiv_##p,    FR, RV_F7(20, 0, 0x0c | (fp)), K_F7RM, ONE) \
	X(fsqrt_##p,   FR, RV_F7R(20, 0, 0x2c | (fp), 0), K_F7R, ONE) \
	X(fsgnj_##p,   FN, RV_F7(20, 0, 0x10 | (fp)), K_F7, ONE) \
	X(fsgnjn_##p,  FN, RV_F7(20, 1, 0x10 | (fp)), K_F7, ONE) \
	X(fsgnjx_##p,  FN, RV_F7(20, 2, 0x10 | (fp)), K_F7, ONE) \
	X(fmin_##p,    FN, RV_F7(20, 0, 0x14 | (fp)), K_F7, ONE) \
	X(fmax_##p,    FN, RV_F7(20, 1, 0x14 | (fp)), K_F7, ONE) \
	X(fle_##p,     FNX, RV_F7(20, 0, 0x50 | (fp)), K_F7, ONE) \
	X(flt_##p,     FNX, RV_F7(20, 1, 0x50 | (fp)), K_F7, ONE) \
	X(feq_##p,     FNX, RV_F7(20, 2, 0x50 | (fp)), K_F7, ONE) \
	X(fclass_##p,  FNX, RV_F7R(20, 1, 0x70 | (fp), 0), K_F7R3, ONE) \
	X(fcvt_w_##p,  FRX, RV_F7R(20, 0, 0x60 | (fp), 0), K_F7R, ONE) \
	X(fcvt_wu_##p, FRX, RV_F7R(20, 0, 0x60 | (fp), 1), K_F7R, ONE) \
	X(fcvt_l_##p,  FRX, RV_F7R(20, 0, 0x60 | (fp), 2), K_F7R, ONE) \
	X(fcvt_lu_##p, FRX, RV_F7R(20, 0, 0x60 | (fp), 3), K_F7R, ONE) \
	X(fcvt_##p##_w,  FR, RV_F7R(20, 0, 0x68 | (fp), 0), K_F7R, ONE) \
	X(fcvt_##p##_wu, FR, RV_F7R(20, 0, 0x68 | (fp), 1), K_F7R, ONE) \
	X(fcvt_##p##_l,  FR, RV_F7R(20, 0, 0x68 | (fp), 2), K_F7R, ONE) \
	X(fcvt_##p##_lu, FR, RV_F7R(20, 0, 0x68 | (fp), 3), K_F7R, ONE)

#define RV64_INSNS_FD(X) \
	RV64_FP(X, s, 0) \
	RV64_FP(X, d, 1) \
	X(fcvt_s_d, FR,  RV_F7R(20, 0, 0x20, 1), K_F7R,  ONE) \
	X(fcvt_d_s, FR,  RV_F7R(20, 0, 0x21, 0), K_F7R,  ONE) \
	X(fmv_x_w,  FNX, RV_F7R(20, 0, 0x70, 0), K_F7R3, ONE) \
	X(fmv_x_d,  FNX, RV_F7R(20, 0, 0x71, 0), K_F7R3, ONE) \
	X(fmv_w_x,  FN,  RV_F7R(20, 0, 0x78, 0), K_F7R3, ONE) \
	X(fmv_d_x,  FN,  RV_F7R(20, 0, 0x79, 0), K_F7R3, ONE)

#define RV64_INSNS(X) RV64_INSNS_I(X) RV64_INSNS_SYS(X) RV64_INSNS_A(X) RV64_INSNS_FD(X)

/* What the decoder makes of an instruction by its address and operands. "near": the target is in
 * the same page, imm is the distance in bytes of ops. */
#define RV64_PSEUDO(X) \
	X(decode,    ONE)      /* number 0, as in zeroed memory: not yet decoded */ \
	X(page_end,  ONE)      /* after the last halfword: goes to the next page */ \
	X(straddle,  ONE)      /* 4 bytes, the upper half in the next page */ \
	X(illegal,   ONE) \
	X(nop,       TWO) \
	X(li,        TWO)      /* x[rd] = imm */ \
	X(mv,        TWO) \
	X(j_near,    TWO) \
	X(jal_near,  TWO) \
	X(beq_near,  TWO) \
	X(bne_near,  TWO) \
	X(blt_near,  TWO) \
	X(bge_near,  TWO) \
	X(bltu_near, TWO) \
	X(bgeu_near, TWO)

enum rv64_opcode {
#define X(name, lens) OP_##name,
	RV64_PSEUDO(X)
#undef X
#define X(name, format, match, mask, lens) OP_##name,
	RV64_INSNS(X)
#undef X
	OP_COUNT
};

/* One decoded instruction; a page has one for each halfword. code: opcode * 2, plus 1 when it is
 * 2 bytes long. */
struct rv64_op {
	uint16_t code;
	uint8_t  rd, rs1, rs2;      /* rd of an instruction that writes x0 is RV64_SINK */
	uint8_t  aux;               /* rs3 of R4 */
	uint16_t n;                 /* instructions from this one to the end of the block */
	int64_t  imm;               /* R4, FR, FRX: rounding mode; CSR: number | raw << 32 */
};
_Static_assert(sizeof(struct rv64_op) == 16, "pc is the op's address shifted");

#define RV64_SINK 32u       /* a 33rd register: no body has to test for x0 */

static inline enum rv64_opcode op_code(const struct rv64_op *op)
{
	return (enum rv64_opcode)(op->code >> 1);
}
static inline unsigned op_len(const struct rv64_op *op) { return 4u - 2u * (op->code & 1u); }

/* The 32 bit form of a 16 bit instruction; 0, which is never legal, for a reserved one. */
uint32_t rv64_expand(uint16_t half);

/* One instruction at byte `at` of its page; raw is expanded, len is 2 or 4 as in memory. Depends on
 * nothing else. */
void rv64_decode(struct rv64_op *op, uint32_t raw, unsigned len, unsigned at);

#endif
