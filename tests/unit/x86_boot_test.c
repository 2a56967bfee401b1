/* SPDX-License-Identifier: MIT */
/* Machine type x86-64-1: kernels told apart and bounded, what Linux and PVH kernels are handed,
 * addresses and shared lines. */
#include "tests/unit/board_fake.h"

#include "libcommon/bytes.h"
#include "vmrun/board/riscv64/riscv64.h"
#include "vmrun/board/x86_64/x86_64.h"
#include "vmrun/devices/acpi_pm.h"
#include "vmrun/devices/vmgenid.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB   (1u << 20)
#define SETUP 2048u               /* 3 sectors and the first */
#define CODE  6144u

static struct fake f;

static void machine(struct machine *cfg, uint64_t ram_size)
{
	fake_machine(cfg);
	cfg->type            = MACHINE_X86_64_1;
	cfg->regions[0].size = ram_size;
}

static void make_bzimage(uint8_t *b)
{
	memset(b, 0, SETUP + CODE);
	b[0x1f1] = 3;
	put_le32(b + 0x1f4, CODE / 16);
	put_le16(b + 0x1fe, 0xaa55);
	b[0x201] = 0x6a;
	memcpy(b + 0x202, "HdrS", 4);
	put_le16(b + 0x206, 0x020f);
	b[0x211] = 1;
	put_le32(b + 0x22c, 0x7fffffff);
	put_le32(b + 0x230, 2 * MIB);
	b[0x234] = 1;
	put_le16(b + 0x236, 1);
	put_le32(b + 0x238, 2047);
	put_le64(b + 0x258, 16 * MIB);
	put_le32(b + 0x260, 8 * MIB);
	memset(b + SETUP, 0x55, CODE);
}

static void make_elf(uint8_t *e, uint64_t paddr, uint64_t memsz, uint64_t entry, bool note)
{
	Elf64_Ehdr h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
			 .e_type = ET_EXEC, .e_machine = EM_X86_64,
			 .e_version = 1, .e_entry = entry, .e_phoff = 64, .e_ehsize = 64,
			 .e_phentsize = 56, .e_phnum = 2 };
	Elf64_Phdr p[2] = { { .p_type = PT_LOAD, .p_offset = 4096, .p_paddr = paddr,
			      .p_filesz = 4096, .p_memsz = memsz },
			    { .p_type = note ? PT_NOTE : PT_NULL, .p_offset = 1024,
			      .p_filesz = 40 } };

	memset(e, 0, 8192);
	memcpy(e, &h, sizeof(h));
	memcpy(e + 64, p, sizeof(p));
	memset(e + 4096, 0x90, 4096);
	/* Another's note, then PVH's: entry 16 bytes behind where it is loaded. */
	put_le32(e + 1024, 4);
	put_le32(e + 1028, 1);
	put_le32(e + 1032, 18);
	memcpy(e + 1036, "GNU", 4);
	e[1040] = 7;
	put_le32(e + 1044, 4);
	put_le32(e + 1048, 4);
	put_le32(e + 1052, 18);
	memcpy(e + 1056, "Xen", 4);
	put_le32(e + 1060, (uint32_t)paddr + 16);
}

static void make_elf32(uint8_t *e, uint32_t paddr, bool note)
{
	Elf32_Ehdr h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, 1 },
			 .e_type = ET_EXEC, .e_machine = EM_386,
			 .e_version = 1, .e_entry = paddr, .e_phoff = 64, .e_ehsize = 52,
			 .e_phentsize = 32, .e_phnum = 2 };
	Elf32_Phdr p[2] = { { .p_type = PT_LOAD, .p_offset = 4096, .p_paddr = paddr,
			      .p_filesz = 4096, .p_memsz = 8192 },
			    { .p_type = note ? PT_NOTE : PT_NULL, .p_offset = 1024,
			      .p_filesz = 40 } };

	make_elf(e, paddr, 8192, paddr, note);
	memcpy(e, &h, sizeof(h));
	memcpy(e + 64, p, sizeof(p));
}

static struct fail why;

static bool parses(const uint8_t *data, size_t len, struct x86_64_kernel *k)
{
	return x86_64_parse(k, data, len, 64 * MIB, &why) == 0;
}

