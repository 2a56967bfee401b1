/* SPDX-License-Identifier: MIT */
#include "format/snapshot/snapshot.h"

/* The library as a whole is built for the oldest CPU; its dispatching functions are three times as
 * fast where there is AVX2. */
#ifdef __x86_64__
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

uint64_t page_hash(const uint8_t page[PAGE_SIZE_4K])
{
	return XXH3_64bits(page, PAGE_SIZE_4K);
}
