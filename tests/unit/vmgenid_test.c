/* SPDX-License-Identifier: MIT */
/* The VM generation ID of riscv64-1: in its window, with an interrupt. That of x86-64-1 is in
 * x86_devices_test. */
#include "tests/unit/board_fake.h"

#include "format/state/state_vmgenid.h"
#include "vmrun/devices/vmgenid.h"

#include <string.h>

#define PLIC    0x0c000000u
#define PENDING (PLIC + 0x1000u)
#define CLAIM   (PLIC + 0x201004u)
#define GENID   0x00102000u
#define IRQ     9u

static struct fake f;

struct id {
	uint64_t half[2];
};

static struct id id_read(void)
{
	return (struct id){ { rd(&f, GENID, 8), rd(&f, GENID + 8, 8) } };
}

static bool id_same(struct id a, struct id b)
{
	return a.half[0] == b.half[0] && a.half[1] == b.half[1];
}

static bool pending(void)
{
	return rd(&f, PENDING, 4) >> IRQ & 1;
}

static void sizes(void)
{
	struct id id    = id_read();
	bool      right = true;

	for (unsigned at = 0; at < 16; at++)
		right = right &&
			rd(&f, GENID + at, 1) == (id.half[at / 8] >> (8 * (at % 8)) & 0xff);
	ok(right, "bytes");
	ok(rd(&f, GENID + 4, 4) == id.half[0] >> 32 &&
	   rd(&f, GENID + 10, 2) == (id.half[1] >> 16 & 0xffff), "words and half words");
	ok(rd(&f, GENID + 12, 8) == UINT64_MAX && rd(&f, GENID + 16, 1) == UINT64_MAX,
	   "nothing behind it");
	wr(&f, GENID, 8, 1);
	ok(id_same(id_read(), id), "it cannot be written");
}

static void copies(void)
{
	struct fake_sections saved, plic;
	struct fail       why;
	struct id         first = id_read(), second;

	fake_save(&f, "vmgenid", &saved);
	ok(!memcmp(((struct vmgenid_state *)(void *)saved.data[0])->guid, &first, 16),
	   "what is saved is what the guest reads");
	board_pause(f.vm.board, &why);
	board_reset(f.vm.board);
	fake_load(&f, "vmgenid", &saved, &why);
	board_resume(f.vm.board, &why);
	ok(id_same(id_read(), first) && !pending(),
	   "a load keeps it, without an interrupt: pulse, move");

	board_pause(f.vm.board, &why);
	ok(board_copied(f.vm.board, &why) == 0, "the guest is a copy");
	second = id_read();
	ok(!id_same(first, second), "its ID is another");
	ok(pending(), "an interrupt says so");
	fake_save(&f, "sifive-plic", &plic);
	fake_save(&f, "vmgenid", &saved);
	board_reset(f.vm.board);
	ok(!id_same(id_read(), second) && !pending(),
	   "a reset draws a new one, and notifies nobody");
	fake_load(&f, "sifive-plic", &plic, &why);
	fake_load(&f, "vmgenid", &saved, &why);
	board_resume(f.vm.board, &why);
	ok(id_same(id_read(), second) && pending(),
	   "a save before the guest has handled it carries the interrupt");

	wr(&f, PLIC + 4 * IRQ, 4, 1);
	wr(&f, PLIC + 0x2080, 4, 1u << IRQ);
	ok(f.line[0] && rd(&f, CLAIM, 4) == IRQ, "the guest claims it");
	wr(&f, CLAIM, 4, IRQ);
	ok(!f.line[0] && !pending(), "and has heard it once");
}

/* As saved before this machine type had the device. */
static void without(void)
{
	static struct fake o;
	struct machine     cfg = f.vm.cfg;
	struct fail        why;
	uint32_t           n = 0;

	for (uint32_t i = 0; i < cfg.ndevices; i++)
		if (strcmp(cfg.devices[i].type, "vmgenid"))
			cfg.devices[n++] = cfg.devices[i];
	ok(n + 1 == cfg.ndevices, "one device is the generation ID");
	cfg.ndevices = n;
	ok(fake_try_planned(&o, &cfg, &why) == 0, "a recorded machine without it opens");
	fake_start(&o);
	ok(board_copied(o.vm.board, &why) == 0 && rd(&o, GENID, 8) == UINT64_MAX, "and gets none");
	fake_close(&o);
}

int main(void)
{
	struct machine cfg;

	fake_machine(&cfg);
	fake_open(&f, &cfg);
	fake_start(&f);
	sizes();
	copies();
	without();
	fake_close(&f);
	return done_testing();
}
