/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/kvm/kvm.h"

#include "vmrun/vm.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Why KVM_RUN returned. Where no device is, reads give all ones and writes are dropped, as on a
 * PC's bus. */

void kvm_vcpu_dead(struct kvm_vcpu *v, const char *fmt, ...)
{
	struct vm *vm = v->k->a.vm;
	char       text[sizeof(vm->panic_text) - 20];
	va_list    ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&v->k->lock);
	v->waits = true;
	if (!vm->panic_text[0])      /* of several vCPUs, the first one's is the cause */
		snprintf(vm->panic_text, sizeof(vm->panic_text), "vCPU %" PRIu32 ": %s", v->id,
			 text);
	pthread_mutex_unlock(&v->k->lock);
	vm_event(vm, VM_EVENT_DEAD);
}

/* ---- ports and memory without RAM ---- */

static uint64_t exit_get(const uint8_t *p, unsigned len)
{
	uint64_t value = 0;

	memcpy(&value, p, len);
	return value;
}

/* Devices have accesses of 1, 2, 4 and 8 bytes; of an access that crosses a page, KVM passes each
 * page's bytes, which can be of any length. */
static unsigned exit_piece(unsigned len) { return len >= 8 ? 8 : len >= 4 ? 4 : len >= 2 ? 2 : 1; }

/* The vCPU runs nothing until it is reset or loaded. */
void kvm_vcpu_wait(struct kvm_vcpu *v)
{
	pthread_mutex_lock(&v->k->lock);
	v->waits = true;
	pthread_mutex_unlock(&v->k->lock);
}

static void exit_access(struct kvm_vcpu *v, uint64_t gpa, uint8_t *data, unsigned len,
			bool is_write)
{
	struct board *b = v->k->a.vm->board;

	/* What the guest does once its memory is lost reaches no device. */
	if (memory_lost_now(&v->k->a.vm->memory))
		b = NULL;
	for (unsigned at = 0, n; at < len; at += n) {
		uint64_t value = UINT64_MAX;

		n = exit_piece(len - at);
		if (is_write) {
			if (b)
				board_mmio_write(b, gpa + at, n, exit_get(data + at, n));
			continue;
		}
		if (b && !board_mmio_read(b, gpa + at, n, &value))
			value = UINT64_MAX;
		memcpy(data + at, &value, n);
	}
}

static void exit_io(struct kvm_vcpu *v)
{
	const struct kvm_run *run  = v->run;
	uint8_t              *data = (uint8_t *)v->run + run->io.data_offset;

	atomic_fetch_add_explicit(&v->n_pio, 1, memory_order_relaxed);
	/* More than one for rep ins and rep outs. */
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size)
		exit_access(v, MACHINE_IO + run->io.port, data, run->io.size,
			    run->io.direction == KVM_EXIT_IO_OUT);
}

/* KVM's emulator takes RAM that it cannot access for a device. Writes to a ROM are none. */
static bool exit_lost(struct kvm_vcpu *v)
{
	struct memory       *m = &v->k->a.vm->memory;
	const struct region *r = m->file ? memory_region(m, v->run->mmio.phys_addr, 1) : NULL;

	return r && !(r->cfg.kind == REGION_ROM && v->run->mmio.is_write);
}

static void exit_mmio(struct kvm_vcpu *v)
{
	const unsigned max = sizeof(v->run->mmio.data);
	const unsigned len = v->run->mmio.len;

	if (exit_lost(v))
		memory_lose(&v->k->a.vm->memory);
	atomic_fetch_add_explicit(&v->n_mmio, 1, memory_order_relaxed);
	exit_access(v, v->run->mmio.phys_addr, v->run->mmio.data, len < max ? len : max,
		    v->run->mmio.is_write);
}

/* The access may have requested the VM's end or reset, as every event does that is not in
 * VM_EVENTS_TOLD: then the guest must not run on. */
static bool exit_goes_on(struct kvm_vcpu *v)
{
	if (!(atomic_load(&v->k->a.vm->events) & ~VM_EVENTS_TOLD) &&
	    !memory_lost(&v->k->a.vm->memory))
		return true;
	kvm_vcpu_wait(v);
	return false;
}

/* ---- the end ---- */

