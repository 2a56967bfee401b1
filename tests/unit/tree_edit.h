/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_TREE_EDIT_H
#define TESTS_UNIT_TREE_EDIT_H

#include "libcommon/bytes.h"

#include <libfdt.h>
#include <string.h>

/* fdt_pack() of a tree that was edited: libfdt leaves old bytes behind names and values that have
 * become shorter; here they are cleared, as the canonical form wants (docs/format.md 8). */
static inline int tree_edit_pack(void *fdt)
{
	uint8_t *tags = (uint8_t *)fdt + fdt_off_dt_struct(fdt);
	int      at = 0, next, end;

	for (uint32_t tag; (tag = fdt_next_tag(fdt, at, &next)) != FDT_END; at = next) {
		if (next < 0)
			return next;
		end = at;
		if (tag == FDT_BEGIN_NODE)
			end = at + 4 + (int)strlen((char *)tags + at + 4) + 1;
		if (tag == FDT_PROP)
			end = at + 12 + (int)get_be32(tags + at + 4);
		if (end > at)
			memset(tags + end, 0, (size_t)(next - end));
	}
	return fdt_pack(fdt);
}

/* fdt_finish(), and the blocks where fdt_pack() has them. */
static inline int tree_edit_finish(void *fdt)
{
	int err = fdt_finish(fdt);

	return err ? err : tree_edit_pack(fdt);
}

#endif
