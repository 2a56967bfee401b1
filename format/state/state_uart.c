/* SPDX-License-Identifier: MIT */
#include "format/state/state_uart.h"

static const struct field uart_fields[] = {
	F_X8(struct uart_state, ier, 1, 0x0f),
	F_X8(struct uart_state, fcr, 1, 0xc9),
	F_X8(struct uart_state, lcr, 1, 0xff),
	F_X8(struct uart_state, mcr, 1, 0x1f),
	F_X8(struct uart_state, msr, 1, 0xff),
	F_X8(struct uart_state, scr, 1, 0xff),
	F_X8(struct uart_state, dll, 1, 0xff),
	F_X8(struct uart_state, dlm, 1, 0xff),
	F_X8(struct uart_state, lsr_errors, 1, 0x9e),
	F_BOOL(struct uart_state, thre_pending, 1),
	F_BOOL(struct uart_state, thre_owed, 1),
	F_BYTES_LIST(struct uart_state, rx, rx_len, 1),
	F_END
};

static int uart_check(const void *state, struct fail *why)
{
	const struct uart_state *s = state;

	if (s->rx_len > (s->fcr & 1 ? UART_FIFO : 1))
		return fail_set(why, FAIL_CORRUPT, "%u received bytes with the FIFO disabled",
				s->rx_len);
	return 0;
}

const struct state_table uart_state_table = {
	.name = "uart", .version = 1, .needs = 1, .oldest = 1,
	.size = sizeof(struct uart_state), .fields = uart_fields, .check = uart_check,
};
