/* SPDX-License-Identifier: MIT */
/* Boot: kernels told apart and bounded, images placed clear of each other, a device tree that is
 * one. */
#include "tests/unit/virtio_driver.h"

#include "vmrun/board/riscv64/riscv64.h"

#include <elf.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB (1u << 20)

static struct fake f;

static void open_with(uint64_t ram_size, uint32_t ncpus, const char *append)
{
	struct machine cfg;

	fake_machine(&cfg);
	cfg.regions[0].size = ram_size;
	cfg.ncpus           = ncpus;
	snprintf(cfg.append, sizeof(cfg.append), "%s", append);
	fake_device(&cfg, "virtio-rng", "");
	fake_device(&cfg, "virtio-rng", "");
	fake_open(&f, &cfg);
}

static void make_elf(uint8_t *e, uint64_t paddr, uint64_t filesz, uint64_t memsz, uint64_t entry)
{
	Elf64_Ehdr h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
			 .e_type = ET_EXEC, .e_machine = EM_RISCV,
			 .e_version = 1, .e_entry = entry, .e_phoff = 64, .e_ehsize = 64,
			 .e_phentsize = 56, .e_phnum = 1 };
	Elf64_Phdr p = { .p_type = PT_LOAD, .p_offset = 4096, .p_paddr = paddr, .p_filesz = filesz,
			 .p_memsz = memsz };

	memset(e, 0, 8192);
	memcpy(e, &h, sizeof(h));
	memcpy(e + 64, &p, sizeof(p));
	memset(e + 4096, 0x13, 4096);
}

static void make_image(uint8_t *i, uint64_t offset, uint64_t size, uint64_t flags)
{
	memset(i, 0, 8192);
	put_le64(i + 8, offset);
	put_le64(i + 16, size);
	put_le64(i + 24, flags);
	memcpy(i + 0x30, "RISCV\0\0", 8);
	memcpy(i + 0x38, "RSC\x05", 4);
	memset(i + 4096, 0x55, 4096);
}

static bool parses(const uint8_t *data, size_t len, struct kernel *k)
{
	struct fail why;

	return riscv64_parse(k, data, len, RAM, 64 * MIB, &why) == 0;
}

static void kernels(void)
{
	static uint8_t b[8192];
	struct kernel  k;

	make_elf(b, RAM + 4096, 4096, 8192, RAM + 4096);
	ok(parses(b, sizeof(b), &k) && k.entry == RAM + 4096 && k.nsegments == 1 &&
	   k.segments[0].zero == 4096, "an ELF file");
	make_elf(b, RAM - 1, 4096, 4096, RAM);
	ok(!parses(b, sizeof(b), &k), "a segment below RAM");
	make_elf(b, RAM, 4096, UINT64_MAX, RAM);
	ok(!parses(b, sizeof(b), &k), "a segment without end");
	make_elf(b, RAM + 64 * MIB - 4096, 4096, 4097, RAM + 64 * MIB - 4096);
	ok(!parses(b, sizeof(b), &k), "a segment over the end of RAM");
	make_elf(b, RAM, 4097, 8192, RAM);
	ok(!parses(b, sizeof(b), &k), "a segment longer than the file");
	make_elf(b, RAM, 4096, 4095, RAM);
	ok(!parses(b, sizeof(b), &k), "more in the file than in memory");
	make_elf(b, RAM, 4096, 4096, RAM + 4096);
	ok(!parses(b, sizeof(b), &k), "an entry outside of what is loaded");
	make_elf(b, RAM, 4096, 4096, RAM);
	((Elf64_Ehdr *)b)->e_machine = EM_X86_64;
	ok(!parses(b, sizeof(b), &k), "another machine's ELF file");
	make_elf(b, RAM, 4096, 4096, RAM);
	((Elf64_Ehdr *)b)->e_phoff = UINT64_MAX - 8;
	ok(!parses(b, sizeof(b), &k), "program headers nowhere");
	((Elf64_Ehdr *)b)->e_phoff = 64;
	((Elf64_Ehdr *)b)->e_phnum = 0xffff;
	ok(!parses(b, sizeof(b), &k), "more program headers than file");
	for (size_t n = 0; n < 4096; n += 7)
		if (parses(b, n, &k))
			ok(false, "a cut ELF file");

	make_image(b, 0x200000, 8 * MIB, 0);
	ok(parses(b, sizeof(b), &k) && k.entry == RAM + 2 * MIB && k.hi == RAM + 10 * MIB,
	   "a Linux Image");
	make_image(b, 0x200000, 0, 0);
	ok(parses(b, sizeof(b), &k) && k.hi == RAM + 2 * MIB + sizeof(b),
	   "one that does not say its size");
	make_image(b, 0x200000, 8 * MIB, 1);
	ok(!parses(b, sizeof(b), &k), "a big-endian one");
	make_image(b, 0x1000, 8 * MIB, 0);
	ok(!parses(b, sizeof(b), &k), "one at an odd offset");
	make_image(b, 0x200000, 63 * MIB, 0);
	ok(!parses(b, sizeof(b), &k), "one that does not fit");
	make_image(b, UINT64_MAX - RAM + 1, 8 * MIB, 0);
	ok(!parses(b, sizeof(b), &k), "one whose offset wraps around");
	make_image(b, 0x200000, UINT64_MAX, 0);
	ok(!parses(b, sizeof(b), &k), "one without end");
	memcpy(b, "\x1f\x8b\x08", 3);
	memset(b + 3, 0, 100);
	ok(!parses(b, sizeof(b), &k) && !parses(b, 0, &k) &&
	   !parses((const uint8_t *)"\x7f""ELF", 4, &k), "gzip, nothing, a stub");
}

