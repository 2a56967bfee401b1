/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/kvm/kvm.h"

#include "libcommon/bytes.h"
#include "vmrun/vm.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A vCPU's state: fetch, put, reset.
 *
 * Fetch: none of the ioctls writes guest memory by itself, but each loads the vCPU, and when the
 * vCPU is put back KVM may set the guest's "preempted" byte of KVM_STEAL_TIME. So a last dirty log
 * sync must follow sync_state. KVM_GET_MP_STATE comes first: it processes pending INITs and SIPIs,
 * which changes registers and the local APIC.
 *
 * Put: sregs before XSAVE and MSRs, because CR4, EFER and the APIC's mode decide what those take;
 * MSRs before the local APIC, whose timer counts by the TSC; IA32_TSC_DEADLINE after it, because
 * KVM drops it while the timer is in another mode; mp_state last. */

/* Current count of the timer (Intel SDM 3A, "Local APIC Register Address Map"). */
#define LAPIC_TMCCT 0x390u

static int kvm_cpu_ioctl(const struct kvm_vcpu *v, unsigned long request, void *arg,
			 const char *name, struct fail *why)
{
	if (kvm_call(v->fd, request, arg, name, why) < 0)
		return fail_prefix(why, "vCPU %" PRIu32 ": ", v->id);
	return 0;
}
/* A macro only to get the request's name for the message. */
#define CPU_CALL(v, request, arg, why) kvm_cpu_ioctl(v, request, arg, #request, why)

/* Members that have the same name here and in KVM's struct; both are pointers, in either order. */
#define COPY(to, from, name) (to)->name = (from)->name;

/* ---- registers ---- */

#define REGS(X, to, from) \
	X(to, from, rax) X(to, from, rbx) X(to, from, rcx) X(to, from, rdx) \
	X(to, from, rsi) X(to, from, rdi) X(to, from, rsp) X(to, from, rbp) \
	X(to, from, r8)  X(to, from, r9)  X(to, from, r10) X(to, from, r11) \
	X(to, from, r12) X(to, from, r13) X(to, from, r14) X(to, from, r15) \
	X(to, from, rip) X(to, from, rflags)

static int regs_fetch(struct kvm_vcpu *v, struct fail *why)
{
	struct kvm_regs r;

	if (CPU_CALL(v, KVM_GET_REGS, &r, why))
		return -1;
	REGS(COPY, &v->s.regs, &r)
	return 0;
}

static int regs_put(struct kvm_vcpu *v, struct fail *why)
{
	struct kvm_regs r = { 0 };

	REGS(COPY, &r, &v->s.regs)
	return CPU_CALL(v, KVM_SET_REGS, &r, why);
}

/* ---- segments and control registers ---- */

static void seg_get(struct x86_sregs_state *s, enum x86_seg i, const struct kvm_segment *g)
{
	s->seg_base[i]     = g->base;
	s->seg_limit[i]    = g->limit;
	s->seg_selector[i] = g->selector;
	s->seg_attr[i]     = (g->type & 15u) | (g->s & 1u) << 4 | (g->dpl & 3u) << 5 |
			     (g->present & 1u) << 7 | (g->avl & 1u) << 12 | (g->l & 1u) << 13 |
			     (g->db & 1u) << 14 | (g->g & 1u) << 15 | (g->unusable & 1u) << 16;
}

static struct kvm_segment seg_put(const struct x86_sregs_state *s, enum x86_seg i)
{
	const uint32_t a = s->seg_attr[i];

	return (struct kvm_segment){
		.base     = s->seg_base[i],
		.limit    = s->seg_limit[i],
		.selector = (uint16_t)s->seg_selector[i],
		.type     = a & 15,
		.s        = a >> 4 & 1,
		.dpl      = a >> 5 & 3,
		.present  = a >> 7 & 1,
		.avl      = a >> 12 & 1,
		.l        = a >> 13 & 1,
		.db       = a >> 14 & 1,
		.g        = a >> 15 & 1,
		.unusable = a >> 16 & 1,
	};
}

#define SEGS(X, s, k) \
	X(s, k, X86_CS, cs) X(s, k, X86_DS, ds) X(s, k, X86_ES, es) X(s, k, X86_FS, fs) \
	X(s, k, X86_GS, gs) X(s, k, X86_SS, ss) X(s, k, X86_TR, tr) X(s, k, X86_LDT, ldt)