static bool refused(const uint8_t *data, size_t len, const char *word)
{
	struct x86_64_kernel k;

	return !parses(data, len, &k) && strstr(why.what, word);
}

static void bzimages(void)
{
	static uint8_t       b[SETUP + CODE + 64];
	const size_t         len = SETUP + CODE;
	struct x86_64_kernel k;

	make_bzimage(b);
	ok(board_for_kernel(b, 4096) == &board_x86_64, "a bzImage is x86's");
	ok(parses(b, len, &k) && k.how == BOOT_X86_64 && k.k.entry == 16 * MIB + 0x200 &&
	   k.k.lo == 16 * MIB && k.k.hi == 24 * MIB &&
	   k.k.segments[0].at == SETUP && k.k.segments[0].len == CODE, "it goes where it prefers");
	ok(k.initrd_end == 64 * MIB && k.cmdline_max == 2047 && k.header == b + 0x1f1 &&
	   k.header_len == 0x26c - 0x1f1, "its header is read");
	ok(x86_64_parse(&k, b, len, 16 * MIB, &why) == 0 && k.k.lo == 2 * MIB,
	   "with less RAM as low as its alignment lets it");
	ok(parses(b, len + 64, &k) && k.k.segments[0].len == CODE,
	   "a signature behind it is not loaded");
	ok(parses(b, len - 15, &k) && k.k.segments[0].len == CODE - 15,
	   "its last 16 bytes may be less");
	put_le32(b + 0x22c, 0x01ffffff);
	ok(parses(b, len, &k) && k.initrd_end == 32 * MIB, "an initrd's end is minded");
	put_le16(b + 0x206, 0x020b);
	ok(refused(b, len, "2.11"), "an old boot protocol is named");
	make_bzimage(b);
	b[0x236] = 0;
	ok(refused(b, len, "64-bit"), "a kernel without a 64-bit entry");
	make_bzimage(b);
	b[0x211] = 0;
	ok(refused(b, len, "64-bit"), "a zImage");
	make_bzimage(b);
	ok(refused(b, len - 16, "truncated: bzImage"), "a cut one");
	put_le32(b + 0x1f4, 0xffffffff);
	ok(refused(b, len, "truncated: bzImage"), "more code than file");
	put_le32(b + 0x1f4, 0x20);
	ok(refused(b, len, "code"), "no code behind the entry");
	make_bzimage(b);
	b[0x1f1] = 255;
	ok(refused(b, len, "truncated: bzImage"), "a setup longer than the file");
	make_bzimage(b);
	put_le32(b + 0x260, 0xffffffff);
	ok(refused(b, len, "--memory"), "one that needs 4 GiB");
	make_bzimage(b);
	b[0x234] = 0;
	put_le64(b + 0x258, UINT64_MAX - 4096);
	ok(refused(b, len, "--memory"), "one for the end of the world");
	put_le64(b + 0x258, 0x90000);
	ok(refused(b, len, "below 1 MiB"), "one for low memory");
	b[0x234] = 1;
	put_le32(b + 0x230, 0);
	ok(refused(b, len, "alignment"), "no alignment");
	put_le32(b + 0x230, 0x80000000);
	ok(refused(b, len, "alignment"), "an alignment of 2 GiB");
	make_bzimage(b);
	b[0x201] = 0xff;
	ok(parses(b, len, &k) && k.header_len == 0x290 - 0x1f1,
	   "a header without end is cut where the zero page goes on");
	b[0x201] = 0;
	ok(parses(b, len, &k) && k.header_len == 0x264 - 0x1f1,
	   "and a short one is read as far as it was looked at");
	for (size_t n = 0; n < len - 16; n += 7)
		if (parses(b, n, &k) || x86_64_kernel(b, n < 0x264 ? n : 0))
			ok(false, "a cut bzImage");
}