static uint64_t prop(const void *fdt, const char *path, const char *name, int cell)
{
	int         len, node = fdt_path_offset(fdt, path);
	const void *p = fdt_getprop(fdt, node, name, &len);

	return !p || len < 4 * (cell + 1) ? UINT64_MAX : len == 8 ? fdt64_ld(p)
	       : fdt32_ld((const fdt32_t *)p + cell);
}

static int boot(const struct boot_images *images, uint64_t *pc, uint64_t *dtb, struct fail *why)
{
	struct boot_entry e = { 0 };
	int               rc = board_boot(f.vm.board, images, &e, why);

	*pc  = e.pc;
	*dtb = e.arg;
	return rc;
}

static void boots(void)
{
	static uint8_t     kernel[8192], initrd[300000], seed[64];
	struct boot_images images = { .kernel = kernel, .kernel_len = sizeof(kernel),
				      .initrd = initrd, .initrd_len = sizeof(initrd) };
	struct fail        why;
	uint64_t           pc, dtb, start, end;
	const void        *fdt;
	int                len;

	open_with(32 * MIB, 4, "console=ttyS0 \"quoted\"");
	make_image(kernel, 0x200000, 20 * MIB, 0);
	memset(initrd, 0x77, sizeof(initrd));
	ok(boot(&images, &pc, &dtb, &why) == 0 && pc == RAM + 2 * MIB,
	   "a machine of 4 harts boots an Image with an initrd");
	fdt = guest_read(&f.vm.memory, dtb, 40);
	ok(fdt && dtb % 8 == 0 && fdt_totalsize(fdt) <= RAM + 32 * MIB - dtb &&
	   fdt_check_full(fdt, fdt_totalsize(fdt)) == 0, "the device tree is one");
	start = prop(fdt, "/chosen", "linux,initrd-start", 0);
	end   = prop(fdt, "/chosen", "linux,initrd-end", 0);
	ok(end - start == sizeof(initrd) &&
	   !memcmp(guest_read(&f.vm.memory, start, sizeof(initrd)), initrd, sizeof(initrd)),
	   "the initrd is where it says");
	ok(start >= pc + 20 * MIB && (end <= dtb || start >= dtb + fdt_totalsize(fdt)) &&
	   dtb >= pc + 20 * MIB, "nothing lies on anything else");
	ok(!memcmp(guest_read(&f.vm.memory, pc, 8192), kernel, 8192), "the kernel is there");
	ok(page_dirty(&f, pc) && page_dirty(&f, start) && page_dirty(&f, dtb) &&
	   !page_dirty(&f, pc + 10 * MIB), "what was loaded is marked, and no more");
	ok(!strcmp(fdt_getprop(fdt, fdt_path_offset(fdt, "/chosen"), "bootargs", &len),
		   "console=ttyS0 \"quoted\""), "the command line");
	ok(fdt_path_offset(fdt, "/cpus/cpu@3/interrupt-controller") > 0 &&
	   fdt_path_offset(fdt, "/cpus/cpu@4") < 0, "four harts");
	ok(!strcmp(fdt_stringlist_get(fdt, fdt_path_offset(fdt, "/cpus/cpu@0"),
				      "riscv,isa-extensions", 9, &len), "sstc") &&
	   fdt_stringlist_count(fdt, fdt_path_offset(fdt, "/cpus/cpu@0"),
				"riscv,isa-extensions") == 10, "ten extensions");
	ok(prop(fdt, "/soc/virtio_mmio@10002000", "interrupts", 0) == 2 &&
	   prop(fdt, "/soc/serial@10000000", "interrupts", 0) == 10 &&
	   prop(fdt, "/soc/rtc@101000", "interrupts", 0) == 11, "devices where virt has them");
	ok(!strcmp(fdt_getprop(fdt, fdt_path_offset(fdt, "/soc/rng@102000"), "compatible", &len),
		   "microsoft,vmgenid") &&
	   prop(fdt, "/soc/rng@102000", "interrupts", 0) == 9 &&
	   prop(fdt, "/soc/rng@102000", "reg", 1) == 0x102000 &&
	   prop(fdt, "/soc/rng@102000", "reg", 3) == 16, "and a VM generation ID of 16 bytes");
	ok(prop(fdt, "/memory@80000000", "reg", 3) == 32 * MIB, "all of the memory");
	memcpy(seed, fdt_getprop(fdt, fdt_path_offset(fdt, "/chosen"), "rng-seed", &len), 64);
	ok(len == 64 && boot(&images, &pc, &dtb, &why) == 0 &&
	   memcmp(seed,
		  fdt_getprop(guest_read(&f.vm.memory, dtb, 40),
			      fdt_path_offset(guest_read(&f.vm.memory, dtb, 40), "/chosen"),
			      "rng-seed", &len), 64),
	   "each boot has its own seed");
	make_image(kernel, 0x200000, 30 * MIB, 0);
	ok(boot(&images, &pc, &dtb, &why) == 0 && dtb < pc,
	   "a kernel up to the end of RAM: the rest goes below it");
	make_image(kernel, 0, 32 * MIB, 0);
	ok(boot(&images, &pc, &dtb, &why) == -1 && why.kind == FAIL_USAGE,
	   "one that fills all of RAM leaves no room, and that is said");
	make_image(kernel, 0x200000, 31 * MIB, 0);
	ok(boot(&images, &pc, &dtb, &why) == -1 && strstr(why.what, "--memory"),
	   "one that does not fit names the option");
	make_elf(kernel, RAM, 4096, 3 * MIB, RAM + 8);
	memset(ram(&f, RAM), 0xff, 4 * MIB);
	images.initrd = NULL;
	ok(boot(&images, &pc, &dtb, &why) == 0 && pc == RAM + 8 &&
	   !*(uint8_t *)ram(&f, RAM + 4096) &&
	   !*(uint8_t *)ram(&f, RAM + 3 * MIB - 1) && *(uint8_t *)ram(&f, RAM + 3 * MIB) == 0xff,
	   "an ELF file with its bss cleared, no initrd");
	ok(fdt_getprop(guest_read(&f.vm.memory, dtb, 40),
		       fdt_path_offset(guest_read(&f.vm.memory, dtb, 40), "/chosen"),
		       "linux,initrd-start", &len) == NULL,
	   "and none in the tree");
	fake_close(&f);
}

