#ifndef VMINSPECT_REGS_H
#define VMINSPECT_REGS_H

#include "format/field.h"
#include "vminspect/look.h"

#include <jansson.h>
#include <stdint.h>

/* What the regs command is made of: a file for each kind of CPU. */

/* Prints CPU n, or with list appends it there. */
int regs_riscv(const struct look *l, uint32_t n, json_t *list, struct fail *why);
int regs_x86(const struct look *l, uint32_t n, json_t *list, struct fail *why);

/* Loads so many parts of CPU n's state; into[i] points to a zeroed struct of tables[i]. */
int regs_load(const struct look *l, uint32_t n, const struct state_table *const *tables, void *const *into, size_t ntables, struct fail *why);
/* Takes v, which may be NULL (out of memory). */
int regs_set(json_t *o, const char *key, json_t *v, struct fail *why);

#endif
