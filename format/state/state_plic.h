/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_STATE_STATE_PLIC_H
#define FORMAT_STATE_STATE_PLIC_H

#include "format/tree/field.h"

/* The interrupt controller. Source 0 does not exist. A source is either pending, or claimed by a
 * hart, or neither; a line that is high and not claimed is pending. */
#define PLIC_SOURCES 96u
#define PLIC_WORDS   3u      /* bits of the sources, u32 words, source 0 is bit 0 of word 0 */
#define PLIC_PRIO    7u      /* highest priority and threshold */

/* Node "plic". */
struct plic_state {
	uint32_t priority[PLIC_SOURCES];
	uint32_t pending[PLIC_WORDS];
	uint32_t claimed[PLIC_WORDS];
	uint32_t level[PLIC_WORDS];      /* the devices' lines */
};
extern const struct state_table plic_state_table;

/* Node "plic-context@N": supervisor mode of hart N, context 2N + 1 of the register map. */
struct plic_context_state {
	uint32_t enable[PLIC_WORDS];
	uint32_t threshold;
};
extern const struct state_table plic_context_state_table;

#endif
