/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_ACCEL_SOFT_RV64_FP_H
#define VMRUN_ACCEL_SOFT_RV64_FP_H

#include <stdbool.h>
#include <stdint.h>

struct hart;

/* F and D on the host's FPU (rv64_fp.c), conversions and RMM by integers (rv64_softfp.c). Values
 * are the f registers' 64 bits; singles are NaN-boxed here. rm is 0 to 4. Exceptions accumulate
 * in the host's flags while the hart executes. They are moved to s.fflags when the guest reads
 * it, and before anything but guest instructions runs on this thread, which would raise flags of
 * its own. */
enum { FP_NX = 1, FP_UF = 2, FP_OF = 4, FP_DZ = 8, FP_NV = 16 };
enum { RM_RNE, RM_RTZ, RM_RDN, RM_RUP, RM_RMM, RM_DYN = 7 };

void rv64_fp_enter(struct hart *h);          /* the host's flags are clear, rounding to nearest */
void rv64_fp_sync_flags(struct hart *h);
void rv64_fp_leave(struct hart *h);

#define FP_DECLARE(p) \
	uint64_t rv64_fp_add_##p(struct hart *h, uint64_t a, uint64_t b, unsigned rm); \
	uint64_t rv64_fp_sub_##p(struct hart *h, uint64_t a, uint64_t b, unsigned rm); \
	uint64_t rv64_fp_mul_##p(struct hart *h, uint64_t a, uint64_t b, unsigned rm); \
	uint64_t rv64_fp_div_##p(struct hart *h, uint64_t a, uint64_t b, unsigned rm); \
	uint64_t rv64_fp_sqrt_##p(struct hart *h, uint64_t a, unsigned rm); \
	/* a * b + c, with the signs of the product and of c negated where asked */ \
	uint64_t rv64_fp_fma_##p(struct hart *h, uint64_t a, uint64_t b, uint64_t c, \
				 bool neg_product, bool neg_c, unsigned rm); \
	uint64_t rv64_fp_minmax_##p(struct hart *h, uint64_t a, uint64_t b, bool max); \
	uint64_t rv64_fp_eq_##p(struct hart *h, uint64_t a, uint64_t b); \
	uint64_t rv64_fp_lt_##p(struct hart *h, uint64_t a, uint64_t b); \
	uint64_t rv64_fp_le_##p(struct hart *h, uint64_t a, uint64_t b); \
	uint64_t rv64_fp_class_##p(uint64_t a); \
	/* how: 0 copy, 1 negated, 2 xor */ \
	uint64_t rv64_fp_sign_##p(uint64_t a, uint64_t b, unsigned how); \
	uint64_t rv64_fp_to_int_##p(struct hart *h, uint64_t a, bool is_signed, unsigned width, \
				    unsigned rm); \
	uint64_t rv64_fp_from_int_##p(struct hart *h, uint64_t a, bool is_signed, unsigned rm);
FP_DECLARE(s)
FP_DECLARE(d)
uint64_t rv64_fp_s_from_d(struct hart *h, uint64_t a, unsigned rm);
uint64_t rv64_fp_d_from_s(struct hart *h, uint64_t a);

/* rv64_softfp.c. mant * 2^exp, rounded to the bits of a single or double; FP_* are ORed into
 * *flags. The lowest bit of mant may be sticky: set for any non-zero bits below it. */
uint64_t rv64_softfp_pack(bool is_double, bool sign, int exp, uint64_t mant, unsigned rm,
			  unsigned *flags);
/* A double to an integer of width bits, saturating; NaN and infinities too. */
uint64_t rv64_softfp_to_int(uint64_t bits, bool is_signed, unsigned width, unsigned rm,
			    unsigned *flags);
enum rv64_softfp_op { SOFTFP_ADD, SOFTFP_SUB, SOFTFP_MUL, SOFTFP_DIV, SOFTFP_FMA };
/* To nearest, ties away, a rounding mode that hosts do not have. Operands are doubles, which hold
 * singles exactly; the result is packed. */
uint64_t rv64_softfp_rmm(enum rv64_softfp_op op, bool is_double, double a, double b, double c,
			 unsigned *flags);

#endif
