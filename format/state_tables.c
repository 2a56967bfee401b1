#include "format/field.h"
#include "format/state_clock.h"
#include "format/state_hart.h"
#include "format/state_plic.h"
#include "format/state_rtc.h"
#include "format/state_uart.h"
#include "format/state_virtio.h"
#include "format/state_virtio_blk.h"
#include "format/state_virtio_console.h"
#include "format/state_virtio_rng.h"

/* Every table of saved state: what vminspect can name, and what the fuzzers try. */
const struct state_table *const state_tables[] = {
	&clock_state_table, &hart_state_table,
	&plic_state_table, &plic_context_state_table, &uart_state_table, &rtc_state_table,
	&virtio_state_table, &virtqueue_state_table, &virtio_mmio_state_table,
	&virtio_blk_state_table, &virtio_console_state_table, &virtio_rng_state_table,
	NULL
};
