/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_STATE_X86_NAMES_H
#define FORMAT_STATE_X86_NAMES_H

#include <stddef.h>
#include <stdint.h>

/* Names of what an x86-64 CPU has: bits of CPUID as /proc/cpuinfo has them, MSRs, registers of the
 * local APIC. */

enum x86_reg { X86_EAX, X86_EBX, X86_ECX, X86_EDX, X86_REGS };
extern const char *const x86_reg_names[X86_REGS];      /* "EAX" */

/* A register of a CPUID answer all of whose bits are features: a bit that the guest was told of
 * must stay. */
struct x86_word {
	uint32_t     leaf, index;
	enum x86_reg reg;
	const char  *name[32];      /* NULL: none known, or no feature by itself */
};
extern const struct x86_word x86_words[];
extern const size_t          x86_nwords;

/* NULL: none known */
const char *x86_feature_name(uint32_t leaf, uint32_t index, enum x86_reg reg, unsigned bit);
/* "CPUID 7.0 EBX bit 5 (avx2)". Returns out. */
#define X86_BIT_TEXT 64
const char *x86_bit_text(uint32_t leaf, uint32_t index, enum x86_reg reg, unsigned bit,
			 char out[X86_BIT_TEXT]);

const char *x86_msr_name(uint32_t msr);                  /* "IA32_TSC"; NULL: none known */
/* "MSR 0x10 (IA32_TSC)". Returns out. */
#define X86_MSR_TEXT 64
const char *x86_msr_text(uint32_t msr, char out[X86_MSR_TEXT]);

/* "TPR" at 0x80; NULL: no register there */
const char *x86_lapic_name(uint32_t offset);

#endif
