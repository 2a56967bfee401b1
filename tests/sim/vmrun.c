/* SPDX-License-Identifier: MIT */
#include "tests/sim/plant.h"
#include "tests/sim/world.h"

#include "format/state/state_hart.h"
#include "libcommon/bytes.h"
#include "libcommon/io.h"
#include "vmrun/control/control_server.h"
#include "vmrun/control/server.h"
#include "vmrun/blk_all.h"
#include "vmrun/boot/boot_images.h"
#include "vmrun/boot/set_boot.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A vmrun: vm.c, vm_runstate.c, the control server, leases, hand-over and records as they are, over
 * an accelerator and a board that do nothing but remember whether the guest runs. The guest writes
 * a number into its first page each time it stops: whoever goes on from it must have the newest. */

#define GUEST_RAM  (4 * 4096u)
#define GUEST_BASE 0x80000000u

struct fake_accel {
	struct accel      a;
	struct hart_state hart;
	struct instance  *i;
};

struct instance *sim_instances;

static uint64_t *guest_number(struct instance *i)
{
	return (uint64_t *)(void *)i->vm->memory.regions[0].host;
}

bool instance_newest(const struct instance *i)
{
	return i->running || (i->vm && i->loaded &&
			      *guest_number((struct instance *)(uintptr_t)i) == i->guest->newest);
}

void sim_instances_reset(void)
{
	sim_instances = NULL;
}

static void fake_resume(struct accel *a)
{
	struct instance *i = ((struct fake_accel *)a)->i;

	if (i->running)
		return;
	for (struct instance *o = sim_instances; o; o = o->next)
		if (o != i && o->guest == i->guest && o->running)
			sim_broken("%s runs twice: on %s (pid %d) and on %s (pid %d)",
				   i->guest->name, o->proc->host->name, (int)o->proc->pid,
				   i->proc->host->name, (int)i->proc->pid);
	if (*guest_number(i) != i->guest->newest)
		sim_broken("%s runs on %s from an old state: %llu, "
			   "and it has run on elsewhere until %llu",
			   i->guest->name, i->proc->host->name,
			   (unsigned long long)*guest_number(i),
			   (unsigned long long)i->guest->newest);
	i->running = i->ran = true;
	sim_trace("== %s runs", i->guest->name);
	world_runs(i);
}

static int fake_pause(struct accel *a, struct fail *why)
{
	struct instance *i = ((struct fake_accel *)a)->i;

	(void)why;
	if (!i->running)
		return 0;
	i->running      = false;
	*guest_number(i) = ++i->guest->newest;
	region_mark(&i->vm->memory.regions[0], 0, 1);
	sim_trace("== %s stands", i->guest->name);
	return 0;
}

static int fake_open(struct accel **out, struct vm *vm, struct fail *why)
{
	struct fake_accel *f = calloc(1, sizeof(*f));

	(void)why;
	if (!f)
		abort();
	f->a.ops = &sim_accel_ops;
	f->a.vm  = vm;
	f->i     = sim_proc()->tag;
	f->i->vm = vm;
	*out     = &f->a;
	return 0;
}

static int fake_reset(struct accel *a, const struct boot_entry *entry, struct fail *why)
{
	(void)a;
	(void)entry;
	(void)why;
	return 0;
}

static int fake_sync_dirty_log(struct accel *a, uint64_t *const taken[], struct fail *why)
{
	struct instance *i = ((struct fake_accel *)a)->i;

	(void)why;
	if (i->running)
		taken[0][0] |= 2;      /* its second page is always being written */
	return 0;
}

static size_t fake_sections(struct accel *a, uint32_t cpu, struct state_section *out, size_t max)
{
	(void)cpu;
	(void)max;
	out[0] = (struct state_section){ .node = "hart", .table = &hart_state_table,
					 .s = &((struct fake_accel *)a)->hart };
	return 1;
}

static int fake_post_load(struct accel *a, enum clock_policy policy, struct fail *why)
{
	struct instance *i = ((struct fake_accel *)a)->i;

	(void)policy;
	(void)why;
	i->loaded = true;
	return 0;
}

