/* SPDX-License-Identifier: MIT */
#ifndef VMINSPECT_ARCH_RISCV_H
#define VMINSPECT_ARCH_RISCV_H

#include "format/state/state_hart.h"

#include <stddef.h>
#include <stdint.h>

/* Names and meanings of a hart's registers. RISC-V ABIs 1.0, 1.1 and 1.2; Privileged 1.12, chapter
 * 4; SBI 2.0, 9.1. */

extern const char *const riscv_x_names[32];     /* "zero", "ra", ... */
extern const char *const riscv_f_names[32];     /* "ft0", ... */

/* The supervisor's registers that are saved, in the order they are shown. */
struct riscv_csr {
	const char *name;
	uint64_t  (*value)(const struct hart_state *s);
	/* NULL, or what its bits mean, separated by spaces; "" for nothing. */
	void      (*describe)(uint64_t v, char *out, size_t capacity);
};
extern const struct riscv_csr riscv_csrs[];     /* a NULL name at the end */

const char *riscv_hsm_name(uint8_t hsm);

#endif
