/* SPDX-License-Identifier: MIT */
#include "libcommon/pageset.h"

#include "libcommon/bitmap.h"

#include <errno.h>

int pageset_open(struct pageset *s, uint64_t npages, struct fail *why)
{
	*s = (struct pageset){ .npages = npages };
	for (uint64_t bits = npages;; bits = bitmap_words(bits)) {
		if (s->levels == PAGESET_LEVELS) {
			pageset_close(s);
			return fail_set(why, FAIL_LIMIT, "page set: %llu pages not supported",
					(unsigned long long)npages);
		}
		s->level[s->levels] = bitmap_open(bits);
		if (!s->level[s->levels]) {
			pageset_close(s);
			errno = ENOMEM;
			return fail_sys(why, "page set");
		}
		s->levels++;
		if (bits <= 64)
			return 0;
	}
}

void pageset_close(struct pageset *s)
{
	uint64_t bits = s->npages;

	for (unsigned i = 0; i < s->levels; i++, bits = bitmap_words(bits))
		bitmap_close(s->level[i], bits);
	*s = (struct pageset){ 0 };
}

bool pageset_has(const struct pageset *s, uint64_t page)
{
	return page < s->npages && bitmap_test(s->level[0], page);
}

void pageset_add(struct pageset *s, uint64_t first, uint64_t count)
{
	for (unsigned l = 0; l < s->levels && count; l++) {
		uint64_t from = first / 64, to = (first + count - 1) / 64;

		bitmap_set_range(s->level[l], first, count);
		s->words += to - from + 1;
		first = from;
		count = to - from + 1;
	}
}

/* Word w of level 0 has become zero: so do the bits above it, where nothing else is below them. */
static void pageset_empty(struct pageset *s, uint64_t w)
{
	for (unsigned l = 1; l < s->levels; l++, w /= 64) {
		s->words++;
		s->level[l][w / 64] &= ~((uint64_t)1 << (w % 64));
		if (s->level[l][w / 64])
			return;
	}
}

void pageset_drop(struct pageset *s, uint64_t first, uint64_t count)
{
	uint64_t end = first + count, at, n;

	/* Only what is there: a run without members costs one search. */
	while (pageset_next(s, first, end, &at, &n)) {
		for (uint64_t w = at / 64; w <= (at + n - 1) / 64; w++) {
			s->words++;
			s->level[0][w] &= ~bitmap_mask(w, at, at + n);
			if (s->level[0][w] == 0)
				pageset_empty(s, w);
		}
		first = at + n;
	}
}

/* The first member at or after from; npages when there is none. */
static uint64_t pageset_find(struct pageset *s, uint64_t from)
{
	uint64_t bits = s->npages;

	for (unsigned l = 0; l < s->levels && from < bits; l++) {
		uint64_t word = s->level[l][from / 64] & UINT64_MAX << (from % 64);

		s->words++;
		if (word) {
			from = from / 64 * 64 + (uint64_t)__builtin_ctzll(word);
			while (l-- > 0) {
				s->words++;
				from = from * 64 + (uint64_t)__builtin_ctzll(s->level[l][from]);
			}
			return from;
		}
		from = from / 64 + 1;
		bits = bitmap_words(bits);
	}
	return s->npages;
}

bool pageset_next(struct pageset *s, uint64_t from, uint64_t end, uint64_t *first, uint64_t *count)
{
	uint64_t at = pageset_find(s, from);

	if (end > s->npages)
		end = s->npages;
	if (at >= end)
		return false;
	*first = at;
	while (at < end) {
		uint64_t gap = ~s->level[0][at / 64] & UINT64_MAX << (at % 64);

		s->words++;
		if (gap) {
			at = at / 64 * 64 + (uint64_t)__builtin_ctzll(gap);
			break;
		}
		at = (at / 64 + 1) * 64;
	}
	*count = (at < end ? at : end) - *first;
	return true;
}
