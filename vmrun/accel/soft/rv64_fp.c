/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/soft/rv64_fp.h"

#include "vmrun/accel/soft/rv64.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#else
#include <fenv.h>
#endif

/* RISC-V Unprivileged 20191213, chapters 11 and 12. The host's FPU computes; what differs is done
 * here: every NaN result is the canonical one, singles are NaN-boxed, minimum and maximum, fma of
 * infinity, zero and a NaN. */

#define NAN_D 0x7ff8000000000000u
#define NAN_S 0x7fc00000u
#define BOX   0xffffffff00000000u

/* ---- the host's flags and rounding ---- */

#if defined(__x86_64__)

#define MXCSR_START 0x1f80u      /* nearest, no traps, flags clear */

void rv64_fp_enter(struct hart *h)
{
	(void)h;
	_mm_setcsr(MXCSR_START);
}

void rv64_fp_sync_flags(struct hart *h)
{
	unsigned csr = _mm_getcsr();

	if (!(csr & 0x3f))
		return;
	h->s.fflags |= (uint8_t)((csr & 1 ? FP_NV : 0) | (csr & 4 ? FP_DZ : 0) |
				 (csr & 8 ? FP_OF : 0) | (csr & 16 ? FP_UF : 0) |
				 (csr & 32 ? FP_NX : 0));
	_mm_setcsr(csr & ~0x3fu);
}

static inline void round_begin(unsigned rm)
{
	static const unsigned modes[] = {
		[RM_RNE] = 0, [RM_RTZ] = 0x6000, [RM_RDN] = 0x2000, [RM_RUP] = 0x4000, [RM_RMM] = 0,
	};

	if (rm)
		_mm_setcsr((_mm_getcsr() & ~0x6000u) | modes[rm]);
}

static inline void round_end(unsigned rm)
{
	if (rm)
		_mm_setcsr(_mm_getcsr() & ~0x6000u);
}

/* The compiler does not know that the mode changes results, and could move an operation across its
 * change: operands and result pass through this, which it cannot see into. */
#define OPAQUE(v) __asm__ volatile("" : "+x"(v) : : "memory")

static inline double host_sqrt(double v)
{
	__m128d x = _mm_set_sd(v);

	return _mm_cvtsd_f64(_mm_sqrt_sd(x, x));
}

static inline float host_sqrtf(float v) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(v))); }

#else

void rv64_fp_enter(struct hart *h)
{
	(void)h;
	fesetenv(FE_DFL_ENV);
}

void rv64_fp_sync_flags(struct hart *h)
{
	int e = fetestexcept(FE_ALL_EXCEPT);

	h->s.fflags |= (uint8_t)((e & FE_INVALID ? FP_NV : 0) | (e & FE_DIVBYZERO ? FP_DZ : 0) |
				 (e & FE_OVERFLOW ? FP_OF : 0) | (e & FE_UNDERFLOW ? FP_UF : 0) |
				 (e & FE_INEXACT ? FP_NX : 0));
	feclearexcept(FE_ALL_EXCEPT);
}

static inline void round_begin(unsigned rm)
{
	static const int modes[] = {
		[RM_RNE] = FE_TONEAREST,
		[RM_RTZ] = FE_TOWARDZERO,
		[RM_RDN] = FE_DOWNWARD,
		[RM_RUP] = FE_UPWARD,
		[RM_RMM] = FE_TONEAREST,
	};

	if (rm)
		fesetround(modes[rm]);
}

static inline void round_end(unsigned rm)
{
	if (rm)
		fesetround(FE_TONEAREST);
}

#define OPAQUE(v) __asm__ volatile("" : "+m"(v) : : "memory")
static inline double host_sqrt(double v) { return sqrt(v); }
static inline float host_sqrtf(float v) { return sqrtf(v); }

#endif

void rv64_fp_leave(struct hart *h)
{
	rv64_fp_sync_flags(h);
}

static inline void flag(struct hart *h, unsigned f) { h->s.fflags |= (uint8_t)f; }

/* ---- values ---- */

static inline double d_in(uint64_t v)
{
	double d;

	memcpy(&d, &v, sizeof(d));
	return d;
}

static inline bool d_nan(uint64_t v) { return (v & 0x7fffffffffffffffu) > 0x7ff0000000000000u; }
static inline bool d_snan(uint64_t v) { return d_nan(v) && !(v & 0x0008000000000000u); }

static inline uint64_t d_out(double d)
{
	uint64_t v;

	memcpy(&v, &d, sizeof(v));
	return d_nan(v) ? NAN_D : v;
}