#define SEG_GET(s, k, i, name) seg_get(s, i, &(k)->name);
#define SEG_PUT(s, k, i, name) (k)->name = seg_put(s, i);
#define CRS(X, to, from) \
	X(to, from, cr0) X(to, from, cr2) X(to, from, cr3) X(to, from, cr4) \
	X(to, from, cr8) X(to, from, efer) X(to, from, apic_base)

/* Macros, because k is a struct kvm_sregs or a kvm_sregs2: two types without a common part in C,
 * whose members are the same but for the last ones. */
#define SREGS_GET(s, k) do { \
	SEGS(SEG_GET, s, k) \
	CRS(COPY, s, k) \
	(s)->gdt_base = (k)->gdt.base; (s)->gdt_limit = (k)->gdt.limit; \
	(s)->idt_base = (k)->idt.base; (s)->idt_limit = (k)->idt.limit; \
} while (0)
#define SREGS_PUT(s, k) do { \
	SEGS(SEG_PUT, s, k) \
	CRS(COPY, k, s) \
	(k)->gdt.base = (s)->gdt_base; (k)->gdt.limit = (s)->gdt_limit; \
	(k)->idt.base = (s)->idt_base; (k)->idt.limit = (s)->idt_limit; \
} while (0)

static int sregs2_fetch(struct kvm_vcpu *v, struct fail *why)
{
	struct x86_sregs_state *s = &v->s.sregs;
	struct kvm_sregs2       k;

	if (CPU_CALL(v, KVM_GET_SREGS2, &k, why))
		return -1;
	SREGS_GET(s, &k);
	s->pdptrs_valid = k.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID;
	for (unsigned i = 0; i < 4; i++)
		s->pdptrs[i] = s->pdptrs_valid ? k.pdptrs[i] : 0;
	return 0;
}

static int sregs2_put(struct kvm_vcpu *v, struct fail *why)
{
	const struct x86_sregs_state *s = &v->s.sregs;
	struct kvm_sregs2             k = { 0 };

	if (s->pdptrs_valid)
		k.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	SREGS_PUT(s, &k);
	for (unsigned i = 0; i < 4; i++)
		k.pdptrs[i] = s->pdptrs[i];
	return CPU_CALL(v, KVM_SET_SREGS2, &k, why);
}

/* Before Linux 5.14. KVM reads the PDPTRs from guest memory again, as a CPU does that loads CR3:
 * they are right unless the guest has changed that memory since. */
static int sregs_fetch(struct kvm_vcpu *v, struct fail *why)
{
	struct x86_sregs_state *s = &v->s.sregs;
	struct kvm_sregs        k;

	if (CPU_CALL(v, KVM_GET_SREGS, &k, why))
		return -1;
	SREGS_GET(s, &k);
	s->pdptrs_valid = false;
	memset(s->pdptrs, 0, sizeof(s->pdptrs));
	return 0;
}

static int sregs_put(struct kvm_vcpu *v, struct fail *why)
{
	const struct x86_sregs_state *s = &v->s.sregs;
	/* interrupt_bitmap stays 0: an interrupt that is being injected is in the events. */
	struct kvm_sregs              k = { 0 };

	SREGS_PUT(s, &k);
	return CPU_CALL(v, KVM_SET_SREGS, &k, why);
}

/* ---- XSAVE ---- */

union xsave_area {
	struct kvm_xsave k;
	uint8_t          b[X86_XSAVE_MAX];
};

/* cfg has the size of the area that the guest was started with; a host whose area is larger has
 * zeroes past that, because the guest cannot enable the states there. */
static int xsave_fetch(struct kvm_vcpu *v, struct fail *why)
{
	const uint32_t   len  = v->k->a.vm->cfg.xsave_bytes;
	union xsave_area area = { .b = { 0 } };
	struct kvm_xcrs  x    = { 0 };

	if (v->k->caps.xsave_bytes > (int)sizeof(area))
		return fail_set(why, FAIL_LIMIT, "XSAVE area of %d bytes exceeds the limit of %zu",
				v->k->caps.xsave_bytes, sizeof(area));
	if (v->k->caps.xcrs && CPU_CALL(v, KVM_GET_XCRS, &x, why))
		return -1;
	if (v->k->caps.xsave_bytes > (int)sizeof(struct kvm_xsave)
		    ? CPU_CALL(v, KVM_GET_XSAVE2, &area, why)
		    : CPU_CALL(v, KVM_GET_XSAVE, &area, why))
		return -1;
	v->s.xsave          = (struct x86_xsave_state){ .area_len = len };
	v->s.xsave.xcr0     = x.nr_xcrs ? x.xcrs[0].value : 1;
	memcpy(v->s.xsave.area, area.b, len);
	return 0;
}