static void fake_throttle(struct accel *a, unsigned percent)
{
	(void)a;
	(void)percent;
}

static void fake_close(struct accel *a)
{
	struct fake_accel *f = (struct fake_accel *)a;

	instance_ends(f->i);
	free(f);
}

const struct accel_ops sim_accel_ops = {
	.name = "sim", .open = fake_open, .reset = fake_reset, .resume = fake_resume,
	.pause = fake_pause, .sync_dirty_log = fake_sync_dirty_log, .sections = fake_sections,
	.post_load = fake_post_load, .throttle = fake_throttle, .close = fake_close,
};

/* ---- the board ---- */

int board_open(struct board **out, const struct device_host *host, struct fail *why)
{
	(void)why;
	*out = calloc(1, sizeof(**out));
	if (!*out)
		abort();
	(*out)->host = host;
	return 0;
}

void board_close(struct board *b)
{
	free(b);
}

int board_boot(struct board *b, const struct boot_images *images, struct boot_entry *entry,
	       struct fail *why)
{
	(void)b;
	(void)images;
	(void)why;
	memset(entry, 0, sizeof(*entry));
	return 0;
}

void board_reset(struct board *b)
{
	(void)b;
}

int board_pause(struct board *b, struct fail *why)
{
	(void)b;
	(void)why;
	sim_step("board_pause");
	return 0;
}

int board_resume(struct board *b, struct fail *why)
{
	struct instance *i = sim_proc()->tag;

	(void)b;
	sim_step("board_resume");
	/* One that has run here and can't go on is a VM that has crashed: that is not our
	 * matter. */
	if (i->incoming && !i->ran && sim_odd_board && sim_chance(sim_odd_board)) {
		i->guest->unstartable_at = i->guest->newest;
		return fail_set(why, FAIL_SYSTEM, "a device does not resume");
	}
	return 0;
}

int board_post_load(struct board *b, struct fail *why)
{
	(void)b;
	(void)why;
	return 0;
}

bool board_button(struct board *b)
{
	(void)b;
	return false;
}

int board_own(struct board *b, bool own, struct fail *why)
{
	struct instance *i = sim_proc()->tag;

	(void)b;
	sim_step("board_own");
	if (!own) {
		if (i->guest->disk == i)
			i->guest->disk = NULL;
		return 0;
	}
	if (i->guest->disk && i->guest->disk != i)
		return fail_set(why, FAIL_REFUSED, "disk already in use by pid %d",
				(int)i->guest->disk->proc->pid);
	if (i->incoming && !i->ran && sim_odd_board && sim_chance(sim_odd_board)) {
		i->guest->unstartable_at = i->guest->newest;
		return fail_set(why, FAIL_REFUSED, "the disk has another size here");
	}
	i->guest->disk = i;
	return 0;
}

int blk_fingerprint(struct vm *vm, struct fail *why)
{
	(void)vm;
	(void)why;
	sim_step("fingerprint");
	return 0;
}

int blk_sizes(struct vm *vm, struct fail *why)
{
	return blk_fingerprint(vm, why);
}

void blk_sync_start(struct vm *vm, bool sample)
{
	(void)vm;
	(void)sample;
}

void blk_hold(struct vm *vm, bool hold)
{
	(void)vm;
	(void)hold;
}

/* Disks take their time, now and then long. */
bool blk_wait(struct vm *vm, enum blk_wait what, struct pollfd *others, unsigned n,
	      uint64_t until_ns)
{
	uint64_t takes = sim_chance(30) ? sim_below(8 * SIM_SECOND) : sim_below(5 * SIM_MS);
	bool     late  = until_ns && sim_now + takes > until_ns;

	(void)vm;
	(void)what;
	if (late)
		takes = until_ns > sim_now ? until_ns - sim_now : 0;
	return poll(others, n, (int)(takes / SIM_MS) + 1) == 0 && !late;
}

int blk_synced(struct vm *vm, struct fail *why)
{
	return blk_fingerprint(vm, why);
}

