/* SPDX-License-Identifier: MIT */
#include "tests/unit/kvm_rig.h"

#include "libcommon/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void rig_need_kvm(void)
{
	struct fail why;

	if (access("/dev/kvm", F_OK)) {
		skip("guests under KVM", "no /dev/kvm");
		exit(done_testing());
	}
	if (kvm_probe(MACHINE_X86_64_1, &why)) {
		skip("guests under KVM", why.what);
		exit(done_testing());
	}
}

/* ---- the board that is not there ---- */

static bool rig_there(uint64_t gpa, unsigned size)
{
	return (gpa >= RIG_MMIO && gpa + size <= RIG_MMIO + 0x1000) ||
	       (gpa >= MACHINE_IO + RIG_PORTS && gpa + size <= MACHINE_IO + RIG_PORTS + 0x100);
}

static void rig_note(struct rig *g, uint64_t gpa, unsigned size, uint64_t value, bool is_write)
{
	uint32_t i = atomic_fetch_add(&g->n, 1);

	if (i < sizeof(g->log) / sizeof(g->log[0]))
		g->log[i] = (struct rig_access){ gpa, value, size, is_write };
}

bool board_mmio_read(struct board *b, uint64_t gpa, unsigned size, uint64_t *value)
{
	struct rig *g = (struct rig *)(void *)b;

	rig_note(g, gpa, size, 0, false);
	if (!rig_there(gpa, size))
		return false;
	*value = 0x8877665544332211;
	return true;
}

bool board_mmio_write(struct board *b, uint64_t gpa, unsigned size, uint64_t value)
{
	struct rig *g = (struct rig *)(void *)b;

	rig_note(g, gpa, size, value, true);
	if (atomic_load(&g->event_at) && gpa == MACHINE_IO + atomic_load(&g->event_at))
		vm_event(&g->vm, VM_EVENT_RESET);
	if (atomic_load(&g->block) && gpa == MACHINE_IO + atomic_load(&g->block)) {
		pthread_mutex_lock(&g->vm.machine_lock);
		pthread_mutex_unlock(&g->vm.machine_lock);
	}
	if (g->on_write)
		g->on_write(g, gpa);
	return rig_there(gpa, size);
}

void vm_event(struct vm *vm, enum vm_event e)
{
	atomic_fetch_or(&vm->events, 1u << e);
}

/* ---- opened and closed ---- */

static void rig_bail(const struct fail *why)
{
	char text[400];

	printf("Bail out! %s\n", fail_text(why, text, sizeof(text)));
	exit(1);
}

void rig_plan(struct rig *g, uint32_t ncpus, uint64_t ram)
{
	const struct accel_want want = { 0 };
	struct fail             why;

	memset(g, 0, sizeof(*g));
	pthread_mutex_init(&g->vm.machine_lock, NULL);
	g->vm.board          = (struct board *)(void *)g;
	g->vm.event_fd       = -1;
	g->vm.cfg.type       = MACHINE_X86_64_1;
	g->vm.cfg.ncpus      = ncpus;
	g->vm.cfg.nregions   = 1;
	g->vm.cfg.regions[0] = (struct machine_region){
		.name = "ram", .size = ram, .page_size = GUEST_PAGE,
	};
	if (kvm_plan(&g->vm.cfg, &want, &why))
		rig_bail(&why);
}

static void rig_tables(struct rig *g)
{
	uint64_t *t = rig_host(g, RIG_TABLES), *gdt = rig_host(g, RIG_GDT);

	t[0] = RIG_TABLES + 0x1000 + 3;
	for (uint64_t i = 0; i < 4; i++)
		t[512 + i] = RIG_TABLES + 0x2000 + i * 0x1000 + 3;
	for (uint64_t i = 0; i < 4 * 512; i++)
		t[1024 + i] = i << 21 | 0xe3;      /* 2 MiB, present, writable, accessed, dirty */
	gdt[2] = 0x00af9b000000ffff;
	gdt[3] = 0x00cf93000000ffff;
}

int rig_memory(struct rig *g, struct fail *why)
{
	if (memory_open(&g->vm.memory, &g->vm.cfg, why))
		return -1;
	clock_open(&g->vm.clock);
	rig_tables(g);
	return 0;
}