static int xsave_put(struct kvm_vcpu *v, struct fail *why)
{
	union xsave_area area = { .b = { 0 } };
	struct kvm_xcrs  x    = { .nr_xcrs = 1, .xcrs = { { .value = v->s.xsave.xcr0 } } };

	if (v->s.xsave.area_len > v->k->a.vm->cfg.xsave_bytes)
		return fail_set(why, FAIL_CORRUPT,
				"vCPU %" PRIu32 ": invalid XSAVE area size: %" PRIu32
				" bytes, expected %" PRIu32, v->id, v->s.xsave.area_len,
				v->k->a.vm->cfg.xsave_bytes);
	if (v->k->caps.xcrs && CPU_CALL(v, KVM_SET_XCRS, &x, why))
		return -1;
	memcpy(area.b, v->s.xsave.area, v->s.xsave.area_len);
	return CPU_CALL(v, KVM_SET_XSAVE, &area, why);
}

/* ---- local APIC ---- */

static int lapic_fetch(struct kvm_vcpu *v, struct fail *why)
{
	struct kvm_lapic_state k;

	if (CPU_CALL(v, KVM_GET_LAPIC, &k, why))
		return -1;
	memcpy(v->s.lapic.regs, k.regs, sizeof(v->s.lapic.regs));
	if (v->frozen.valid)
		put_le32(v->s.lapic.regs + LAPIC_TMCCT, v->frozen.tmcct);
	return 0;
}

static int lapic_put(struct kvm_vcpu *v, struct fail *why)
{
	struct kvm_lapic_state k;

	memcpy(k.regs, v->s.lapic.regs, sizeof(k.regs));
	return CPU_CALL(v, KVM_SET_LAPIC, &k, why);
}

/* ---- events ---- */

static int mp_state_fetch(struct kvm_vcpu *v, struct fail *why)
{
	struct kvm_mp_state mp;

	if (CPU_CALL(v, KVM_GET_MP_STATE, &mp, why))
		return -1;
	v->s.events.mp_state = mp.mp_state;
	return 0;
}

static int mp_state_put(struct kvm_vcpu *v, struct fail *why)
{
	struct kvm_mp_state mp = { .mp_state = v->s.events.mp_state };

	return CPU_CALL(v, KVM_SET_MP_STATE, &mp, why);
}

static int events_fetch(struct kvm_vcpu *v, struct fail *why)
{
	struct x86_events_state *s = &v->s.events;
	struct kvm_vcpu_events   k = { 0 };

	if (CPU_CALL(v, KVM_GET_VCPU_EVENTS, &k, why))
		return -1;
	*s = (struct x86_events_state){
		.mp_state              = s->mp_state,
		.flags                 = k.flags & 0x3f,
		.exception_injected    = k.exception.injected,
		.exception_pending     = k.exception.pending,
		.exception_has_error   = k.exception.has_error_code,
		.exception_has_payload = k.exception_has_payload,
		.exception_nr          = k.exception.nr,
		.exception_error       = k.exception.error_code,
		.exception_payload     = k.exception_payload,
		.interrupt_injected    = k.interrupt.injected,
		.interrupt_soft        = k.interrupt.soft,
		.interrupt_nr          = k.interrupt.nr,
		.interrupt_shadow      = k.interrupt.shadow,
		.nmi_injected          = k.nmi.injected,
		.nmi_masked            = k.nmi.masked,
		.nmi_pending           = k.nmi.pending,
		.sipi_vector           = k.sipi_vector,
		.smm                   = k.smi.smm,
		.smm_pending           = k.smi.pending,
		.smm_inside_nmi        = k.smi.smm_inside_nmi,
		.smm_latched_init      = k.smi.latched_init,
		.triple_fault_pending  = k.triple_fault.pending,
	};
	return 0;
}

