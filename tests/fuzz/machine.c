/* SPDX-License-Identifier: MIT */
/* A VM tree of any bytes is refused with a reason, or is a machine that is written and read again
 * the same. Its state is refused with a reason and leaves every part alone, or is loaded into the
 * sample's parts. */
#include "tests/unit/sample.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static _Alignas(8) uint8_t blob[LIMIT_TREE_BYTES];
static struct machine      m, again;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct sample *s, *before;
	const size_t   first = offsetof(struct sample, clock);
	const size_t   saved = offsetof(struct sample, sections) - first;
	struct fail    why = { 0 };
	size_t         n;
	bool           x86 = false;

	if (machine_read(&m, data, len, &why)) {
		assert(why.kind != FAIL_NONE && why.what[0]);
	} else {
		x86 = m.type == MACHINE_X86_64_1;
		assert(machine_write(&m, NULL, blob, sizeof(blob), &n, &why) == 0);
		assert(machine_read(&again, blob, n, &why) == 0);
		assert(memcmp(&m, &again, sizeof(m)) == 0);
		assert(machine_same_shape(&m, &again, &why) == 0);
	}
	s      = x86 ? sample_make_x86(SAMPLE_RAM) : sample_make(SAMPLE_RAM);
	before = x86 ? sample_make_x86(SAMPLE_RAM) : sample_make(SAMPLE_RAM);
	why    = (struct fail){ 0 };
	if (machine_load_state(&s->m, &s->sections, data, len, &why)) {
		assert(why.kind != FAIL_NONE && why.what[0]);
		assert(memcmp((uint8_t *)s + first, (uint8_t *)before + first, saved) == 0);
	} else {
		assert(machine_write(&s->m, &s->sections, blob, sizeof(blob), &n, &why) == 0);
	}
	free(s);
	free(before);
	return 0;
}
