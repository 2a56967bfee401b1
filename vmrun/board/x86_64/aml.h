/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOARD_X86_64_AML_H
#define VMRUN_BOARD_X86_64_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes ACPI's byte code, ACPI 6.5, chapters 20 (AML) and 6.4 (resources). What does not fit sets
 * `full` and is dropped; what is begun must be ended. Names are of 4 characters. */
#define AML_DEPTH 8u
struct aml {
	uint8_t *buf;
	size_t   capacity, len;
	bool     full;
	unsigned depth;
	size_t   begun[AML_DEPTH];       /* offsets of the lengths of open packages */
};

void aml_scope(struct aml *a, const char *root);                 /* "_SB_": \_SB_ */
void aml_device(struct aml *a, const char *name);
void aml_method(struct aml *a, const char *name, unsigned nargs);
void aml_package(struct aml *a, uint8_t nelements);
void aml_end(struct aml *a);                                     /* of what was begun last */

/* Name(name, what is written next). */
void aml_name(struct aml *a, const char *name);
void aml_int(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
void aml_eisaid(struct aml *a, const char *id);                  /* "PNP0501" */
/* \scope.device. */
void aml_notify(struct aml *a, const char *scope, const char *device, uint8_t value);

/* A resource template: put together here, then written as a buffer. */
struct aml_resources {
	uint8_t bytes[64];
	size_t  len;
};
void aml_io(struct aml_resources *r, uint16_t port, uint8_t len);
/* Edge, active high, exclusive; below 16. */
void aml_irq(struct aml_resources *r, unsigned irq);
/* Level, active high. */
void aml_interrupt(struct aml_resources *r, uint32_t gsi, bool shared);
void aml_memory(struct aml_resources *r, uint32_t base, uint32_t len);
void aml_resources(struct aml *a, const struct aml_resources *r);

#endif