int rig_open(struct rig *g, struct fail *why)
{
	if (accel_kvm_ops.open(&g->vm.accel, &g->vm, why))
		return -1;
	g->k = (struct kvm *)(void *)g->vm.accel;
	return 0;
}

void rig_must_open(struct rig *g, uint32_t ncpus)
{
	struct fail why;

	rig_plan(g, ncpus, RIG_BYTES);
	if (rig_memory(g, &why) || rig_open(g, &why))
		rig_bail(&why);
	rig_reset(g);
}

void rig_close(struct rig *g)
{
	accel_kvm_ops.close(g->vm.accel);
	g->vm.accel = NULL;
	g->k        = NULL;
	memory_close(&g->vm.memory);
}

/* ---- guests ---- */

void rig_reset(struct rig *g)
{
	const struct boot_entry entry = {
		.how = BOOT_X86_64, .pc = RIG_CODE, .cr3 = RIG_TABLES, .gdt = RIG_GDT,
		.gdt_limit = 0x1f,
	};
	struct fail             why;

	memset(rig_host(g, RIG_DATA), 0, 0x11000);      /* DATA to DONE */
	atomic_store(&g->n, 0);
	atomic_store(&g->vm.events, 0);
	g->vm.panic_text[0] = '\0';
	if (accel_kvm_ops.reset(g->vm.accel, &entry, &why))
		rig_bail(&why);
}

void rig_load(struct rig *g, uint32_t cpu, const uint8_t *code, const uint8_t *end, uint64_t rdi,
	      uint64_t rsi, uint64_t rdx)
{
	struct kvm_vcpu *v = &g->k->vcpus[cpu];

	memcpy(rig_host(g, RIG_CODE + cpu * 0x1000), code, (size_t)(end - code));
	v->s.sregs           = g->k->vcpus[0].s.sregs;
	v->s.sregs.apic_base = v->power_on->sregs.apic_base;
	v->s.events.mp_state = KVM_MP_STATE_RUNNABLE;
	v->s.regs            = (struct x86_regs_state){
		.rip    = RIG_CODE + cpu * 0x1000,
		.rsp    = RIG_STACK + 0x1000 * (cpu + 1),
		.rflags = 2,
		.rdi    = rdi,
		.rsi    = rsi,
		.rdx    = rdx,
	};
}

void rig_post_load(struct rig *g)
{
	struct fail why;

	if (accel_kvm_ops.post_load(g->vm.accel, CLOCK_FREEZE, &why))
		rig_bail(&why);
}

void rig_pause(struct rig *g)
{
	struct fail why;

	if (accel_kvm_ops.pause(g->vm.accel, &why))
		rig_bail(&why);
}

void rig_regs(struct rig *g, uint32_t cpu, struct kvm_regs *regs)
{
	struct fail why;

	if (kvm_call(g->k->vcpus[cpu].fd, KVM_GET_REGS, regs, "KVM_GET_REGS", &why) < 0)
		rig_bail(&why);
}

void *rig_host(struct rig *g, uint64_t gpa)
{
	struct region *r = memory_region(&g->vm.memory, gpa, 1);

	return r ? r->host + (gpa - r->cfg.gpa) : NULL;
}

uint64_t rig_get(struct rig *g, uint64_t gpa)
{
	return __atomic_load_n((uint64_t *)rig_host(g, gpa), __ATOMIC_SEQ_CST);
}

void rig_nap(unsigned us)
{
	struct timespec ts = { us / 1000000, (long)(us % 1000000) * 1000 };

	nanosleep(&ts, NULL);
}

static uint64_t rig_deadline(void) { return io_now_ns() + 20000000000u; }

bool rig_wait(struct rig *g, uint64_t gpa, uint64_t value)
{
	const uint64_t until = rig_deadline();

	while (rig_get(g, gpa) != value && !atomic_load(&g->vm.events) && io_now_ns() < until)
		rig_nap(100);
	if (rig_get(g, gpa) != value)
		note("0x%llx holds 0x%llx; %s", (unsigned long long)gpa,
		     (unsigned long long)rig_get(g, gpa), g->vm.panic_text);
	return rig_get(g, gpa) == value;
}

bool rig_wait_event(struct rig *g)
{
	const uint64_t until = rig_deadline();

	while (!atomic_load(&g->vm.events) && io_now_ns() < until)
		rig_nap(100);
	return atomic_load(&g->vm.events) != 0;
}
