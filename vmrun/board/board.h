/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_BOARD_BOARD_H
#define VMRUN_BOARD_BOARD_H

#include "format/tree/machine.h"
#include "libcommon/fail.h"
#include "vmrun/devices/device.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The machine around the CPUs: addresses, devices, interrupt wiring, the guest's device tree or
 * ACPI tables, boot. A board knows of its VM what struct device_host says; nothing here takes the
 * control lock. I/O ports are addresses from MACHINE_IO on (format/tree/machine.h). */

struct boot_entry;
struct board_ops;
struct notifier;
struct plan_device;

struct board {
	const struct board_ops   *ops;
	const struct device_host *host;
	unsigned                  ndevices;
	struct device            *devices[LIMIT_DEVICES];     /* as cfg.devices, same order */
	struct device            *irqchip;     /* one of them; NULL where it is the accelerator's */
	struct notifier          *notifier;    /* NULL where every notification stops the vCPU */
	struct device            *console;     /* the first that can be one, for firmware calls */
	/* x86: the level that the accelerator was told of each pin, and whether it was told one. */
	uint32_t                  pins, pins_known;
};

/* What is booted, and again at each reset; NULL when it is not available. */
struct boot_images {
	uint8_t *kernel;
	size_t   kernel_len;
	uint8_t *initrd;      /* newc, maybe compressed; NULL for none */
	size_t   initrd_len;
};

/* A machine type, and the devices that it has of its own (plan.h). */
struct board_machine {
	enum machine_type         type;
	const struct plan_device *fixed;
};

/* A board: machine types that differ in nothing but data. */
struct board_ops {
	/* The first is that of new VMs; fixed NULL at the end. */
	const struct board_machine *machines;
	uint32_t                    cpus_max;
	/* Its interrupt controller; NULL: the accelerator's. */
	const struct device_ops    *irqchip;

	/* Is that the beginning of a kernel for this board? BOARD_KERNEL_HEAD bytes, or all of a
	 * shorter file. */
	bool (*kernel)(const uint8_t *head, size_t len);
	/* As board_plan. As board_check: what is the board's own. */
	int (*plan)(struct machine *cfg, struct fail *why);
	int (*check)(const struct machine *cfg, struct fail *why);
	/* Before a reset: could these be booted, as far as can be told without RAM? The kernel may
	 * be NULL. */
	int (*bootable)(const struct machine *cfg, const struct boot_images *images,
			struct fail *why);
	/* Puts kernel, initrd and tables into RAM, after the devices were reset. */
	int (*boot)(struct board *b, const struct boot_images *images, struct boot_entry *entry,
		    struct fail *why);
	/* A level line into the interrupt controller, all devices that share it taken together.
	 * With the machine lock. */
	void (*irq)(struct board *b, uint32_t irq, bool level);
	/* Presses the power button. With the machine lock. NULL: the machine has none. */
	void (*button)(struct board *b);
	/* See board_copied: what the machine itself tells the guest, after its devices. With the
	 * machine lock. NULL: nothing. */
	void (*copied)(struct board *b);
};

#define BOARD_KERNEL_HEAD 4096u

extern const struct board_ops *const board_list[];      /* board_list.c, NULL at the end */
const struct board_ops *board_type(enum machine_type type);     /* NULL: none in this build */
/* The board that the kernel is for, NULL when none knows it. */
const struct board_ops *board_for_kernel(const uint8_t *head, size_t len);

/* What a board adds to what the user asked for: fixed devices (interrupt controller, UART, RTC),
 * where RAM lies (the caller sets cfg->regions[0].size; a board may split it in two), and for each
 * device with slot SLOT_NONE and gpa 0 its slot, address and interrupt. */
int board_plan(struct machine *cfg, struct fail *why);

/* cfg may come from a foreign tree: its addresses, windows and interrupts are used only after this.
 * Called once, before anything is opened. */
int board_check(const struct machine *cfg, struct fail *why);
/* Opens every device of host->cfg, which board_check has accepted. *out NULL on failure. */
int board_open(struct board **out, const struct device_host *host, struct fail *why);
void board_close(struct board *b);      /* NULL allowed */

/* The first device of a type; NULL: there is none. */
struct device *board_device(const struct board *b, const struct device_ops *ops);

/* Power-on: resets every device, puts kernel, initrd and the guest's tables into RAM; *entry is for
 * the accelerator's reset. */
int board_boot(struct board *b, const struct boot_images *images, struct boot_entry *entry,
	       struct fail *why);

void board_reset(struct board *b);                           /* devices only, before a load */
/* Quiesces every device; idempotent. -1: one did not stop; the others have. */
int board_pause(struct board *b, struct fail *why);
int board_resume(struct board *b, struct fail *why);
int board_post_load(struct board *b, struct fail *why);      /* after state was loaded */
/* After board_post_load, paused, of a VM that was restored from a snapshot: tells the guest that
 * other copies of it may exist. */
int board_copied(struct board *b, struct fail *why);
bool board_button(struct board *b);                          /* false: there is no power button */
/* Takes (own) or hands over the locks on the host's disks, which say who runs this VM. Idempotent;
 * all or none are taken. Taken before the first start. Handed over by a released VM, and by an
 * incoming one before READY: then two vmruns of this VM share what keeps everybody else out, and
 * one of them takes the rest at START or RETAKE. */
int board_own(struct board *b, bool own, struct fail *why);

/* From vCPU threads, without the machine lock. False: nothing there (access fault). */
bool board_mmio_read(struct board *b, uint64_t gpa, unsigned size, uint64_t *value);
bool board_mmio_write(struct board *b, uint64_t gpa, unsigned size, uint64_t value);

/* Firmware's console (SBI debug console); without the machine lock. Write: text of the guest; waits
 * for the host to take it. Read: what was typed, 0 when there is none. */
void board_console_write(struct board *b, const uint8_t *data, size_t len);
size_t board_console_read(struct board *b, uint8_t *data, size_t len);

#endif
