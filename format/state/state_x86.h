/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_STATE_STATE_X86_H
#define FORMAT_STATE_STATE_X86_H

#include "format/tree/field.h"
#include "format/limits.h"

/* State of an x86-64 vCPU and of the chips that KVM keeps itself. Numbers are the architecture's
 * (Intel SDM, AMD APM) or the chips'; what is KVM's own is named so, with the struct of
 * linux/kvm.h that it mirrors. Nodes of a vCPU stand under /cpus/cpu@N/state, those of the chips
 * under /vm/state. */

/* Node "x86-regs". */
struct x86_regs_state {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;
};

/* Node "x86-sregs". Segments in the order below; attributes as in VMX: type 0-3, S 4, DPL 5-6, P
 * 7, AVL 12, L 13, D/B 14, G 15, unusable 16. */
enum x86_seg { X86_CS, X86_DS, X86_ES, X86_FS, X86_GS, X86_SS, X86_TR, X86_LDT, X86_SEGS };
struct x86_sregs_state {
	uint64_t seg_base[X86_SEGS];
	uint32_t seg_limit[X86_SEGS], seg_selector[X86_SEGS], seg_attr[X86_SEGS];
	uint64_t gdt_base, idt_base;
	uint16_t gdt_limit, idt_limit;
	uint64_t cr0, cr2, cr3, cr4, cr8, efer, apic_base;
	bool     pdptrs_valid;
	uint64_t pdptrs[4];
};

/* Node "x86-xsave": the XSAVE area in standard form (SDM 1, 13.4), area_len bytes of it. */
#define X86_XSAVE_MAX 12288u
struct x86_xsave_state {
	uint64_t xcr0;
	uint32_t area_len;
	uint8_t  area[X86_XSAVE_MAX];
};

/* Node "x86-msrs": count of each, numbers ascending. */
struct x86_msrs_state {
	uint32_t count;
	uint32_t index[LIMIT_MSRS];
	uint64_t value[LIMIT_MSRS];
};

/* Node "x86-lapic": its register page as KVM_GET_LAPIC gives it (SDM 3, 11.4.1: a register every
 * 16 bytes). */
struct x86_lapic_state {
	uint8_t regs[1024];
};

/* Node "x86-events": struct kvm_vcpu_events, and KVM's mp_state. */
struct x86_events_state {
	/* KVM_MP_STATE_*: 0 runnable, 1 uninitialized, 2 INIT, 3 halted, 4 SIPI */
	uint32_t mp_state;
	uint32_t flags;
	bool     exception_injected, exception_pending, exception_has_error, exception_has_payload;
	uint8_t  exception_nr;
	uint32_t exception_error;
	uint64_t exception_payload;
	bool     interrupt_injected, interrupt_soft;
	uint8_t  interrupt_nr, interrupt_shadow;
	bool     nmi_injected, nmi_masked;
	uint8_t  nmi_pending;
	uint32_t sipi_vector;
	bool     smm, smm_pending, smm_inside_nmi, smm_latched_init;
	bool     triple_fault_pending;
};

/* Node "x86-debugregs". */
struct x86_debugregs_state {
	uint64_t db[4], dr6, dr7;
};

struct x86_cpu_state {
	struct x86_regs_state      regs;
	struct x86_sregs_state     sregs;
	struct x86_xsave_state     xsave;
	struct x86_msrs_state      msrs;
	struct x86_lapic_state     lapic;
	struct x86_events_state    events;
	struct x86_debugregs_state debugregs;
};

/* Node "x86-pic@0" (master), "x86-pic@1": an 8259A, struct kvm_pic_state. */
struct x86_pic_state {
	uint8_t last_irr, irr, imr, isr, priority_add, irq_base, read_reg_select, poll,
		special_mask, init_state, auto_eoi, rotate_on_auto_eoi, special_fully_nested_mode,
		init4, elcr, elcr_mask;
};

/* Node "x86-ioapic": struct kvm_ioapic_state. */
#define X86_IOAPIC_PINS 24u
struct x86_ioapic_state {
	uint64_t base;
	uint32_t ioregsel, id, irr;
	uint64_t redirect[X86_IOAPIC_PINS];
};

/* Node "x86-pit": an 8254, struct kvm_pit_state2; channel by channel. KVM's count_load_time is the
 * host's clock and means nothing elsewhere: saved is the time that had passed since when the VM
 * stopped. KVM begins every count anew at a load. */
struct x86_pit_state {
	uint32_t count[3];
	uint32_t latched_count[3];
	uint8_t  count_latched[3], status_latched[3], status[3], read_state[3], write_state[3];
	uint8_t  write_latch[3], rw_mode[3], mode[3], bcd[3], gate[3];
	uint64_t count_load_ns[3];           /* nanoseconds before the stop */
	uint32_t flags;
};

/* Node "x86-kvmclock". The real time at the save is the node "clock"'s: one for every clock of the
 * VM. */
struct x86_kvmclock_state {
	uint64_t clock_ns;                   /* what kvm-clock showed when the VM stopped */
};

struct x86_vm_state {
	struct x86_pic_state      pic[2];
	struct x86_ioapic_state   ioapic;
	struct x86_pit_state      pit;
	struct x86_kvmclock_state clock;
};

extern const struct state_table
	x86_regs_state_table, x86_sregs_state_table, x86_xsave_state_table,
	x86_msrs_state_table, x86_lapic_state_table, x86_events_state_table,
	x86_debugregs_state_table, x86_pic_state_table, x86_ioapic_state_table,
	x86_pit_state_table, x86_kvmclock_state_table;

#endif