int blk_quiet(struct vm *vm, struct fail *why)
{
	return blk_fingerprint(vm, why);
}

int blk_sampled(struct vm *vm, struct fail *why)
{
	return blk_fingerprint(vm, why);
}

void blk_forget_samples(struct vm *vm)
{
	(void)vm;
}

/* No device is one: the VM has no disks that could be full. */
struct device *blk_next_disk(struct vm *vm, unsigned *i)
{
	(void)vm;
	(void)i;
	return NULL;
}

int board_check(const struct machine *cfg, struct fail *why)
{
	(void)cfg;
	(void)why;
	return 0;
}

int images_need(struct vm *vm, struct fail *why)
{
	(void)vm;
	(void)why;
	return 0;
}

/* No machine here has a kernel whose digest is known, so none is asked for. */
int images_give(struct vm *vm, const char *name, int *fd, size_t *len, struct fail *why)
{
	(void)vm;
	(void)fd;
	(void)len;
	return fail_set(why, FAIL_REFUSED, "%s: not at hand", name);
}

int images_take(struct vm *vm, const char *name, int fd, size_t len, struct fail *why)
{
	(void)vm;
	(void)fd;
	(void)len;
	return fail_set(why, FAIL_REFUSED, "%s: there is none", name);
}

unsigned images_lacking(const struct vm *vm)
{
	(void)vm;
	return 0;
}

void images_tell(const struct vm *vm)
{
	(void)vm;
}

int set_boot(struct vm *vm, const struct boot_given *given, struct fail *why)
{
	(void)vm;
	(void)given;
	return fail_set(why, FAIL_REFUSED, "set-boot: not in the simulation");
}

int vm_pulse(struct vm *vm, struct fail *why)
{
	(void)vm;
	(void)why;
	return 0;
}

/* A tree is made in a buffer of the largest size that there may be, which libfdt clears: here a
 * small one will do. */
int __real_machine_write(const struct machine *m, void *buf, size_t capacity, size_t *len,
			 struct fail *why);
int __wrap_machine_write(const struct machine *m, void *buf, size_t capacity, size_t *len,
			 struct fail *why)
{
	return __real_machine_write(m, buf, capacity < 32768 ? capacity : 32768, len, why);
}

/* ---- the process ---- */

void sim_machine(struct machine *m, const char *name, const struct uuid *uuid)
{
	memset(m, 0, sizeof(*m));
	m->type        = MACHINE_RISCV64_1;
	m->uuid        = *uuid;
	m->ncpus       = 1;
	m->timebase_hz = 10000000;
	m->on_reboot   = REBOOT_RESET;
	m->nregions    = 1;
	m->regions[0]  = (struct machine_region){ .id = 0, .kind = REGION_RAM, .name = "ram",
						  .gpa = GUEST_BASE, .size = GUEST_RAM,
						  .page_size = 4096 };
	snprintf(m->name, sizeof(m->name), "%s", name);
	snprintf(m->cpu_model, sizeof(m->cpu_model), "rv64imafdc_zicntr_zicsr_zifencei_sstc");
}

static int vmrun_tree(struct machine *m, struct fail *why)
{
	uint8_t  head[8], *tree;
	size_t   len;
	int      rc;

	if (io_read(0, head, sizeof(head), "tree", why))
		return -1;
	len = get_be32(head + 4);
	if (len < sizeof(head) || len > LIMIT_TREE_BYTES)
		return fail_set(why, FAIL_CORRUPT, "invalid VM tree size: %zu bytes", len);
	tree = malloc(len);
	if (!tree)
		abort();
	memcpy(tree, head, sizeof(head));
	rc = io_read(0, tree + sizeof(head), len - sizeof(head), "tree", why);
	if (rc == 0)
		rc = machine_read(m, tree, len, why);
	free(tree);
	return rc;
}

static const char *vmrun_option(const struct vmrun_args *a, const char *name)
{
	const char *v = NULL;
	size_t      n = strlen(name);

	for (int i = 0; a->argv[i]; i++) {
		if (!strcmp(a->argv[i], name) && a->argv[i + 1])
			v = a->argv[i + 1];
		else if (!strncmp(a->argv[i], name, n) && a->argv[i][n] == '=')
			v = a->argv[i] + n + 1;
	}
	return v;
}