/* A register that does not hold a boxed single is the canonical NaN to a single's instruction. */
static inline uint32_t s_bits(uint64_t v) { return v >> 32 == 0xffffffffu ? (uint32_t)v : NAN_S; }
static inline bool s_nan32(uint32_t v) { return (v & 0x7fffffffu) > 0x7f800000u; }
static inline bool s_nan(uint64_t v) { return s_nan32(s_bits(v)); }
static inline bool s_snan(uint64_t v) { return s_nan(v) && !(s_bits(v) & 0x00400000u); }

static inline float s_in(uint64_t v)
{
	uint32_t b = s_bits(v);
	float    f;

	memcpy(&f, &b, sizeof(f));
	return f;
}

static inline uint64_t s_out(float f)
{
	uint32_t b;

	memcpy(&b, &f, sizeof(b));
	return BOX | (s_nan32(b) ? NAN_S : b);
}

/* A single as a double for the integer routines: exact. Never of a signalling NaN, whose conversion
 * would raise a flag. */
static inline double wide_s(uint64_t v) { return (double)s_in(v); }
static inline double wide_d(uint64_t v) { return d_in(v); }

static uint64_t rmm(struct hart *h, enum rv64_softfp_op op, bool is_double, double a, double b,
		    double c)
{
	unsigned flags = 0;
	uint64_t v = rv64_softfp_rmm(op, is_double, a, b, c, &flags);

	flag(h, flags);
	return is_double ? v : BOX | v;
}

/* ---- arithmetic ---- */

/* Each macro writes whole functions, once for double and once for single: C has no other way to
 * have one text for two types. They use only their arguments and those of the function. */

