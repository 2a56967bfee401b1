/* SPDX-License-Identifier: MIT */
#include "tests/unit/core_fake.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct core_fake core_fake;

static void note(const char *call)
{
	size_t at = strlen(core_fake.calls);

	snprintf(core_fake.calls + at, sizeof(core_fake.calls) - at, "%s%s", at ? " " : "", call);
}

static void fake_resume(struct accel *a)
{
	(void)a;
	note("resume");
}

static int fake_pause(struct accel *a, struct fail *why)
{
	(void)a;
	note("pause");
	return core_fake.fail_pause
	       ? fail_set(why, FAIL_SYSTEM, "vCPU 1: timed out waiting for it to stop") : 0;
}

static int fake_sync_dirty_log(struct accel *a, uint64_t *const taken[], struct fail *why)
{
	(void)a;
	if (core_fake.fail_sync)
		return fail_set(why, FAIL_SYSTEM, "no log");
	taken[0][0] |= core_fake.own_marks;
	return 0;
}

static const struct accel_ops fake_ops = { .name = "fake", .resume = fake_resume,
					   .pause = fake_pause,
					   .sync_dirty_log = fake_sync_dirty_log };

int board_pause(struct board *b, struct fail *why)
{
	(void)b;
	note("board_pause");
	return core_fake.fail_board_pause ? fail_set(why, FAIL_SYSTEM, "disk does not settle") : 0;
}

int board_resume(struct board *b, struct fail *why)
{
	(void)b;
	note("board_resume");
	return core_fake.fail_board_resume ? fail_set(why, FAIL_SYSTEM, "queue is broken") : 0;
}

void vm_send_event(struct vm *vm, const char *name, json_t *data)
{
	(void)vm;
	note(name);
	json_decref(data);
}

void vm_events_void(struct vm *vm)
{
	vm->events = 0;
}

void vm_process_events(struct vm *vm)
{
	if (core_fake.ends_at_pause) {
		vm->run.ended    = true;
		vm->run.ended_as = RUN_SHUTDOWN;
	}
	void (*on_process)(struct vm *) = core_fake.on_process;

	core_fake.on_process = NULL;
	if (on_process)
		on_process(vm);
}

void core_fake_open(struct vm *vm, unsigned npages)
{
	struct machine *cfg = calloc(1, sizeof(*cfg));
	struct fail     why;

	core_fake = (struct core_fake){ .accel = { .ops = &fake_ops } };
	memset(vm, 0, sizeof(*vm));
	vm->accel = &core_fake.accel;
	if (!cfg)
		abort();
	cfg->nregions   = 2;
	cfg->regions[0] = (struct machine_region){ .name = "ram", .gpa = 0x80000000,
						   .size = (uint64_t)npages * GUEST_PAGE };
	cfg->regions[1] = (struct machine_region){ .id = 1, .kind = REGION_VRAM, .name = "vram",
						   .gpa = 0x40000000, .size = 8 * GUEST_PAGE };
	if (memory_open(&vm->memory, cfg, &why))
		abort();
	free(cfg);
	vm->dirty.memory = &vm->memory;
	vm->dirty.accel  = vm->accel;
	clock_open(&vm->clock);
}

void core_fake_close(struct vm *vm)
{
	memory_close(&vm->memory);
}

bool core_fake_called(const char *calls)
{
	bool same = !strcmp(core_fake.calls, calls);

	if (!same)
		printf("# called: %s\n", core_fake.calls);
	core_fake.calls[0] = '\0';
	return same;
}
