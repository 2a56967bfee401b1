/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_STATE_STATE_UART_H
#define FORMAT_STATE_STATE_UART_H

#include "format/tree/field.h"

/* A 16550A. Node "uart". Received bytes are rx[0], the oldest, to rx[rx_len - 1]. What
 * the guest has sent is gone to the host at once: there is no transmit FIFO to save. */
#define UART_FIFO 16u

struct uart_state {
	uint8_t  ier, fcr, lcr, mcr, msr, scr, dll, dlm;
	uint8_t  lsr_errors;             /* OE, PE, FE, BI and FIFO error: kept until LSR is read */
	bool     thre_pending;           /* "transmitter empty" not yet told by IIR */
	bool     thre_owed;              /* it is withheld while the host takes no more output */
	uint8_t  rx[UART_FIFO];
	uint32_t rx_len;
};
extern const struct state_table uart_state_table;

#endif
