/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_CORE_FAKE_H
#define TESTS_UNIT_CORE_FAKE_H

#include "vmrun/vm.h"

/* A VM whose accelerator, board, events and event listener are recorders. */

struct core_fake {
	struct accel accel;
	char         calls[512];       /* "pause board_pause STOP ..." since the last reset of it */
	bool         fail_pause, fail_board_pause, fail_board_resume, fail_sync;
	bool         ends_at_pause;    /* the guest powers off just before it stops */
	/* What else the guest has asked for by then; once. */
	void       (*on_process)(struct vm *vm);
	/* What the accelerator adds to a sync of the dirty log, word 0 of region 0. */
	uint64_t     own_marks;
};

extern struct core_fake core_fake;

void core_fake_open(struct vm *vm, unsigned npages);     /* zeroes *vm; memory only */
void core_fake_close(struct vm *vm);
bool core_fake_called(const char *calls);                /* exactly these since the last question */

#endif