static void plans(void)
{
	static struct fake o;
	struct machine     cfg, again;
	struct fail        why;
	bool               placed = true;

	fake_machine(&cfg);
	memset(cfg.append, 'a', 1023);
	ok(board_plan(&cfg, &why) == 0, "a command line of 1023 characters");
	fake_machine(&cfg);
	memset(cfg.append, 'a', 1024);
	ok(board_plan(&cfg, &why) == -1 && why.kind == FAIL_USAGE &&
	   strstr(why.what, "--append: 1024 characters exceed the limit of 1023 of riscv64-1"),
	   "one of 1024, which Linux would cut");
	fake_machine(&cfg);
	for (int i = 0; i < 24; i++)
		fake_device(&cfg, "virtio-rng", "");
	ok(board_plan(&cfg, &why) == 0 && cfg.ndevices == 28, "24 virtio devices find a slot");
	for (uint32_t i = 0; i < 24; i++) {
		const struct machine_device *d = &cfg.devices[4 + i];

		placed = placed && d->slot == i && d->gpa == 0x10001000u + i * 0x1000u &&
			 d->irq == (i < 8 ? 1 + i : 4 + i);
	}
	ok(placed, "slots, addresses and interrupts as the machine type says");
	again = cfg;
	ok(board_plan(&again, &why) == 0 && !memcmp(&again, &cfg, sizeof(cfg)),
	   "a plan that is made stays as it is");
	ok(fake_try(&o, &cfg, &why) == 0, "and opens");
	fake_close(&o);
	fake_device(&cfg, "virtio-rng", "");
	ok(board_plan(&cfg, &why) == -1, "a 25th is refused");
	cfg = again;
	cfg.devices[5].gpa = cfg.devices[6].gpa + 8;
	ok(fake_try(&o, &cfg, &why) == -1 && why.kind == FAIL_CORRUPT,
	   "two devices at one address");
	cfg = again;
	cfg.devices[5].irq = cfg.devices[6].irq;
	ok(fake_try(&o, &cfg, &why) == -1, "two at one interrupt");
	cfg = again;
	cfg.devices[5].irq = 96;
	ok(fake_try(&o, &cfg, &why) == -1, "an interrupt that does not exist");
	cfg = again;
	cfg.devices[5].gpa = RAM + 4096;
	ok(fake_try(&o, &cfg, &why) == -1, "a device in RAM");
	cfg = again;
	cfg.devices[5].gpa = UINT64_MAX - 100;
	ok(fake_try(&o, &cfg, &why) == -1, "a device over the end of the world");
	cfg = again;
	cfg.ncpus = 33;
	ok(fake_try(&o, &cfg, &why) == -1, "33 harts");
	snprintf(again.devices[5].type, sizeof(again.devices[5].type), "flux-capacitor");
	ok(fake_try(&o, &again, &why) == -1 && why.kind == FAIL_VERSION,
	   "a device this build does not have");
}

int main(void)
{
	kernels();
	boots();
	plans();
	return done_testing();
}
