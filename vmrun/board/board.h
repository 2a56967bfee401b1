#ifndef VMRUN_BOARD_BOARD_H
#define VMRUN_BOARD_BOARD_H

#include "format/machine.h"
#include "libcommon/fail.h"
#include "vmrun/devices/device.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The machine around the CPUs: addresses, devices, interrupt wiring, the guest's device tree, boot. */

struct vm;

struct board {
	struct vm     *vm;
	unsigned       ndevices;
	struct device *devices[LIMIT_DEVICES];     /* as cfg.devices, same order */
	struct device *irqchip;                    /* one of them */
	struct device *console;                    /* the first UART: SBI DBCN writes go through its backend */
};

/* What a board adds to what the user asked for: fixed devices (irqchip, uart, rtc), RAM's address, and for each device
 * with slot SLOT_NONE and gpa 0 its slot, address and interrupt. cfg->regions[0].size is set by the caller. */
int board_plan(struct machine *cfg, struct fail *why);

int board_open(struct board **out, struct vm *vm, struct fail *why);     /* opens every device of vm->cfg */
void board_close(struct board *b);

/* Power-on: resets every device, puts kernel, initrd and a fresh FDT into RAM, returns where vCPU 0 starts. */
struct boot_images {
	const uint8_t *kernel;      /* ELF64 or Linux Image */
	size_t         kernel_len;
	const uint8_t *initrd;      /* newc, maybe compressed; NULL for none */
	size_t         initrd_len;
};
int board_boot(struct board *b, const struct boot_images *images, uint64_t *pc, uint64_t *arg, struct fail *why);

void board_reset(struct board *b);                            /* devices only, for pulse */
int board_pause(struct board *b, struct fail *why);           /* quiesces every device; idempotent */
int board_resume(struct board *b, struct fail *why);
int board_loaded(struct board *b, struct fail *why);          /* after state was loaded into parts */
/* Takes (own) or gives back the host locks that say who runs this VM: the OFD locks of its disks. Idempotent, all or
 * nothing. Taken before the first start; an incoming VM takes them at GO only, a released one has given them back. */
int board_own(struct board *b, bool own, struct fail *why);

/* From vCPU threads, without machine_lock held. false: nothing there (access fault). */
bool board_mmio_read(struct board *b, uint64_t gpa, unsigned size, uint64_t *value);
bool board_mmio_write(struct board *b, uint64_t gpa, unsigned size, uint64_t value);

/* From devices, with machine_lock: a level line into the interrupt controller. */
void board_irq(struct board *b, uint32_t irq, bool level);

/* SBI debug console; without machine_lock. Guest text to the console's backend. read: what is typed, 0 when none. */
void board_console_write(struct board *b, const uint8_t *data, size_t len);
size_t board_console_read(struct board *b, uint8_t *data, size_t len);

#endif
