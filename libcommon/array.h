/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_ARRAY_H
#define LIBCOMMON_ARRAY_H

#include <stdlib.h>

/* Space for more elements of `size` bytes in a full array: twice the capacity, from 64 on. NULL
 * with errno: no memory, and the array is as it was. */
static inline void *array_grow(void *v, size_t *capacity, size_t size)
{
	size_t n    = *capacity ? *capacity * 2 : 64;
	void  *more = reallocarray(v, n, size);

	if (more)
		*capacity = n;
	return more;
}

#endif