static void elves(void)
{
	static uint8_t       b[8192];
	struct x86_64_kernel k;

	make_elf(b, 2 * MIB, 8192, 2 * MIB + 8, false);
	ok(board_for_kernel(b, 4096) == &board_x86_64 && parses(b, sizeof(b), &k) &&
	   k.how == BOOT_X86_64 && k.k.entry == 2 * MIB + 8 && !k.header &&
	   k.k.segments[0].zero == 4096, "an ELF file starts in long mode");
	make_elf(b, 2 * MIB, 8192, 2 * MIB + 8, true);
	ok(parses(b, sizeof(b), &k) && k.how == BOOT_X86_PVH && k.k.entry == 2 * MIB + 16,
	   "with a PVH note where that says");
	put_le32(b + 1060, 1 * MIB);
	ok(refused(b, sizeof(b), "entry"), "unless that is nowhere");
	make_elf(b, 2 * MIB, 8192, 2 * MIB, true);
	put_le32(b + 1028, UINT32_MAX);
	ok(parses(b, sizeof(b), &k) && k.how == BOOT_X86_64,
	   "a note without end hides what follows");
	put_le32(b + 1028, 1);
	put_le32(b + 1024, UINT32_MAX);
	ok(parses(b, sizeof(b), &k) && k.how == BOOT_X86_64, "so does a name without end");
	put_le64(b + 64 + 56 + 8, 8180);
	ok(parses(b, sizeof(b), &k) && k.how == BOOT_X86_64, "notes outside of the file are none");
	make_elf32(b, 1 * MIB, true);
	ok(board_for_kernel(b, 4096) == &board_x86_64 && parses(b, sizeof(b), &k) &&
	   k.how == BOOT_X86_PVH && k.k.entry == MIB + 16 &&
	   k.k.segments[0].len == 4096 && k.k.segments[0].zero == 4096, "a 32-bit ELF file by PVH");
	make_elf32(b, 1 * MIB, false);
	ok(refused(b, sizeof(b), "PVH"), "one without a note has no start");
	make_elf(b, MIB - 4096, 8192, MIB, false);
	ok(refused(b, sizeof(b), "does not fit"), "a segment below 1 MiB");
	make_elf(b, 64 * MIB - 4096, 8192, 64 * MIB - 4096, false);
	ok(refused(b, sizeof(b), "does not fit"), "a segment over the end of RAM");
	make_elf(b, 2 * MIB, 8192, 2 * MIB, false);
	b[18] = EM_386;
	ok(refused(b, sizeof(b), "expected x86-64"), "32-bit code in a 64-bit file");
	b[18] = (uint8_t)EM_RISCV;
	ok(board_for_kernel(b, 4096) == &board_riscv64 && refused(b, sizeof(b), "expected x86-64"),
	   "another machine's");
	b[EI_DATA] = ELFDATA2MSB;
	ok(refused(b, sizeof(b), "big-endian"), "a big-endian one");
	make_elf32(b, MIB, true);
	put_le32(b + 28, 0xfffffff0);
	ok(refused(b, sizeof(b), "past the end"), "32-bit program headers nowhere");
	for (size_t n = 0; n < 8192; n += 3) {
		make_elf(b, 2 * MIB, 8192, 2 * MIB, true);
		if (parses(b, n, &k))
			ok(false, "a cut ELF file");
		make_elf32(b, 2 * MIB, true);
		if (parses(b, n, &k))
			ok(false, "a cut 32-bit ELF file");
	}
	memcpy(b, "\x1f\x8b\x08", 3);
	ok(refused(b, sizeof(b), "gzip") && refused(b, 0, "unsupported format") &&
	   refused((const uint8_t *)"\x7f""ELF", 4, "truncated"), "gzip, nothing, a stub");
}

static const uint8_t *at(uint64_t gpa, size_t len)
{
	const uint8_t *p = guest_read(&f.vm.memory, gpa, len);

	if (!p) {
		printf("Bail out! no RAM at %llx\n", (unsigned long long)gpa);
		exit(1);
	}
	return p;
}

static bool dirty(uint64_t gpa)
{
	return f.vm.memory.regions[0].dirty[gpa / 4096 / 64] >> (gpa / 4096 % 64) & 1;
}

static bool row(const uint8_t *p, uint64_t gpa, uint64_t size, uint32_t type)
{
	return get_le64(p) == gpa && get_le64(p + 8) == size && get_le32(p + 16) == type;
}

