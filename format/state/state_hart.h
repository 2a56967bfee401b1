/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_STATE_STATE_HART_H
#define FORMAT_STATE_STATE_HART_H

#include "format/tree/field.h"

/* A RISC-V hart: what the instruction set, Sstc and SBI's HSM let software see. Node "hart" under
 * /cpus/cpu@N/state. RISC-V Privileged 1.12, chapter 4; SBI 2.0, chapter 9. TLBs and decoded code
 * are not state. */

enum hart_priv { HART_U = 0, HART_S = 1 };

/* SBI 2.0, 9.1: the numbers HSM's hart_get_status answers. */
enum hart_hsm { HSM_STARTED = 0, HSM_STOPPED = 1, HSM_START_PENDING = 2, HSM_SUSPENDED = 4 };

/* sstatus: bits that are kept; FS is two bits. UXL is always 2 and SD follows from FS: neither is
 * kept. */
#define SSTATUS_SIE  ((uint64_t)1 << 1)
#define SSTATUS_SPIE ((uint64_t)1 << 5)
#define SSTATUS_SPP  ((uint64_t)1 << 8)
#define SSTATUS_FS   ((uint64_t)3 << 13)
#define SSTATUS_SUM  ((uint64_t)1 << 18)
#define SSTATUS_MXR  ((uint64_t)1 << 19)
#define SSTATUS_KEPT \
	(SSTATUS_SIE | SSTATUS_SPIE | SSTATUS_SPP | SSTATUS_FS | SSTATUS_SUM | SSTATUS_MXR)

#define HART_IRQS ((uint64_t)0x222)      /* of sie and sip: software, timer, external */

struct hart_state {
	uint64_t x[32];              /* x[0] is 0 */
	uint64_t pc;
	uint64_t f[32];              /* singles are NaN-boxed as the guest left them */
	uint8_t  priv;               /* enum hart_priv */
	uint8_t  frm, fflags;
	/* the reservation of LR: where, how wide, and the value that it saw */
	bool     res_valid;
	uint8_t  res_size;           /* 0, 4 or 8 */
	uint64_t res_gpa, res_value;
	uint64_t sstatus;            /* SSTATUS_KEPT */
	uint64_t sie;                /* HART_IRQS */
	/* sip.SSIP; STIP follows from stimecmp, SEIP from the interrupt controller's line */
	bool     ssip;
	uint64_t stvec, sscratch, sepc, scause, stval, satp;
	uint32_t scounteren;
	uint64_t senvcfg;
	uint64_t stimecmp;           /* in ticks of the time CSR; all ones: never */
	uint64_t instret;            /* retired since reset; also the cycle CSR */
	uint8_t  hsm;                /* enum hart_hsm */
	uint64_t hsm_start, hsm_opaque;      /* of START_PENDING */
	bool     wfi;                /* waits for an interrupt; pc is behind the wfi */
};
extern const struct state_table hart_state_table;

#endif