static int events_put(struct kvm_vcpu *v, struct fail *why)
{
	const struct x86_events_state *s = &v->s.events;
	struct kvm_vcpu_events         k = {
		.flags                 = s->flags,
		.exception             = { .injected       = s->exception_injected,
					   .pending        = s->exception_pending,
					   .nr             = s->exception_nr,
					   .has_error_code = s->exception_has_error,
					   .error_code     = s->exception_error },
		.exception_has_payload = s->exception_has_payload,
		.exception_payload     = s->exception_payload,
		.interrupt             = { .injected = s->interrupt_injected,
					   .soft     = s->interrupt_soft,
					   .nr       = s->interrupt_nr,
					   .shadow   = s->interrupt_shadow },
		.nmi                   = { .injected = s->nmi_injected,
					   .masked   = s->nmi_masked,
					   .pending  = s->nmi_pending },
		.sipi_vector           = s->sipi_vector,
		.smi                   = { .smm            = s->smm,
					   .pending        = s->smm_pending,
					   .smm_inside_nmi = s->smm_inside_nmi,
					   .latched_init   = s->smm_latched_init },
		.triple_fault          = { .pending = s->triple_fault_pending },
	};

	/* Where KVM lacks these, flags that say "valid, nothing pending" are dropped; what is
	 * pending must not be lost, and is refused. */
	if (!v->k->caps.exception_payload && s->flags & KVM_VCPUEVENT_VALID_PAYLOAD) {
		if (s->exception_pending || s->exception_has_payload)
			return fail_set(why, FAIL_REFUSED,
					"vCPU %" PRIu32
					": pending exception not supported by KVM on this host",
					v->id);
		k.flags &= ~(uint32_t)KVM_VCPUEVENT_VALID_PAYLOAD;
	}
	if (!v->k->caps.triple_fault_event && s->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) {
		if (s->triple_fault_pending)
			return fail_set(why, FAIL_REFUSED,
					"vCPU %" PRIu32
					": pending triple fault not supported by KVM on this host",
					v->id);
		k.flags &= ~(uint32_t)KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	}
	return CPU_CALL(v, KVM_SET_VCPU_EVENTS, &k, why);
}

/* ---- debug registers ---- */

static int debugregs_fetch(struct kvm_vcpu *v, struct fail *why)
{
	struct kvm_debugregs k;

	if (CPU_CALL(v, KVM_GET_DEBUGREGS, &k, why))
		return -1;
	for (unsigned i = 0; i < 4; i++)
		v->s.debugregs.db[i] = k.db[i];
	v->s.debugregs.dr6 = k.dr6;
	v->s.debugregs.dr7 = k.dr7;
	return 0;
}

static int debugregs_put(struct kvm_vcpu *v, struct fail *why)
{
	struct kvm_debugregs k = { .dr6 = v->s.debugregs.dr6, .dr7 = v->s.debugregs.dr7 };

	for (unsigned i = 0; i < 4; i++)
		k.db[i] = v->s.debugregs.db[i];
	return CPU_CALL(v, KVM_SET_DEBUGREGS, &k, why);
}

/* ---- all of it ---- */

static int msrs_fetch(struct kvm_vcpu *v, struct fail *why)
{
	uint64_t *tsc;

	if (kvm_msrs_fetch(v, why))
		return -1;
	tsc = kvm_msr_saved(&v->s.msrs, MSR_TSC);
	if (tsc && v->frozen.valid)
		*tsc = v->frozen.tsc;
	return 0;
}

int kvm_cpu_fetch(struct kvm_vcpu *v, struct fail *why)
{
	if (mp_state_fetch(v, why) || regs_fetch(v, why) ||
	    (v->k->caps.sregs2 ? sregs2_fetch(v, why) : sregs_fetch(v, why)) ||
	    xsave_fetch(v, why) || msrs_fetch(v, why) || lapic_fetch(v, why) ||
	    debugregs_fetch(v, why))
		return -1;
	return events_fetch(v, why);
}

int kvm_cpu_put(struct kvm_vcpu *v, struct fail *why)
{
	const uint64_t *tsc = kvm_msr_saved(&v->s.msrs, MSR_TSC);

	if ((v->k->caps.sregs2 ? sregs2_put(v, why) : sregs_put(v, why)) || xsave_put(v, why))
		return -1;
	kvm_tsc_away(v);
	if (kvm_msrs_put(v, why) || lapic_put(v, why) || kvm_msrs_put_deadline(v, why) ||
	    events_put(v, why) || debugregs_put(v, why) || regs_put(v, why) ||
	    mp_state_put(v, why))
		return -1;
	/* A save before the next resume has what was loaded, not what KVM has advanced since. */
	v->frozen = (struct kvm_frozen){
		.valid = true,
		.tsc   = tsc ? *tsc : 0,
		.tmcct = get_le32(v->s.lapic.regs + LAPIC_TMCCT),
	};
	return 0;
}