static int vmrun_words(const struct fail *why)
{
	char text[400], line[420];

	fail_text(why, text, sizeof(text));
	int n = snprintf(line, sizeof(line), "vmrun: %s\n", text);

	sim_trace("> %s", text);
	if (write(2, line, (size_t)n) < 0)
		return fail_status(why->kind);
	return fail_status(why->kind);
}

/* As vmrun's setup.c: may it start, the machine, the control server, the disks. */
static int vmrun_open(struct vm **out, const struct vmrun_args *a, const struct instance *i,
		      const struct machine *m, struct loop *loop, struct fail *why)
{
	const struct accel_want want = { 0 };

	if (!i->incoming && records_may_start(&m->uuid, m->name, why))
		return -1;
	if (i->incoming
	    ? vm_open_incoming(out, m, &sim_accel_ops, &want, loop, why)
	    : vm_open(out, m, &sim_accel_ops, &want, loop, why))
		return -1;
	if (control_server_open(&(*out)->control, *out, vmrun_option(a, "--control"),
				plant("claim") ? NULL : vmrun_option(a, "--token"), why))
		return -1;
	return i->incoming ? 0 : board_own((*out)->board, true, why);
}

static int vmrun_life(const struct vmrun_args *a, struct instance *i, struct machine *m,
		      struct fail *why)
{
	struct loop *loop = NULL;
	struct vm   *vm   = NULL;
	int          rc   = loop_open(&loop, why);

	if (rc == 0)
		rc = vmrun_open(&vm, a, i, m, loop, why);
	/* As vm_incoming() does: the state that is loaded goes with it. */
	if (rc == 0 && i->incoming) {
		vm->recorded = malloc(sizeof(*m));
		if (!vm->recorded)
			abort();
		*vm->recorded = *m;
	}
	if (rc == 0) {
		vm_signals_block();
		pthread_mutex_lock(&vm->control_lock);
		if (!i->incoming) {
			*guest_number(i) = i->guest->newest;
			rc = vm_start(vm, why);
		}
		pthread_mutex_unlock(&vm->control_lock);
	}
	if (rc == 0)
		rc = vm_run(vm, why);
	if (vm && rc >= 0)
		*why = vm->end_why;
	if (vm)
		control_server_close(vm->control);
	vm_close(vm);
	loop_close(loop);
	return rc;
}

int sim_vmrun(void *args)
{
	struct vmrun_args *a   = args;
	struct machine    *m   = calloc(1, sizeof(*m));
	struct instance   *i   = calloc(1, sizeof(*i));
	struct fail        why = { 0 };
	int                rc;

	if (!m || !i)
		abort();
	signal(SIGPIPE, SIG_IGN);
	/* It takes its time: a service manager, a cold disk. */
	sim_sleep(sim_chance(4) ? sim_below(3 * SIM_SECOND) : sim_below(50 * SIM_MS));
	i->proc     = sim_proc();
	i->incoming = vmrun_option(a, "--incoming") != NULL;
	sim_proc()->tag = i;
	if (i->incoming) {
		if (vmrun_tree(m, &why))
			return vmrun_words(&why);
		i->guest = guest_find(&m->uuid);
		if (!i->guest) {
			sim_broken("a vmrun of a VM that nobody has made");
			return 1;
		}
	} else {
		i->guest  = guest_named(vmrun_option(a, "--name"));
		i->loaded = true;
		sim_machine(m, i->guest->name, &i->guest->uuid);
	}
	snprintf(sim_proc()->name, sizeof(sim_proc()->name), "vmrun %s", i->guest->name);
	i->next       = sim_instances;
	sim_instances = i;
	rc = vmrun_life(a, i, m, &why);
	if (rc < 0 || why.kind != FAIL_NONE) {
		int status = vmrun_words(&why);

		return rc < 0 ? status : rc;
	}
	return rc;
}
