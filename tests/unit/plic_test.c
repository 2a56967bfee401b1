/* SPDX-License-Identifier: MIT */
/* The interrupt controller, as the PLIC specification says and as Linux drives it. */
#include "tests/unit/board_fake.h"

#include "format/state/state_plic.h"
#include "vmrun/devices/plic.h"

#include <stdio.h>

#define PLIC      0x0c000000u
#define PRIO(n)   (PLIC + 4u * (n))
#define PENDING   (PLIC + 0x1000u)
#define ENABLE(h) (PLIC + 0x2000u + 0x80u * (2u * (h) + 1u))
#define THRESH(h) (PLIC + 0x200000u + 0x1000u * (2u * (h) + 1u))
#define CLAIM(h)  (THRESH(h) + 4u)

static struct fake f;

static void line(uint32_t irq, bool level)
{
	pthread_mutex_lock(&f.vm.machine_lock);
	plic_line(f.vm.board->irqchip, irq, level);
	pthread_mutex_unlock(&f.vm.machine_lock);
}

int main(void)
{
	struct machine    cfg;
	struct fake_sections saved;
	struct fail       why;

	fake_machine(&cfg);
	cfg.ncpus = 2;
	fake_open(&f, &cfg);
	fake_start(&f);

	wr(&f, PRIO(3), 4, 99);
	wr(&f, PRIO(0), 4, 1);
	wr(&f, ENABLE(0), 4, UINT32_MAX);
	wr(&f, THRESH(0), 4, 1);
	ok(rd(&f, PRIO(3), 4) == (99 & PLIC_PRIO) && rd(&f, PRIO(0), 4) == 0,
	   "priorities keep three bits, source 0 has none");
	ok(rd(&f, ENABLE(0), 4) == (UINT32_MAX & ~1u), "source 0 cannot be enabled");
	ok(rd(&f, PLIC + 0x2000, 4) == 0 && rd(&f, PLIC + 0x200000, 4) == 0,
	   "machine contexts read as zero");

	wr(&f, PRIO(5), 4, 1);
	line(5, true);
	ok(!f.line[0] && rd(&f, PENDING, 4) == 1u << 5,
	   "a source at the threshold is pending but not told");
	line(3, true);
	ok(f.line[0] && !f.line[1], "one above it raises the line of the hart that enabled it");
	ok(rd(&f, CLAIM(1), 4) == 0, "a hart claims nothing that it has not enabled");
	ok(rd(&f, CLAIM(0), 4) == 3 && !f.line[0],
	   "the highest priority is claimed first, and the line falls");
	ok(rd(&f, CLAIM(0), 4) == 5, "a claim passes over the threshold");
	ok(rd(&f, CLAIM(0), 4) == 0, "nothing is claimed twice");
	line(3, false);
	line(3, true);
	ok(rd(&f, PENDING, 4) == 0, "a line that moves while claimed asks nothing");
	wr(&f, CLAIM(1), 4, 3);
	ok(rd(&f, PENDING, 4) == 0, "a hart without the source enabled cannot complete it");
	wr(&f, CLAIM(0), 4, 3);
	ok(rd(&f, PENDING, 4) == 1u << 3 && f.line[0],
	   "a line still high asks again at completion");
	line(3, false);
	ok(f.line[0], "a request stays when its line falls");
	wr(&f, CLAIM(0), 4, 5);
	wr(&f, THRESH(0), 4, 0);
	wr(&f, PRIO(3), 4, 1);
	ok(rd(&f, CLAIM(0), 4) == 3 && rd(&f, CLAIM(0), 4) == 5,
	   "among equals the lowest number is claimed");
	wr(&f, CLAIM(0), 4, 3);
	wr(&f, CLAIM(0), 4, 5);
	wr(&f, CLAIM(0), 4, 4000);
	ok(rd(&f, CLAIM(0), 4) == 5, "line 5 was still high; a nonsense completion does no harm");
	wr(&f, CLAIM(0), 4, 5);

	wr(&f, ENABLE(1) + 8, 4, 1u << 31);
	wr(&f, PRIO(95), 4, 7);
	line(95, true);
	ok(f.line[1], "the last source reaches the second hart");
	line(96, true);
	line(UINT32_MAX, true);
	ok(rd(&f, CLAIM(1), 4) == 95, "sources that do not exist are ignored");
	wr(&f, CLAIM(1), 4, 95);

	fake_save(&f, "sifive-plic", &saved);
	ok(saved.n == 3, "a part for the sources and one a hart");
	board_reset(f.vm.board);
	ok(!f.line[0] && !f.line[1], "a reset lowers every line");
	ok(fake_load(&f, "sifive-plic", &saved, &why) == 0 && f.line[0] && f.line[1],
	   "a load raises the lines anew");
	ok(rd(&f, CLAIM(0), 4) == 5 && rd(&f, CLAIM(1), 4) == 95, "and keeps what was pending");
	((struct plic_state *)saved.data[0])->claimed[0] |= 1u << 5;
	ok(fake_load(&f, "sifive-plic", &saved, &why) == -1,
	   "a source pending and claimed at once is refused");

	ok(rd(&f, PLIC + 0x5ffffc, 4) == 0 && rd(&f, PENDING + 1, 1) == 0,
	   "other places read as zero");
	wr(&f, PLIC + 0x5ffffc, 4, 1);
	fake_close(&f);

	fake_own_irqchip = true;
	ok(fake_try(&f, &cfg, &why) == -1 && why.kind == FAIL_CORRUPT,
	   "a machine whose accelerator has the interrupt controller takes none of these");
	return done_testing();
}
