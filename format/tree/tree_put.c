/* SPDX-License-Identifier: MIT */
#include "format/tree/tree_put.h"

#include "format/limits.h"
#include "format/tree/machine_internal.h"

#include <libfdt.h>
#include <string.h>

int tree_put_open(struct tree_put *w, void *buf, size_t capacity, struct fail *why)
{
	if (capacity > LIMIT_TREE_BYTES)
		capacity = LIMIT_TREE_BYTES;
	*w = (struct tree_put){ .fdt = buf, .capacity = capacity };
	if ((uintptr_t)buf % 8)
		return fail_set(why, FAIL_USAGE, "VM tree: buffer not aligned to 8 bytes");
	w->err = fdt_create(buf, (int)capacity);
	if (!w->err)
		w->err = fdt_finish_reservemap(buf);
	return 0;
}

void tree_put_root(struct tree_put *w)
{
	put_begin(w, "");
	put_u32(w, "version", TREE_VERSION);
	put_u32(w, "needs", 1);
}

int tree_put_close(struct tree_put *w, size_t *len, struct fail *why)
{
	put_end(w);
	if (!w->err)
		w->err = fdt_finish(w->fdt);
	/* Finished, the blocks are in order, but not where the canonical form has them. */
	if (!w->err)
		w->err = fdt_pack(w->fdt);
	if (w->err)
		return fail_set(why, FAIL_LIMIT, "VM tree: larger than %zu bytes: %s", w->capacity,
				fdt_strerror(w->err));
	*len = fdt_totalsize(w->fdt);
	return 0;
}

void put_begin(struct tree_put *w, const char *name)
{
	if (!w->err)
		w->err = fdt_begin_node(w->fdt, name);
}

void put_end(struct tree_put *w)
{
	if (!w->err)
		w->err = fdt_end_node(w->fdt);
}

void put_u32(struct tree_put *w, const char *name, uint32_t v)
{
	if (!w->err)
		w->err = fdt_property_u32(w->fdt, name, v);
}

void put_u64(struct tree_put *w, const char *name, uint64_t v)
{
	if (!w->err)
		w->err = fdt_property_u64(w->fdt, name, v);
}

void put_bytes(struct tree_put *w, const char *name, const void *v, size_t len)
{
	if (!w->err)
		w->err = fdt_property(w->fdt, name, v, (int)len);
}

void put_str(struct tree_put *w, const char *name, const char *v)
{
	put_bytes(w, name, v, strlen(v) + 1);
}

void put_reg(struct tree_put *w, uint64_t gpa, uint64_t size)
{
	fdt64_t reg[2] = { cpu_to_fdt64(gpa), cpu_to_fdt64(size) };

	put_bytes(w, "reg", reg, sizeof(reg));
}

void put_cells(struct tree_put *w, uint32_t address, uint32_t size)
{
	put_u32(w, "#address-cells", address);
	put_u32(w, "#size-cells", size);
}
