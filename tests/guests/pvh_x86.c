/* SPDX-License-Identifier: MIT */
/* The PVH guest: 32-bit protected mode without paging, started by the ELF note
 * XEN_ELFNOTE_PHYS32_ENTRY. It prints a line, counts, and ends in one of several ways.
 *
 * command line: ticks=N prints "tick 1" to "tick N" (default 3), then
 *               end=N: 0 power off, 1 reset, 2 triple fault, 3 and 4 debug exit with 0 and 1,
 *               5 halts */
#include <stdint.h>
#include "x86.h"
#include "guest.h"

struct start_info {                 /* hvm_start_info */
	uint32_t magic, version, flags, nmodules;
	uint64_t modules, cmdline, rsdp;
};

static void triple_fault(void)
{
	static const struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) none = { 0, 0 };

	__asm__ volatile("lidt %0; ud2" :: "m"(none));
}

void boot_main(const struct start_info *info);
void boot_main(const struct start_info *info)
{
	const uint8_t *text = (const uint8_t *)(uint32_t)info->cmdline;
	uint32_t       len = 0;

	while (text && len < 2048 && text[len])
		len++;
	say(info->magic == 0x336ec578 ? "pvh guest: version " : "BAD start info: version ",
	    info->version, 0, 0);
	for (unsigned long n = 1, last = option(text, len, "ticks=", 3); n <= last; n++) {
		for (volatile int i = 0; i < 2000; i++)
			;
		say("tick ", n, 0, 0);
	}
	switch (option(text, len, "end=", 0)) {
	case 0: power(0); break;
	case 1: power(1); break;
	case 2: triple_fault(); break;
	case 3: outb(0xf4, 0); break;
	case 4: outb(0xf4, 1); break;
	}
	for (;;)
		__asm__ volatile("cli; hlt");
}

__asm__(
	".section .note.Xen,\"a\",@note\n"
	"	.long 4, 4, 18\n"
	"	.asciz \"Xen\"\n"
	"	.long _start\n"
	".section .text.start,\"ax\"\n"
	".globl _start\n"
	"_start:\n"
	"	mov $stack, %esp\n"
	"	push %ebx\n"
	"	call boot_main\n"
	".section .bss\n"
	".balign 4096\n"
	"	.space 4096\n"
	"stack:\n"
	".text\n"
);