static const char *const exit_names[] = {
	[KVM_EXIT_UNKNOWN]         = "KVM_EXIT_UNKNOWN",
	[KVM_EXIT_EXCEPTION]       = "KVM_EXIT_EXCEPTION",
	[KVM_EXIT_HYPERCALL]       = "KVM_EXIT_HYPERCALL",
	[KVM_EXIT_DEBUG]           = "KVM_EXIT_DEBUG",
	[KVM_EXIT_HLT]             = "KVM_EXIT_HLT",
	[KVM_EXIT_IRQ_WINDOW_OPEN] = "KVM_EXIT_IRQ_WINDOW_OPEN",
	[KVM_EXIT_FAIL_ENTRY]      = "KVM_EXIT_FAIL_ENTRY",
	[KVM_EXIT_SET_TPR]         = "KVM_EXIT_SET_TPR",
	[KVM_EXIT_TPR_ACCESS]      = "KVM_EXIT_TPR_ACCESS",
	[KVM_EXIT_NMI]             = "KVM_EXIT_NMI",
	[KVM_EXIT_INTERNAL_ERROR]  = "KVM_EXIT_INTERNAL_ERROR",
	[KVM_EXIT_SYSTEM_EVENT]    = "KVM_EXIT_SYSTEM_EVENT",
	[KVM_EXIT_IOAPIC_EOI]      = "KVM_EXIT_IOAPIC_EOI",
	[KVM_EXIT_HYPERV]          = "KVM_EXIT_HYPERV",
	[KVM_EXIT_X86_RDMSR]       = "KVM_EXIT_X86_RDMSR",
	[KVM_EXIT_X86_WRMSR]       = "KVM_EXIT_X86_WRMSR",
	[KVM_EXIT_X86_BUS_LOCK]    = "KVM_EXIT_X86_BUS_LOCK",
};

/* For a message only: 0 when it cannot be read. */
static uint64_t exit_rip(struct kvm_vcpu *v)
{
	struct kvm_regs regs;

	return kvm_call(v->fd, KVM_GET_REGS, &regs, NULL, NULL) < 0 ? 0 : regs.rip;
}

/* "KVM_EXIT_INTERNAL_ERROR 1 at 0xffffffff81000000: cc 90": the bytes of an instruction that KVM
 * could not emulate, when it has them. */
static void exit_internal(struct kvm_vcpu *v)
{
	const struct kvm_run *run       = v->run;
	const uint8_t        *insn      = run->emulation_failure.insn_bytes;
	const bool            emulation = run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION;
	const uint64_t        has_insn  = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
	char                  bytes[3 * 15 + 2] = "";
	size_t                at = 0, len = 0;

	if (emulation && run->emulation_failure.ndata >= 3 &&
	    run->emulation_failure.flags & has_insn)
		len = run->emulation_failure.insn_size;
	for (size_t i = 0; i < len && i < sizeof(run->emulation_failure.insn_bytes); i++)
		at += (size_t)snprintf(bytes + at, sizeof(bytes) - at, "%s%02x", i ? " " : ": ",
				       insn[i]);
	kvm_vcpu_dead(v, "KVM_EXIT_INTERNAL_ERROR %u%s at 0x%" PRIx64 "%s", run->internal.suberror,
		      emulation ? " (emulation)" : "", exit_rip(v), bytes);
}

static void exit_unknown(struct kvm_vcpu *v)
{
	const uint32_t reason = v->run->exit_reason;
	const char    *name   = reason < sizeof(exit_names) / sizeof(exit_names[0])
				? exit_names[reason] : NULL;

	if (reason == KVM_EXIT_FAIL_ENTRY)
		kvm_vcpu_dead(v, "KVM_EXIT_FAIL_ENTRY 0x%llx at 0x%" PRIx64,
			      (unsigned long long)v->run->fail_entry.hardware_entry_failure_reason,
			      exit_rip(v));
	else
		kvm_vcpu_dead(v, "%s (exit %" PRIu32 ") at 0x%" PRIx64,
			      name ? name : "unknown exit", reason, exit_rip(v));
}

static void exit_system(struct kvm_vcpu *v)
{
	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_event(v->k->a.vm, VM_EVENT_SHUTDOWN);
		break;
	case KVM_SYSTEM_EVENT_RESET:
		vm_event(v->k->a.vm, VM_EVENT_RESET);
		break;
	case KVM_SYSTEM_EVENT_CRASH:
		vm_event(v->k->a.vm, VM_EVENT_PANIC);
		break;
	default:
		kvm_vcpu_dead(v, "KVM_EXIT_SYSTEM_EVENT %" PRIu32 " at 0x%" PRIx64,
			      v->run->system_event.type, exit_rip(v));
		return;
	}
	kvm_vcpu_wait(v);
}

bool kvm_exit(struct kvm_vcpu *v)
{
	atomic_fetch_add_explicit(&v->n_exits, 1, memory_order_relaxed);
	switch (v->run->exit_reason) {
	case KVM_EXIT_IO:
		exit_io(v);
		return exit_goes_on(v);
	case KVM_EXIT_MMIO:
		exit_mmio(v);
		return exit_goes_on(v);
	case KVM_EXIT_INTR:
		return true;
	case KVM_EXIT_SHUTDOWN:
		kvm_vcpu_dead(v, "triple fault at 0x%" PRIx64, exit_rip(v));
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		exit_internal(v);
		return false;
	case KVM_EXIT_SYSTEM_EVENT:
		exit_system(v);
		return false;
	default:
		exit_unknown(v);
		return false;
	}
}
