/* SPDX-License-Identifier: MIT */
/* A VM tree of any bytes. As a configuration it is refused with a reason, or is a machine that is
 * written and read again the same. As the state of each sample it is refused with a reason and
 * leaves the machine alone, or brings facts that are written and read again the same; and what is
 * in its sections is refused with a reason and leaves every struct alone, or is loaded. */
#include "tests/unit/sample.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static _Alignas(8) uint8_t blob[LIMIT_TREE_BYTES];
static struct machine      m, again;

static void fuzz_config(const uint8_t *data, size_t len)
{
	struct fail why = { 0 };
	size_t      n;

	if (machine_read(&m, data, len, &why)) {
		assert(why.kind != FAIL_NONE && why.what[0]);
		return;
	}
	assert(machine_write(&m, blob, sizeof(blob), &n, &why) == 0);
	assert(machine_read(&again, blob, n, &why) == 0);
	assert(memcmp(&m, &again, sizeof(m)) == 0);
	assert(machine_same_shape(&m, &again, &why) == 0);
}

static void fuzz_facts(struct sample *s, const uint8_t *data, size_t len)
{
	struct machine_sections sections = s->sections;
	struct fail             why = { 0 };
	size_t                  n;

	m = s->m;
	if (machine_read_state(&m, data, len, &why)) {
		assert(why.kind != FAIL_NONE && why.what[0]);
		assert(memcmp(&m, &s->m, sizeof(m)) == 0);
		return;
	}
	sections.stopped       = m.stopped;
	sections.reset_pending = m.reset_pending;
	again                  = s->m;
	assert(machine_write_state(&m, &sections, blob, sizeof(blob), &n, &why) == 0);
	assert(machine_read_state(&again, blob, n, &why) == 0);
	/* A count of no instance is not written. */
	for (uint32_t i = 0; i < m.nhosts; i++)
		if (memcmp(m.hosts[i].instance, (uint8_t[16]){ 0 }, 16) == 0)
			m.hosts[i].written = 0;
	assert(memcmp(&m, &again, sizeof(m)) == 0);
}

static void fuzz_sections(struct sample *s, struct sample *before, const uint8_t *data, size_t len)
{
	const size_t first = offsetof(struct sample, clock);
	const size_t saved = offsetof(struct sample, sections) - first;
	struct fail  why = { 0 };
	size_t       n;

	if (machine_load_state(&s->m, &s->sections, data, len, &why)) {
		assert(why.kind != FAIL_NONE && why.what[0]);
		assert(memcmp((uint8_t *)s + first, (uint8_t *)before + first, saved) == 0);
	} else {
		assert(machine_write_state(&s->m, &s->sections, blob, sizeof(blob), &n, &why) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_config(data, len);
	for (int x86 = 0; x86 < 2; x86++) {
		struct sample *s      = x86 ? sample_make_x86(SAMPLE_RAM) : sample_make(SAMPLE_RAM);
		struct sample *before = x86 ? sample_make_x86(SAMPLE_RAM) : sample_make(SAMPLE_RAM);

		fuzz_facts(s, data, len);
		fuzz_sections(s, before, data, len);
		free(s);
		free(before);
	}
	return 0;
}
