/* SPDX-License-Identifier: MIT */
#ifndef VMINSPECT_ARCH_X86_H
#define VMINSPECT_ARCH_X86_H

#include "format/state/state_x86.h"

#include <stddef.h>
#include <stdint.h>

/* Names and meanings of an x86-64 CPU's registers. Intel SDM 3, chapters 2, 3, 11 and 17. */

#define X86_GPRS 16
extern const char *const x86_gpr_names[X86_GPRS];    /* "rax" */
extern const char *const x86_seg_names[X86_SEGS];    /* "cs" */

/* The general registers in the order of their names. */
void x86_gprs(const struct x86_regs_state *s, uint64_t out[X86_GPRS]);

/* A register whose bits are flags. */
struct x86_control {
	const char *name;
	uint64_t  (*value)(const struct x86_cpu_state *s);
	/* NULL, or names separated by spaces, "" for none. */
	void      (*describe)(uint64_t v, char *out, size_t capacity);
};
extern const struct x86_control x86_controls[];      /* a NULL name at the end */

/* "64-bit mode, ring 3": what the CPU is in. */
void x86_describe_mode(const struct x86_cpu_state *s, char *out, size_t capacity);
/* "code64 DPL=3": a segment's attributes; "unusable". */
void x86_describe_segment(uint32_t attr, char *out, size_t capacity);
/* What the local APIC's register at that offset says, "" for nothing. */
void x86_describe_lapic(uint32_t offset, uint32_t value, char *out, size_t capacity);
/* What is about to happen, "" for nothing. */
void x86_describe_events(const struct x86_events_state *s, char *out, size_t capacity);
const char *x86_mp_state_name(uint32_t mp_state);

#endif
