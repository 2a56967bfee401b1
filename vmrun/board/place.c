/* SPDX-License-Identifier: MIT */
#include "vmrun/board/place.h"

#include "vmrun/memory.h"

#include <inttypes.h>
#include <string.h>

int boot_put(struct memory *m, uint64_t gpa, const uint8_t *data, size_t len, uint64_t zero,
	     const char *what, struct fail *why)
{
	struct guest_write w;
	uint8_t           *p;

	if (len + zero == 0)
		return 0;
	p = guest_write_begin(m, &w, gpa, len + zero);
	if (!p)
		return fail_set(why, FAIL_USAGE, "%s: no RAM at 0x%" PRIx64, what, gpa);
	if (len)
		memcpy(p, data, len);
	if (zero)
		memset(p + len, 0, (size_t)zero);
	guest_write_end(&w);
	return 0;
}

int boot_put_kernel(struct memory *m, const struct kernel *k, const uint8_t *file, struct fail *why)
{
	for (unsigned i = 0; i < k->nsegments; i++) {
		const struct kernel_segment *s = &k->segments[i];

		if (boot_put(m, s->gpa, file + s->at, s->len, s->zero, "kernel", why))
			return -1;
	}
	return 0;
}

int boot_place(const struct kernel *k, uint64_t ram, uint64_t *top, uint64_t len, uint64_t *gpa,
	       const char *what, struct fail *why)
{
	uint64_t floor = *top >= k->hi ? k->hi : ram;

	if (len > *top || ((*top - len) & ~(uint64_t)4095) < floor) {
		/* No space above: below the kernel, if it was loaded at an offset. */
		if (floor == ram || len > k->lo || ((k->lo - len) & ~(uint64_t)4095) < ram)
			return fail_set(why, FAIL_USAGE,
					"%s: does not fit into RAM: %" PRIu64
					" KiB next to the kernel; increase --memory", what,
					(len + 1023) / 1024);
		*top = k->lo;
	}
	*gpa = *top = (*top - len) & ~(uint64_t)4095;
	return 0;
}
