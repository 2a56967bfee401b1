/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/soft/rv64_fp.h"

#include <fenv.h>
#include <math.h>
#include <string.h>

/* Rounding by integers, for what no host FPU does: ties away from zero (RMM), conversions that
 * saturate. IEEE 754-2019, 4.3; tininess is detected after rounding, as RISC-V requires
 * (Unprivileged 20191213, 11.2). */

/* Is a magnitude rounded up? odd: its lowest bit; rest: bits were cut off; half: by half a unit or
 * more; above: and not exactly half. */
static bool round_up(unsigned rm, bool sign, bool odd, bool rest, bool half, bool above)
{
	switch (rm) {
	case RM_RNE: return half && (above || odd);
	case RM_RTZ: return false;
	case RM_RDN: return sign && rest;
	case RM_RUP: return !sign && rest;
	default:     return half;
	}
}

/* m >> shift, rounded; *inexact when bits were lost. shift 0 or more. */
static uint64_t shift_round(uint64_t m, unsigned shift, unsigned rm, bool sign, bool *inexact)
{
	uint64_t q, rest, half;

	*inexact = false;
	if (shift == 0)
		return m;
	if (shift > 64) {          /* less than half a unit */
		*inexact = m != 0;
		return m && round_up(rm, sign, false, true, false, false);
	}
	q        = shift == 64 ? 0 : m >> shift;
	half     = (uint64_t)1 << (shift - 1);
	rest     = m & (half | (half - 1));
	*inexact = rest != 0;
	return q + round_up(rm, sign, q & 1, rest != 0, (rest & half) != 0,
			    (rest & (half - 1)) != 0);
}

uint64_t rv64_softfp_pack(bool is_double, bool sign, int exp, uint64_t mant, unsigned rm,
			  unsigned *flags)
{
	const int      prec = is_double ? 53 : 24;
	const int      emin = is_double ? -1022 : -126, emax = is_double ? 1023 : 127;
	const uint64_t top = (uint64_t)sign << (is_double ? 63 : 31);
	const uint64_t inf = (uint64_t)(emax - emin + 2) << (prec - 1);
	unsigned       shift = (unsigned)(64 - prec);
	uint64_t       q, result;
	bool           inexact, tiny = false;
	int            lead, e;

	if (!mant)
		return top;
	lead = __builtin_clzll(mant);
	mant <<= lead;
	e = exp - lead + 63;       /* value = 1.x * 2^e */

	if (e < emin) {
		bool ignored;

		/* Not tiny if rounding to full precision would carry it to the smallest normal
		 * number. */
		tiny   = !(e == emin - 1 &&
			   shift_round(mant, shift, rm, sign, &ignored) == (uint64_t)1 << prec);
		shift += emin - e > 100 ? 100 : (unsigned)(emin - e);
		e      = emin;
		/* A carry makes it normal, without more being done. */
		result = shift_round(mant, shift, rm, sign, &inexact);
	} else {
		q      = shift_round(mant, shift, rm, sign, &inexact);
		result = ((uint64_t)(e - emin) << (prec - 1)) + q;
	}
	if (inexact)
		*flags |= FP_NX | (tiny ? FP_UF : 0);
	if (result >= inf) {
		*flags |= FP_OF | FP_NX;
		result  = inf;
		if (rm == RM_RTZ || (rm == RM_RDN && !sign) || (rm == RM_RUP && sign))
			result = inf - 1;
	}
	return top | result;
}

uint64_t rv64_softfp_to_int(uint64_t bits, bool is_signed, unsigned width, unsigned rm,
			    unsigned *flags)
{
	const bool     sign = bits >> 63;
	const int      exp = (int)(bits >> 52 & 0x7ff);
	uint64_t       mant = bits & (((uint64_t)1 << 52) - 1);
	const uint64_t max = UINT64_MAX >> (64 - width) >> is_signed;
	const uint64_t min = is_signed ? max + 1 : 0;      /* as a magnitude */
	const bool     nan = exp == 0x7ff && mant;
	bool           inexact = false;
	int            shift;
	uint64_t       v;

	if (exp == 0x7ff || exp >= 1023 + 64)
		goto invalid;
	if (exp)
		mant |= (uint64_t)1 << 52;
	shift = 1075 - (exp ? exp : 1);
	if (shift <= 0)
		v = mant << -shift;
	else
		v = shift_round(mant, shift > 100 ? 100 : (unsigned)shift, rm, sign, &inexact);
	if (sign ? v > min : v > max)
		goto invalid;
	if (inexact)
		*flags |= FP_NX;
	v = sign ? 0 - v : v;
	return width == 32 ? (uint64_t)(int32_t)v : v;
invalid:
	*flags |= FP_NV;
	v = sign && !nan ? 0 - min : max;
	return width == 32 ? (uint64_t)(int32_t)v : v;
}

/* ---- ties away, through a wider format ---- */

#if defined(__SIZEOF_FLOAT128__)
typedef __float128 wide;
#else
typedef long double wide;      /* binary128 on the other 64 bit hosts */
#endif
_Static_assert(sizeof(wide) == 16, "needs a binary128 type");

uint64_t rv64_softfp_rmm(enum rv64_softfp_op op, bool is_double, double a, double b, double c,
			 unsigned *flags)
{
	volatile wide x = (wide)a, y = (wide)b, z = (wide)c, r;
	unsigned __int128 bits, mant;
	bool   sign, inexact;
	fenv_t env;
	int    exp;

	/* Towards zero, with a sticky last bit ("round to odd"): 113 bits are enough that rounding
	 * again to 53 or 24 gives the same as rounding once. A product of doubles is exact. */
	fegetenv(&env);
	fesetround(FE_TOWARDZERO);
	feclearexcept(FE_ALL_EXCEPT);
	switch (op) {
	case SOFTFP_ADD: r = x + y; break;
	case SOFTFP_SUB: r = x - y; break;
	case SOFTFP_MUL: r = x * y; break;
	case SOFTFP_DIV: r = x / y; break;
	default:
		r = x * y;
		r = r + z;
		break;
	}
	inexact = fetestexcept(FE_INEXACT);
	*flags |= fetestexcept(FE_INVALID) ? FP_NV : 0u;
	*flags |= fetestexcept(FE_DIVBYZERO) ? FP_DZ : 0u;
	fesetenv(&env);

	memcpy(&bits, (const void *)&r, sizeof(bits));
	sign = bits >> 127;
	exp  = (int)(bits >> 112 & 0x7fff);
	mant = bits & (((unsigned __int128)1 << 112) - 1);
	if (exp == 0x7fff) {
		if (mant)
			return is_double ? 0x7ff8000000000000u : 0x7fc00000u;
		return (uint64_t)sign << (is_double ? 63 : 31) |
		       (is_double ? 0x7ff0000000000000u : 0x7f800000u);
	}
	if (exp)
		mant |= (unsigned __int128)1 << 112;
	/* 113 bits to 63, sticky again. */
	bits = mant & (((unsigned __int128)1 << 50) - 1);
	exp  = (exp ? exp : 1) - 16383 - 112 + 50;
	return rv64_softfp_pack(is_double, sign, exp, (uint64_t)(mant >> 50) | (bits || inexact),
				RM_RMM, flags);
}