#define ARITH(name, p, ctype, operator, soft, is_double) \
	uint64_t rv64_fp_##name##_##p(struct hart *h, uint64_t a, uint64_t b, unsigned rm) \
	{ \
		ctype x = p##_in(a), y = p##_in(b), r; \
		if (rm == RM_RMM && !p##_nan(a) && !p##_nan(b)) \
			return rmm(h, soft, is_double, wide_##p(a), wide_##p(b), 0); \
		round_begin(rm); \
		OPAQUE(x); \
		OPAQUE(y); \
		r = x operator y; \
		OPAQUE(r); \
		round_end(rm); \
		return p##_out(r); \
	}

#define FLOATS(p, ctype, is_double, sqrt_fn, fma_fn, out_bits) \
	ARITH(add, p, ctype, +, SOFTFP_ADD, is_double) \
	ARITH(sub, p, ctype, -, SOFTFP_SUB, is_double) \
	ARITH(mul, p, ctype, *, SOFTFP_MUL, is_double) \
	ARITH(div, p, ctype, /, SOFTFP_DIV, is_double) \
	\
	/* A square root is never a tie, and never subnormal: RMM is RNE. */ \
	uint64_t rv64_fp_sqrt_##p(struct hart *h, uint64_t a, unsigned rm) \
	{ \
		ctype x = p##_in(a), r; \
		(void)h; \
		round_begin(rm); \
		OPAQUE(x); \
		r = sqrt_fn(x); \
		OPAQUE(r); \
		round_end(rm); \
		return p##_out(r); \
	} \
	\
	uint64_t rv64_fp_fma_##p(struct hart *h, uint64_t a, uint64_t b, uint64_t c, \
				 bool neg_product, bool neg_c, unsigned rm) \
	{ \
		ctype x = p##_in(a), y = p##_in(b), z = p##_in(c), r; \
		/* hosts differ: infinity times zero is invalid even when a quiet NaN is added */ \
		if (p##_nan(c) && ((isinf(x) && y == 0) || (isinf(y) && x == 0))) { \
			flag(h, FP_NV); \
			return out_bits; \
		} \
		if (neg_product) \
			x = -x; \
		if (neg_c) \
			z = -z; \
		if (rm == RM_RMM && !p##_nan(a) && !p##_nan(b) && !p##_nan(c)) \
			return rmm(h, SOFTFP_FMA, is_double, (double)x, (double)y, (double)z); \
		round_begin(rm); \
		OPAQUE(x); \
		OPAQUE(y); \
		OPAQUE(z); \
		r = fma_fn(x, y, z); \
		OPAQUE(r); \
		round_end(rm); \
		return p##_out(r); \
	} \
	\
	uint64_t rv64_fp_minmax_##p(struct hart *h, uint64_t a, uint64_t b, bool max) \
	{ \
		ctype x = p##_in(a), y = p##_in(b); \
		bool  first; \
		if (p##_snan(a) || p##_snan(b)) \
			flag(h, FP_NV); \
		if (p##_nan(a)) \
			return p##_nan(b) ? out_bits : p##_out(y); \
		if (p##_nan(b)) \
			return p##_out(x); \
		if (x == y)      /* the zeros: -0 is the smaller one */ \
			first = (signbit(x) != 0) != max; \
		else \
			first = (x < y) != max; \
		return p##_out(first ? x : y); \
	} \
	\
	uint64_t rv64_fp_eq_##p(struct hart *h, uint64_t a, uint64_t b) \
	{ \
		if (p##_nan(a) || p##_nan(b)) { \
			if (p##_snan(a) || p##_snan(b)) \
				flag(h, FP_NV); \
			return 0; \
		} \
		return p##_in(a) == p##_in(b); \
	} \
	\
	uint64_t rv64_fp_lt_##p(struct hart *h, uint64_t a, uint64_t b) \
	{ \
		if (p##_nan(a) || p##_nan(b)) { \
			flag(h, FP_NV); \
			return 0; \
		} \
		return p##_in(a) < p##_in(b); \
	} \
	\
	uint64_t rv64_fp_le_##p(struct hart *h, uint64_t a, uint64_t b) \
	{ \
		if (p##_nan(a) || p##_nan(b)) { \
			flag(h, FP_NV); \
			return 0; \
		} \
		return p##_in(a) <= p##_in(b); \
	} \
	\
	uint64_t rv64_fp_class_##p(uint64_t a) \
	{ \
		ctype x = p##_in(a); \
		bool  neg = signbit(x); \
		if (p##_nan(a)) \
			return p##_snan(a) ? 1u << 8 : 1u << 9; \
		switch (fpclassify(x)) { \
		case FP_INFINITE:  return neg ? 1u << 0 : 1u << 7; \
		case FP_NORMAL:    return neg ? 1u << 1 : 1u << 6; \
		case FP_SUBNORMAL: return neg ? 1u << 2 : 1u << 5; \
		default:           return neg ? 1u << 3 : 1u << 4; \
		} \
	} \
	\
	uint64_t rv64_fp_from_int_##p(struct hart *h, uint64_t a, bool is_signed, unsigned rm) \
	{ \
		bool     sign = is_signed && a >> 63; \
		unsigned flags = 0; \
		uint64_t v = rv64_softfp_pack(is_double, sign, 0, sign ? 0 - a : a, rm, &flags); \
		flag(h, flags); \
		return is_double ? v : BOX | v; \
	}

FLOATS(d, double, true, host_sqrt, fma, NAN_D)
FLOATS(s, float, false, host_sqrtf, fmaf, (BOX | NAN_S))

uint64_t rv64_fp_sign_d(uint64_t a, uint64_t b, unsigned how)
{
	const uint64_t top = (uint64_t)1 << 63;

	return (a & ~top) | ((how == 0 ? b : how == 1 ? ~b : a ^ b) & top);
}

uint64_t rv64_fp_sign_s(uint64_t a, uint64_t b, unsigned how)
{
	const uint32_t top = 1u << 31, x = s_bits(a), y = s_bits(b);

	return BOX | (x & ~top) | ((how == 0 ? y : how == 1 ? ~y : x ^ y) & top);
}

uint64_t rv64_fp_to_int_d(struct hart *h, uint64_t a, bool is_signed, unsigned width, unsigned rm)
{
	unsigned flags = 0;
	uint64_t v = rv64_softfp_to_int(a, is_signed, width, rm, &flags);

	flag(h, flags);
	return v;
}

uint64_t rv64_fp_to_int_s(struct hart *h, uint64_t a, bool is_signed, unsigned width, unsigned rm)
{
	/* exact, and no signalling NaN to raise a flag */
	double   d = s_nan(a) ? (double)NAN : (double)s_in(a);
	uint64_t bits;

	memcpy(&bits, &d, sizeof(bits));
	return rv64_fp_to_int_d(h, bits, is_signed, width, rm);
}

uint64_t rv64_fp_s_from_d(struct hart *h, uint64_t a, unsigned rm)
{
	double d = d_in(a);
	float  f;

	if (rm == RM_RMM && isfinite(d)) {
		unsigned flags = 0;
		uint64_t mant = a & (((uint64_t)1 << 52) - 1), v;
		int      exp = (int)(a >> 52 & 0x7ff);

		if (exp)
			mant |= (uint64_t)1 << 52;
		v = rv64_softfp_pack(false, a >> 63, (exp ? exp : 1) - 1075, mant, rm, &flags);
		flag(h, flags);
		return BOX | v;
	}
	round_begin(rm);
	OPAQUE(d);
	f = (float)d;
	OPAQUE(f);
	round_end(rm);
	return s_out(f);
}

uint64_t rv64_fp_d_from_s(struct hart *h, uint64_t a)
{
	float  f = s_in(a);
	double d;

	(void)h;
	OPAQUE(f);
	d = (double)f;
	OPAQUE(d);
	return d_out(d);
}