size_t kvm_cpu_state_sections(struct x86_cpu_state *s, struct state_section *out, size_t max)
{
	const struct state_section all[] = {
		{ .table = &x86_regs_state_table,      .s = &s->regs      },
		{ .table = &x86_sregs_state_table,     .s = &s->sregs     },
		{ .table = &x86_xsave_state_table,     .s = &s->xsave     },
		{ .table = &x86_msrs_state_table,      .s = &s->msrs      },
		{ .table = &x86_lapic_state_table,     .s = &s->lapic     },
		{ .table = &x86_events_state_table,    .s = &s->events    },
		{ .table = &x86_debugregs_state_table, .s = &s->debugregs },
	};
	size_t n = 0;

	for (; n < sizeof(all) / sizeof(all[0]) && n < max; n++) {
		out[n] = all[n];
		snprintf(out[n].node, sizeof(out[n].node), "%s", all[n].table->name);
	}
	return n;
}

size_t kvm_cpu_sections(struct accel *a, uint32_t cpu, struct state_section *out, size_t max)
{
	return kvm_cpu_state_sections(&((struct kvm *)(void *)a)->vcpus[cpu].s, out, max);
}

/* ---- where a guest starts ---- */

#define ATTR_CODE64 0xa09bu      /* present, code, execute and read, accessed; L; 4 KiB granules */
#define ATTR_CODE32 0xc09bu      /* the same; D */
#define ATTR_DATA   0xc093u      /* present, data, write, accessed; B */
#define ATTR_TSS    0x008bu      /* present, busy TSS */

#define CR0_PE ((uint64_t)1 << 0)
#define CR0_ET ((uint64_t)1 << 4)
#define CR0_NE ((uint64_t)1 << 5)
#define CR0_WP ((uint64_t)1 << 16)
#define CR0_PG ((uint64_t)1 << 31)
#define CR4_PAE ((uint64_t)1 << 5)
#define EFER_LME ((uint64_t)1 << 8)
#define EFER_LMA ((uint64_t)1 << 10)

static void entry_seg(struct x86_sregs_state *s, enum x86_seg i, uint32_t selector, uint32_t attr)
{
	s->seg_base[i]     = 0;
	s->seg_limit[i]    = i == X86_TR ? 0x67 : UINT32_MAX;
	s->seg_selector[i] = selector;
	s->seg_attr[i]     = attr;
}

void kvm_cpu_entry(struct kvm_vcpu *v, const struct boot_entry *e)
{
	struct x86_sregs_state *s = &v->s.sregs;
	const bool              is64 = e->how == BOOT_X86_64;

	entry_seg(s, X86_CS, 0x10, is64 ? ATTR_CODE64 : ATTR_CODE32);
	entry_seg(s, X86_DS, 0x18, ATTR_DATA);
	entry_seg(s, X86_ES, 0x18, ATTR_DATA);
	entry_seg(s, X86_FS, 0x18, ATTR_DATA);
	entry_seg(s, X86_GS, 0x18, ATTR_DATA);
	entry_seg(s, X86_SS, 0x18, ATTR_DATA);
	entry_seg(s, X86_TR, 0, ATTR_TSS);
	s->gdt_base  = e->gdt;
	s->gdt_limit = e->gdt_limit;
	/* Without an IDT an exception is a triple fault, which is reported, instead of a jump to
	 * whatever is at address 0. */
	s->idt_base  = 0;
	s->idt_limit = 0;
	s->cr0  = CR0_PE | CR0_ET | (is64 ? CR0_NE | CR0_WP | CR0_PG : 0);
	s->cr3  = is64 ? e->cr3 : 0;
	s->cr4  = is64 ? CR4_PAE : 0;
	s->efer = is64 ? EFER_LME | EFER_LMA : 0;
	v->s.regs = (struct x86_regs_state){ .rip = e->pc, .rflags = 2 };
	if (is64)
		v->s.regs.rsi = e->arg;
	else
		v->s.regs.rbx = e->arg;
	v->s.events.mp_state = KVM_MP_STATE_RUNNABLE;
}