/* Four levels from cr3 say that gpa is where it is. */
static bool identity(uint64_t cr3, uint64_t gpa)
{
	uint64_t pml4 = get_le64(at(cr3, 8));
	uint64_t pdpt = get_le64(at((pml4 & ~0xfffull) + 8 * (gpa >> 30), 8));
	uint64_t pd   = get_le64(at((pdpt & ~0xfffull) + 8 * (gpa >> 21 & 511), 8));

	return (pml4 & 3) == 3 && (pdpt & 0x83) == 3 && (pd & 0x83) == 0x83 &&
	       (pd & ~0x1fffffull) == (gpa & ~0x1fffffull);
}

static void boots(void)
{
	static uint8_t     kernel[8192], initrd[300000], seed[64];
	struct boot_images images = { .kernel = kernel, .kernel_len = sizeof(kernel),
				      .initrd = initrd, .initrd_len = sizeof(initrd) };
	struct boot_entry  e;
	struct machine     cfg;
	const uint8_t     *z;
	uint64_t           start;

	machine(&cfg, 32 * MIB);
	snprintf(cfg.append, sizeof(cfg.append), "console=ttyS0 \"quoted\"");
	fake_device(&cfg, "virtio-rng", "");
	fake_open(&f, &cfg);
	make_bzimage(kernel);
	memset(initrd, 0x77, sizeof(initrd));
	ok(board_boot(f.vm.board, &images, &e, &why) == 0 && e.how == BOOT_X86_64 &&
	   e.pc == 16 * MIB + 0x200, "a bzImage boots with an initrd");
	z = at(e.arg, 4096);
	start = get_le32(z + 0x218);
	ok(get_le16(z + 0x1fe) == 0xaa55 && !memcmp(z + 0x202, "HdrS", 4) && z[0x210] == 0xff &&
	   get_le32(z + 0x260) == 8 * MIB &&
	   !memcmp(z + 0x26c, "\0\0\0", 3), "the zero page has its header");
	ok(get_le32(z + 0x21c) == sizeof(initrd) && start >= 24 * MIB &&
	   !memcmp(at(start, sizeof(initrd)), initrd, sizeof(initrd)),
	   "the initrd is where it says, clear of the kernel");
	ok(!strcmp((const char *)at(get_le32(z + 0x228), 100), cfg.append), "the command line");
	ok(z[0x1e8] == 3 && row(z + 0x2d0, 0, 0x9fc00, 1) && row(z + 0x2e4, 0x9fc00, 0x60400, 2) &&
	   row(z + 0x2f8, MIB, 31 * MIB, 1), "E820: all of the memory");
	ok(get_le64(z + 0x70) == 0xe0000 && !memcmp(at(0xe0000, 8), "RSD PTR ", 8),
	   "ACPI's tables");
	ok(!memcmp(at(16 * MIB, CODE), kernel + SETUP, CODE), "the kernel is there");
	ok(identity(e.cr3, 0) && identity(e.cr3, 16 * MIB) && identity(e.cr3, 0xfee00000) &&
	   identity(e.cr3, 0xffffffff), "4 GiB lie where they lie");
	ok(e.gdt_limit == 31 && get_le64(at(e.gdt + 0x10, 8)) == 0x00af9b000000ffff &&
	   get_le64(at(e.gdt + 0x18, 8)) == 0x00cf93000000ffff, "flat segments, 64-bit code");
	z = at(get_le64(z + 0x250), 80);
	memcpy(seed, z + 16, 64);
	ok(get_le64(z) == 0 && get_le32(z + 8) == 9 && get_le32(z + 12) == 64,
	   "a seed for the guest's random numbers");
	ok(dirty(e.arg) && dirty(start) && dirty(e.cr3) && dirty(0xe0000) && dirty(16 * MIB) &&
	   !dirty(20 * MIB), "what was loaded is marked, and no more");
	ok(board_boot(f.vm.board, &images, &e, &why) == 0 && memcmp(z + 16, seed, 64),
	   "each boot has its own seed");
	put_le32(kernel + 0x22c, 16 * MIB - 1);
	ok(board_boot(f.vm.board, &images, &e, &why) == 0 &&
	   get_le32(at(e.arg, 4096) + 0x218) < 16 * MIB - sizeof(initrd),
	   "an initrd below what the kernel can reach");
	put_le32(kernel + 0x238, 10);
	ok(board_boot(f.vm.board, &images, &e, &why) == -1 && strstr(why.what, "--append"),
	   "a command line that is too long is said to be");
	make_bzimage(kernel);
	put_le64(kernel + 0x258, MIB);
	put_le32(kernel + 0x260, 31 * MIB);
	ok(board_boot(f.vm.board, &images, &e, &why) == -1 && strstr(why.what, "--memory"),
	   "no room beside the kernel");
	make_elf(kernel, 2 * MIB, 3 * MIB, 2 * MIB, true);
	memset(f.vm.memory.regions[0].host + 2 * MIB, 0xff, 4 * MIB);
	ok(board_boot(f.vm.board, &images, &e, &why) == 0 && e.how == BOOT_X86_PVH &&
	   e.pc == 2 * MIB + 16 && *at(5 * MIB - 1, 1) == 0 &&
	   *at(5 * MIB, 1) == 0xff, "an ELF file by PVH, its bss cleared");
	ok(get_le64(at(e.gdt + 0x10, 8)) == 0x00cf9b000000ffff, "32-bit code");
	z = at(e.arg, 56);
	ok(get_le32(z) == 0x336ec578 && get_le32(z + 4) == 1 && get_le32(z + 12) == 1 &&
	   get_le64(z + 32) == 0xe0000 && get_le32(z + 48) == 3 &&
	   !strcmp((const char *)at(get_le64(z + 24), 100), cfg.append),
	   "hvm_start_info: command line, RSDP");
	ok(get_le64(at(get_le64(z + 16), 32) + 8) == sizeof(initrd) &&
	   *at(get_le64(at(get_le64(z + 16), 32)), 1) == 0x77, "its module is the initrd");
	ok(row(at(get_le64(z + 40), 72) + 48, MIB, 31 * MIB, 1), "its memory map");
	make_elf(kernel, 2 * MIB, 8192, 2 * MIB + 4, false);
	images.initrd = NULL;
	ok(board_boot(f.vm.board, &images, &e, &why) == 0 && e.how == BOOT_X86_64 &&
	   e.pc == 2 * MIB + 4, "a bare-metal ELF file");
	z = at(e.arg, 4096);
	ok(!memcmp(z + 0x202, "HdrS", 4) && get_le32(z + 0x218) == 0 && get_le32(z + 0x21c) == 0 &&
	   get_le64(z + 0x70) == 0xe0000, "gets a zero page too, without initrd");
	fake_close(&f);
}

