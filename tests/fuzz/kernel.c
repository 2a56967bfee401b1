/* SPDX-License-Identifier: MIT */
/* A hostile kernel, by each machine type's eyes: what is accepted lies in the file and in RAM,
 * its entry and header too. */
#include "vmrun/board/riscv64/riscv64.h"
#include "vmrun/board/x86_64/x86_64.h"

#include <assert.h>

#define RV_RAM 0x80000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(const struct kernel *k, size_t len, uint64_t ram, uint64_t ram_end)
{
	assert(k->nsegments >= 1 && k->nsegments <= KERNEL_SEGMENTS_MAX);
	assert(k->lo >= ram && k->hi <= ram_end && k->lo < k->hi && k->entry >= k->lo &&
	       k->entry < k->hi);
	for (unsigned i = 0; i < k->nsegments; i++) {
		const struct kernel_segment *s = &k->segments[i];

		assert(s->at <= len && s->len <= len - s->at);
		assert(s->gpa >= k->lo && s->gpa <= k->hi && s->len + s->zero >= s->len &&
		       s->len + s->zero <= k->hi - s->gpa);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint64_t ram_mib[] = { 4, 64, 3072 };
	size_t                head = len < BOARD_KERNEL_HEAD ? len : BOARD_KERNEL_HEAD;

	for (size_t i = 0; i < sizeof(ram_mib) / sizeof(ram_mib[0]); i++) {
		uint64_t             size = ram_mib[i] << 20;
		struct fail          why  = { 0 };
		struct kernel        r;
		struct x86_64_kernel x;

		if (riscv64_parse(&r, data, len, RV_RAM, size, &why) == 0)
			check(&r, len, RV_RAM, RV_RAM + size);
		else
			assert(why.kind != FAIL_NONE && why.what[0]);
		why = (struct fail){ 0 };
		if (x86_64_parse(&x, data, len, size, &why) == 0) {
			check(&x.k, len, X86_64_KERNEL, size);
			assert(x86_64_kernel(data, head) && x.initrd_end <= size);
			assert(!x.header ||
			       (x.header >= data &&
				x.header_len <= len - (size_t)(x.header - data)));
		} else {
			assert(why.kind != FAIL_NONE && why.what[0]);
		}
	}
	return 0;
}
