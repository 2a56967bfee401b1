/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_BOARD_FAKE_H
#define TESTS_UNIT_BOARD_FAKE_H

#include "tests/unit/tap.h"
#include "vmrun/vm.h"

/* A VM with memory, clock, loop and board, and an accelerator that only notes its interrupt lines.
 * One thread: what waits for the host runs the loop until a line changes or a time is over. */

#define RAM 0x80000000u

struct fake {
	struct vm     vm;
	struct accel  accel;
	_Atomic bool  line[32];            /* of a vCPU, or a GSI */
	_Atomic unsigned changes;
	_Atomic bool  stop_on_irq;
	unsigned      quits;
	unsigned      asked;               /* set of 1 << enum vm_event */
};

/* An accelerator that signals eventfds instead of the board, when wanted is set before
 * fake_open. */
extern struct fake_notify {
	bool     wanted;
	unsigned fail_at;              /* the how manieth fails; 0: none */
	unsigned set;                  /* so many are */
	uint64_t gpa[8];
	uint32_t value[8];
	int      fd[8];
} fake_notify;

/* Set before fake_open: an accelerator without lines into vCPUs, as KVM on x86. */
extern bool fake_own_irqchip;

/* cfg: devices, hosts and ncpus wanted; the rest is filled in (RAM: 4 MiB). Exits when it can't. */
void fake_machine(struct machine *cfg);
void fake_disk(struct machine *cfg, const char *name, const char *path, bool readonly);
void fake_device(struct machine *cfg, const char *type, const char *host);
void fake_serial(struct machine *cfg, const char *name, const char *spec);
void fake_open(struct fake *f, const struct machine *cfg);
/* 0, or -1 with *why: for what must be refused. */
int fake_try(struct fake *f, const struct machine *cfg, struct fail *why);
/* The same of a machine that has its devices already, as a recorded one. */
int fake_try_planned(struct fake *f, const struct machine *cfg, struct fail *why);
void fake_close(struct fake *f);
void fake_start(struct fake *f);      /* reset and resume */
struct device *fake_find(struct fake *f, const char *type);

/* Runs the loop until a line changes, at most ms. True when one did. */
bool fake_wait_irq(struct fake *f, unsigned ms);
/* Runs the loop for that long: for what must not happen. */
void fake_run(struct fake *f, unsigned ms);

/* All ones where nothing answers. */
uint64_t rd(struct fake *f, uint64_t gpa, unsigned size);
void wr(struct fake *f, uint64_t gpa, unsigned size, uint64_t value);

/* Copies of all parts of a device: what a save and a load would carry. */
struct fake_sections {
	size_t  n;
	uint8_t data[40][1024];
};
void fake_save(struct fake *f, const char *type, struct fake_sections *p);
int fake_load(struct fake *f, const char *type, const struct fake_sections *p, struct fail *why);

#endif
