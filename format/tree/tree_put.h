/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_TREE_TREE_PUT_H
#define FORMAT_TREE_TREE_PUT_H

#include "libcommon/fail.h"

#include <stddef.h>
#include <stdint.h>

/* Writes a VM tree node by node, in libfdt's sequential mode; not for other folders. An error
 * sticks in err and everything after it is skipped, as stdio does: tree_put_close looks once. */
struct tree_put {
	void  *fdt;
	size_t capacity;
	int    err;
};

/* More than LIMIT_TREE_BYTES of buf is not used. FAIL_USAGE: it is not aligned to 8 bytes. */
int tree_put_open(struct tree_put *w, void *buf, size_t capacity, struct fail *why);
/* The root, with the versions that this build writes; and its end, after which the blob is in
 * canonical form. FAIL_LIMIT: it did not fit. */
void tree_put_root(struct tree_put *w);
int tree_put_close(struct tree_put *w, size_t *len, struct fail *why);

void put_begin(struct tree_put *w, const char *name);
void put_end(struct tree_put *w);
void put_u32(struct tree_put *w, const char *name, uint32_t v);
void put_u64(struct tree_put *w, const char *name, uint64_t v);
void put_bytes(struct tree_put *w, const char *name, const void *v, size_t len);
void put_str(struct tree_put *w, const char *name, const char *v);
void put_reg(struct tree_put *w, uint64_t gpa, uint64_t size);
void put_cells(struct tree_put *w, uint32_t address, uint32_t size);

#endif
