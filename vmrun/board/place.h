/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOARD_PLACE_H
#define VMRUN_BOARD_PLACE_H

#include "vmrun/board/kernel.h"

struct memory;

/* Puts len bytes of data and then `zero` zero bytes into RAM, and marks them as written. what: for
 * the message. */
int boot_put(struct memory *m, uint64_t gpa, const uint8_t *data, size_t len, uint64_t zero,
	     const char *what, struct fail *why);
int boot_put_kernel(struct memory *m, const struct kernel *k, const uint8_t *file,
		    struct fail *why);

/* Reserves len bytes, page aligned, below *top and above the kernel, or from ram on below it; *top
 * becomes their address. */
int boot_place(const struct kernel *k, uint64_t ram, uint64_t *top, uint64_t len, uint64_t *gpa,
	       const char *what, struct fail *why);

#endif
