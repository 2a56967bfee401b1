/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/soft/rv64_ops.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* Where the operands are in the 32 bits. */
enum format {
	R, I, SH6, SH5, S, B, U, J,
	FENCE,
	END, ENDR,      /* no operands that are used; ENDR has rs1 and rs2 */
	CSR,
	FL, FS,         /* loads and stores of f registers */
	R4, FR, FRX,    /* with a rounding mode; X: rd is an x register */
	FN, FNX,        /* without one */
};

struct row {
	enum rv64_opcode op;
	enum format      format;
	uint32_t         match, mask;
};

static const struct row rows[] = {
#define X(name, fmt, match, mask, lens) { OP_##name, fmt, match, mask },
	RV64_INSNS(X)
#undef X
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

/* Rows by opcode and funct3, so that a lookup compares only a few. */
static struct bucket {
	uint16_t first, count;
} buckets[32 * 8];
static uint16_t order[ROWS * 8];

static void decode_init(void)
{
	uint16_t used = 0;

	for (uint32_t b = 0; b < 32 * 8; b++) {
		uint32_t raw = 3 | (b >> 3) << 2 | (b & 7) << 12;

		buckets[b].first = used;
		for (unsigned i = 0; i < ROWS; i++)
			if ((raw & rows[i].mask & K_F3) == (rows[i].match & K_F3 & rows[i].mask))
				order[used++] = (uint16_t)i;
		buckets[b].count = (uint16_t)(used - buckets[b].first);
	}
}

static const struct row *decode_find(uint32_t raw)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const struct bucket  *b;

	if ((raw & 3) != 3)
		return NULL;
	pthread_once(&once, decode_init);
	b = &buckets[(raw >> 2 & 31) << 3 | (raw >> 12 & 7)];
	for (unsigned i = 0; i < b->count; i++) {
		const struct row *r = &rows[order[b->first + i]];

		if ((raw & r->mask) == r->match)
			return r;
	}
	return NULL;
}

static int64_t imm_i(uint32_t raw) { return (int32_t)raw >> 20; }
static int64_t imm_s(uint32_t raw) { return ((int32_t)raw >> 25) * 32 + (int32_t)(raw >> 7 & 31); }
static int64_t imm_b(uint32_t raw)
{
	return ((int32_t)raw >> 31) * 4096 +
	       (int32_t)((raw >> 7 & 1) << 11 | (raw >> 25 & 63) << 5 | (raw >> 8 & 15) << 1);
}
static int64_t imm_j(uint32_t raw)
{
	return ((int32_t)raw >> 31) * 1048576 +
	       (int32_t)((raw & 0xff000) | (raw >> 20 & 1) << 11 | (raw >> 21 & 1023) << 1);
}

/* Common special cases, which have a shorter body in the executor. */
static enum rv64_opcode decode_simplify(const struct rv64_op *op, enum rv64_opcode code)
{
	switch (code) {
	case OP_addi:
		if (op->rs1 == 0)
			return OP_li;
		if (op->rd == RV64_SINK)
			return OP_nop;
		return op->imm == 0 ? OP_mv : code;
	case OP_add:
		/* c.mv is add rd, x0, rs2: decode_operands has swapped the sources */
		return op->rs2 == 0 ? OP_mv : code;
	case OP_lui:
		return OP_li;
	default:
		return code;
	}
}

/* A target in the same page is reached by moving op: imm becomes bytes of ops, 16 for each 2
 * bytes of code. */
static enum rv64_opcode decode_near(struct rv64_op *op, enum rv64_opcode code, unsigned at)
{
	int64_t target = (int64_t)at + op->imm;

	if (target < 0 || target >= 4096)
		return code;
	switch (code) {
	case OP_beq:  code = OP_beq_near; break;
	case OP_bne:  code = OP_bne_near; break;
	case OP_blt:  code = OP_blt_near; break;
	case OP_bge:  code = OP_bge_near; break;
	case OP_bltu: code = OP_bltu_near; break;
	case OP_bgeu: code = OP_bgeu_near; break;
	case OP_jal:  code = op->rd == RV64_SINK ? OP_j_near : OP_jal_near; break;
	default:      return code;
	}
	op->imm *= (int64_t)sizeof(struct rv64_op) / 2;
	return code;
}

/* 5 and 6 are reserved: illegal. 7 means frm. */
static bool decode_rm(struct rv64_op *op, uint32_t raw)
{
	op->imm = raw >> 12 & 7;
	return op->imm != 5 && op->imm != 6;
}

/* false: the operands make it illegal */
static bool decode_operands(struct rv64_op *op, const struct row *r, uint32_t raw)
{
	bool int_rd = true;

	op->rd  = (uint8_t)(raw >> 7 & 31);
	op->rs1 = (uint8_t)(raw >> 15 & 31);
	op->rs2 = (uint8_t)(raw >> 20 & 31);
	switch (r->format) {
	case R:
		if (r->op == OP_add && op->rs1 == 0) {
			op->rs1 = op->rs2;
			op->rs2 = 0;
		}
		break;
	case I:   op->imm = imm_i(raw); break;
	case SH6: op->imm = raw >> 20 & 63; break;
	case SH5: op->imm = raw >> 20 & 31; break;
	case S:   op->imm = imm_s(raw); int_rd = false; break;
	case B:   op->imm = imm_b(raw); int_rd = false; break;
	case U:   op->imm = (int32_t)(raw & 0xfffff000u); break;
	case J:   op->imm = imm_j(raw); break;
	case FENCE: op->imm = raw >> 20; int_rd = false; break;
	case END: case ENDR: int_rd = false; break;
	case CSR: op->imm = (int64_t)(raw >> 20 | (uint64_t)raw << 32); break;
	case FL:  op->imm = imm_i(raw); int_rd = false; break;
	case FS:  op->imm = imm_s(raw); int_rd = false; break;
	case R4:
		op->aux = (uint8_t)(raw >> 27);
		int_rd  = false;
		if (!decode_rm(op, raw))
			return false;
		break;
	case FR:
		int_rd = false;
		if (!decode_rm(op, raw))
			return false;
		break;
	case FRX:
		if (!decode_rm(op, raw))
			return false;
		break;
	case FN:  int_rd = false; break;
	case FNX: break;
	}
	if (int_rd && op->rd == 0)
		op->rd = RV64_SINK;
	return true;
}

/* A fence that orders only what the host orders anyway is dropped: x86 orders all but earlier
 * stores and later loads. */
static bool decode_fence_needed(int64_t fields)
{
#if defined(__x86_64__)
	const unsigned pred = (unsigned)fields >> 4 & 15, succ = (unsigned)fields & 15;

	return (pred & 5) && (succ & 10);
#else
	(void)fields;
	return true;
#endif
}

void rv64_decode(struct rv64_op *op, uint32_t raw, unsigned len, unsigned at)
{
	const struct row *r = decode_find(raw);
	enum rv64_opcode  code;

	*op = (struct rv64_op){ 0 };
	if (!r || !decode_operands(op, r, raw)) {
		code    = OP_illegal;
		op->imm = raw;
	} else {
		code = decode_simplify(op, r->op);
		if (r->format == B || r->format == J)
			code = decode_near(op, code, at);
		if (code == OP_fence && !decode_fence_needed(op->imm))
			code = OP_nop;
	}
	op->code = (uint16_t)((unsigned)code << 1 | (len == 2));
}
