/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOARD_BOARD_H
#define VMRUN_BOARD_BOARD_H

#include "format/tree/machine.h"
#include "libcommon/fail.h"
#include "vmrun/devices/device.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The machine around the CPUs: addresses, devices, interrupt wiring, the guest's device tree, boot. */

struct vm;
struct boot_entry;
struct board_ops;
struct notifier;

struct board {
	const struct board_ops *ops;
	struct vm     *vm;
	unsigned       ndevices;
	struct device *devices[LIMIT_DEVICES];     /* as cfg.devices, same order */
	struct device *irqchip;                    /* one of them; NULL where it belongs to the accelerator */
	struct notifier *notifier;                 /* NULL where every notification stops the vCPU */
	struct device *console;                    /* the first UART: SBI DBCN writes go through its backend */
	uint32_t       pins, pins_known;           /* x86: what the accelerator was told of each pin, and whether it was */
};

/* A machine type: what a board of it is made of. */
struct boot_images {
	uint8_t *kernel;
	size_t   kernel_len;
	uint8_t *initrd;      /* newc, maybe compressed; NULL for none */
	size_t   initrd_len;
};

struct board_ops {
	enum machine_type type;
	uint32_t          cpus_max;

	/* Is that the beginning of a kernel for this machine? BOARD_KERNEL_HEAD bytes, or the whole of a shorter file. */
	bool (*kernel)(const uint8_t *head, size_t len);
	/* As board_plan; as board_check, what is the type's own. */
	int (*plan)(struct machine *cfg, struct fail *why);
	int (*check)(const struct machine *cfg, struct fail *why);
	/* Before a reset: could these be booted, as far as can be told without RAM? The kernel may be NULL. */
	int (*bootable)(const struct machine *cfg, const struct boot_images *images, struct fail *why);
	/* Puts kernel, initrd and tables into RAM, after the devices were reset. */
	int (*boot)(struct board *b, const struct boot_images *images, struct boot_entry *entry, struct fail *why);
	/* A level line into the interrupt controller, all devices on it taken together; with machine_lock. */
	void (*irq)(struct board *b, uint32_t irq, bool level);
	/* The power button; with machine_lock. NULL: the machine has none. */
	void (*button)(struct board *b);
	/* A VM that was restored from a snapshot, not moved: tells the guest that it is a copy; with machine_lock. NULL: nothing
	 * to tell. */
	int (*copied)(struct board *b, struct fail *why);
};

#define BOARD_KERNEL_HEAD 4096u

extern const struct board_ops board_riscv64, board_x86_64;
extern const struct board_ops *const board_list[];      /* list.c, NULL at the end */
const struct board_ops *board_type(enum machine_type type);     /* NULL: none in this build */
/* The machine that the kernel is for, NULL when no board knows it. */
const struct board_ops *board_for_kernel(const uint8_t *head, size_t len);

/* What a board adds to what the user asked for: fixed devices (irqchip, uart, rtc), where RAM lies (the caller sets
 * cfg->regions[0].size; a board may split it in two), and for each device with slot SLOT_NONE and gpa 0 its slot, address
 * and interrupt. */
int board_plan(struct machine *cfg, struct fail *why);

/* cfg may come from a foreign tree: its addresses, windows and lines are used only after this. */
int board_check(const struct machine *cfg, struct fail *why);
int board_open(struct board **out, struct vm *vm, struct fail *why);     /* opens every device of vm->cfg */
void board_close(struct board *b);

/* Power-on: resets every device, puts kernel, initrd and the guest's tables into RAM; *entry is for accel's reset. */
int board_boot(struct board *b, const struct boot_images *images, struct boot_entry *entry, struct fail *why);

void board_reset(struct board *b);                            /* devices only, for pulse */
/* Quiesces every device; idempotent. -1: one could not be; the others are. */
int board_pause(struct board *b, struct fail *why);
int board_resume(struct board *b, struct fail *why);
int board_post_load(struct board *b, struct fail *why);          /* after state was loaded into parts */
int board_copied(struct board *b, struct fail *why);          /* after board_post_load, the VM standing: see board_ops */
bool board_button(struct board *b);                           /* presses the power button; false: there is none */
/* Takes (own) or hands over the host locks that say who runs this VM: the OFD locks of its disks. Idempotent, taken all or
 * none. Taken before the first start. Handed over (own false) by a released VM, and by an incoming one before READY: then
 * two vmruns of this VM share what keeps everybody else out, and one of them takes the rest at START or RETAKE. */
int board_own(struct board *b, bool own, struct fail *why);

/* From vCPU threads, without machine_lock held. false: nothing there (access fault). */
bool board_mmio_read(struct board *b, uint64_t gpa, unsigned size, uint64_t *value);
bool board_mmio_write(struct board *b, uint64_t gpa, unsigned size, uint64_t value);

/* From devices, with machine_lock: the device's level line (cfg.irq; 0: it has none). Devices may share one, which is high
 * while any of them drives it. Derived state: each device drives its line anew at reset and loaded. */
void board_irq(struct device *d, bool level);

/* I/O ports are addresses from MACHINE_IO on (format/tree/machine.h): board_mmio_* with MACHINE_IO + port. */

/* SBI debug console; without machine_lock. Guest text to the console's backend. read: what is typed, 0 when none. */
void board_console_write(struct board *b, const uint8_t *data, size_t len);
size_t board_console_read(struct board *b, uint8_t *data, size_t len);

#endif
