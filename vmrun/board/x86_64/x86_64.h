/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOARD_X86_64_X86_64_H
#define VMRUN_BOARD_X86_64_X86_64_H

#include "vmrun/accel/accel.h"
#include "vmrun/board/board.h"
#include "vmrun/board/kernel.h"

/* The board of the x86-64 machine types, which differ in x86_64_machines (x86_64_plan.c) and
 * format/tree/machine_type.c alone. What is here is common to all and never changes. It has no
 * firmware: the board puts a Linux kernel, or another by PVH, into RAM and starts it. Interrupt
 * controllers and timer (IOAPIC, LAPICs, PICs, PIT) are the accelerator's. Interrupts are pins of
 * the IOAPIC; below 16 also of the PICs. */

/* RAM is as format/tree/machine_type.c says; between its regions 0 and 1 lie the devices. */
#define X86_64_IOAPIC    0xfec00000u
#define X86_64_LAPIC     0xfee00000u
#define X86_64_CPUS_MAX  LIMIT_CPUS_X86           /* APIC ids of 8 bits would be enough for 255 */

/* Fixed devices that the ACPI tables name; ports. The others: x86_64_plan.c. */
#define X86_64_PM        0x600u                   /* blocks within it: vmrun/devices/acpi_pm.h */
#define X86_64_SCI       9u
#define X86_64_RESET     0xcf9u
/* Virtio slots: pins 16 to 23 for 0 to 7; 5, 10, 11, 3, 6, 7, 14, 15 for 8 to 15; 16 to 31 share
 * with 0 to 15. */
#define X86_64_VIRTIO      0xd0000000u            /* slot 0, then one every 0x1000 */
#define X86_64_VIRTIO_SIZE 0x1000u
#define X86_64_SLOTS       32u
#define X86_64_PINS        24u

/* What the board puts below 1 MiB; the guest may use it as RAM up to X86_64_EBDA once it has read
 * it. */
#define X86_64_GDT       0x1000u
/* hvm_start_info, its module and its memory map. */
#define X86_64_START     0x2000u
/* setup_data with seeds for the guest's random numbers. */
#define X86_64_SEED      0x3000u
#define X86_64_ZERO      0x7000u                  /* the zero page: boot_params */
#define X86_64_TABLES    0x9000u                  /* PML4, PDPT, 4 page directories: 4 GiB */
#define X86_64_CMDLINE   0x20000u
/* From here to 1 MiB nothing is the guest's RAM. */
#define X86_64_EBDA      0x9fc00u
#define X86_64_ACPI      0xe0000u                 /* RSDP, then the other tables */
/* After it: VMGENID_GPA, vmrun/devices/vmgenid.h. */
#define X86_64_ACPI_SIZE 0x8000u
#define X86_64_KERNEL    0x100000u                /* kernels and initrd start here or above */

extern const struct board_ops board_x86_64;
extern const struct board_machine x86_64_machines[];

int x86_64_plan(struct machine *cfg, struct fail *why);
int x86_64_bootable(const struct machine *cfg, const struct boot_images *images, struct fail *why);
int x86_64_boot(struct board *b, const struct boot_images *images, struct boot_entry *entry,
		struct fail *why);

/* What the guest is told of its memory, ascending. Types of E820 and PVH. */
enum { X86_64_MAP_RAM = 1, X86_64_MAP_RESERVED = 2, X86_64_MAP_MAX = 4 };
struct x86_64_map {
	uint64_t gpa, size;
	uint32_t type;
};
unsigned x86_64_map(const struct machine *cfg, struct x86_64_map out[X86_64_MAP_MAX]);

struct x86_64_kernel {
	struct kernel  k;
	enum boot_how  how;
	/* bzImage: its setup header, from 0x1f1 of the file on; else NULL. */
	const uint8_t *header;
	size_t         header_len;
	uint64_t       initrd_end;         /* the initrd lies below it */
	uint64_t       cmdline_max;        /* characters */
};
bool x86_64_kernel(const uint8_t *head, size_t len);
/* A bzImage, an ELF file with a PVH note, or a 64-bit one without; all of it in RAM from
 * X86_64_KERNEL up to ram_end. No side effects; data is hostile. */
int x86_64_parse(struct x86_64_kernel *k, const uint8_t *data, size_t len, uint64_t ram_end,
		 struct fail *why);

/* What the guest is started with. */
struct x86_64_start {
	const struct machine *cfg;
	uint64_t rsdp, initrd, initrd_len;
};
/* x86_64_pvh.c: hvm_start_info into page, for gpa X86_64_START. */
void x86_64_pvh(uint8_t page[4096], const struct x86_64_start *s);

#endif