static void plans(void)
{
	static const uint8_t irqs[16] = { 16, 17, 18, 19, 20, 21, 22, 23, 5, 10, 11, 3, 6, 7, 14,
					  15 };
	static struct fake   o;
	struct machine       cfg, again;
	bool                 placed = true;

	machine(&cfg, 4 * MIB);
	for (int i = 0; i < 32; i++)
		fake_device(&cfg, "virtio-rng", "");
	ok(board_plan(&cfg, &why) == 0 && cfg.ndevices == 40,
	   "32 virtio devices find a slot beside 8 fixed ones");
	for (uint32_t i = 0; i < 32; i++) {
		const struct machine_device *d = &cfg.devices[8 + i];

		placed = placed && d->slot == i && d->gpa == 0xd0000000u + i * 0x1000u &&
			 d->irq == irqs[i % 16];
	}
	ok(placed, "slots, addresses and interrupts as the machine type says");
	again = cfg;
	ok(board_plan(&again, &why) == 0 && !memcmp(&again, &cfg, sizeof(cfg)),
	   "a plan that is made stays as it is");
	ok(fake_try(&o, &cfg, &why) == 0, "and opens");
	fake_close(&o);
	fake_device(&cfg, "virtio-rng", "");
	ok(board_plan(&cfg, &why) == -1, "a 33rd is refused");
	cfg = again;
	cfg.devices[8].irq = 4;
	ok(fake_try(&o, &cfg, &why) == -1 && why.kind == FAIL_CORRUPT,
	   "a virtio device at the UART's interrupt");
	cfg.devices[8].irq = 24;
	ok(fake_try(&o, &cfg, &why) == -1, "an interrupt that does not exist");
	cfg.devices[8].irq = 2;
	ok(fake_try(&o, &cfg, &why) == -1, "the timer's interrupt");
	cfg = again;
	cfg.devices[8].gpa = 0xfee00800;
	ok(fake_try(&o, &cfg, &why) == -1, "a device in the interrupt controller");
	cfg.devices[8].gpa = MIB;
	ok(fake_try(&o, &cfg, &why) == -1, "a device in RAM");
	cfg.devices[8].gpa = 0x100000000;
	ok(fake_try(&o, &cfg, &why) == -1, "a device above 4 GiB");
	cfg.devices[8].gpa = MACHINE_IO + 0xf001;
	ok(fake_try(&o, &cfg, &why) == -1, "a device over the last port");
	cfg = again;
	cfg.regions[0].gpa = 0x100000000;
	ok(fake_try(&o, &cfg, &why) == -1, "RAM elsewhere");
	cfg = again;
	cfg.ncpus = X86_64_CPUS_MAX + 1;
	ok(fake_try(&o, &cfg, &why) == -1, "a CPU too many");
	machine(&cfg, 2 * MIB);
	ok(board_plan(&cfg, &why) == -1 && strstr(why.what, "--memory"),
	   "2 MiB of RAM are too little");
	machine(&cfg, 0xc0000000);
	ok(board_plan(&cfg, &why) == 0 && cfg.nregions == 1, "3 GiB are one region");
	machine(&cfg, 0xc0001000);
	ok(board_plan(&cfg, &why) == 0 && cfg.nregions == 2 && cfg.regions[0].size == 0xc0000000 &&
	   cfg.regions[1].gpa == 0x100000000 &&
	   cfg.regions[1].size == 4096 && cfg.regions[1].id == 1 &&
	   !strcmp(cfg.regions[1].name, "ram-high"), "a page more is another above the hole");
	again = cfg;
	ok(board_plan(&again, &why) == 0 && !memcmp(&again, &cfg, sizeof(cfg)), "and stays there");
	struct x86_64_map map[X86_64_MAP_MAX];

	ok(x86_64_map(&cfg, map) == 4 && map[2].size == 0xc0000000 - MIB &&
	   map[3].gpa == 0x100000000 && map[3].size == 4096, "the guest is told of both");
}

/* Slots 0 and 16 are on one line. */
static void lines(void)
{
	struct machine    cfg;
	struct device    *a, *b;

	machine(&cfg, 4 * MIB);
	for (int i = 0; i < 17; i++)
		fake_device(&cfg, "virtio-rng", "");
	fake_open(&f, &cfg);
	fake_start(&f);
	a = f.vm.board->devices[8];
	b = f.vm.board->devices[24];
	pthread_mutex_lock(&f.vm.machine_lock);
	irq_line_set(&a->irq, true);
	irq_line_set(&b->irq, true);
	irq_line_set(&a->irq, false);
	ok(a->cfg.irq == 16 && b->cfg.irq == 16 && f.line[16],
	   "a shared line is high while one drives it");
	irq_line_set(&b->irq, false);
	ok(!f.line[16], "and falls with the last");
	unsigned changes = f.changes;
	irq_line_set(&a->irq, false);
	ok(f.changes == changes, "what is known is not told again");
	irq_line_set(&a->irq, true);
	pthread_mutex_unlock(&f.vm.machine_lock);
	f.line[16] = f.line[9] = true;
	ok(board_post_load(f.vm.board, &why) == 0 && !f.line[16] && !f.line[9],
	   "after a load every line is told, low ones too");
	board_button(f.vm.board);
	ok(!f.line[9] && (rd(&f, MACHINE_IO + 0x600, 2) & 0x100), "the power button is seen");
	wr(&f, MACHINE_IO + 0x602, 2, 0x100);
	ok(f.line[9], "and interrupts who asks for it");
	board_reset(f.vm.board);
	ok(!f.line[9], "a reset takes that back");
	board_resume(f.vm.board, &why);
	uint8_t guid[16];

	memcpy(guid, at(VMGENID_GPA, 16), 16);
	wr(&f, MACHINE_IO + 0x624, 4, 1u << 5);
	ok(board_copied(f.vm.board, &why) == 0 && memcmp(guid, at(VMGENID_GPA, 16), 16) &&
	   f.line[9] && rd(&f, MACHINE_IO + 0x620, 4) == 1u << 5,
	   "a copy has another generation ID, and an event says so");
	fake_close(&f);
}

int main(void)
{
	bzimages();
	elves();
	boots();
	plans();
	lines();
	return done_testing();
}
