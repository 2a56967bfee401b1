/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/kvm/kvm.h"

#include "libcommon/io.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The CPU's part of the configuration: what CPUID returns, the size of the XSAVE area, which MSRs
 * are saved, the frequency of the TSC.
 *
 * A new machine gets what this host's KVM supports, without what would not be saved
 * (kvm_cpuid_features.c), without what --cpu leaves out (kvm_cpuid_models.c), and with the VM's
 * topology (kvm_cpuid_topology.c). A recorded one keeps what it has; each feature bit of it must be
 * among those that a new machine could have here. */

/* ---- lists of entries ---- */

struct machine_cpuid *kvm_cpuid_find(struct machine *m, uint32_t leaf, uint32_t index)
{
	for (uint32_t i = 0; i < m->ncpuid; i++)
		if (m->cpuid[i].leaf == leaf && m->cpuid[i].index == index)
			return &m->cpuid[i];
	return NULL;
}

uint32_t *kvm_cpuid_reg(struct machine_cpuid *e, enum x86_reg reg)
{
	switch (reg) {
	case X86_EAX:  return &e->eax;
	case X86_EBX:  return &e->ebx;
	case X86_ECX:  return &e->ecx;
	case X86_EDX:
	case X86_REGS: break;
	}
	return &e->edx;
}

static int cpuid_order(const void *a, const void *b)
{
	const struct machine_cpuid *x = a, *y = b;

	if (x->leaf != y->leaf)
		return x->leaf < y->leaf ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static int cpuid_take(struct machine *m, const struct kvm_cpuid2 *k, struct fail *why)
{
	if (k->nent > LIMIT_CPUID)
		return fail_set(why, FAIL_LIMIT,
				"CPUID of this host: %" PRIu32 " entries exceed the limit of %u",
				k->nent, LIMIT_CPUID);
	memset(m->cpuid, 0, sizeof(m->cpuid));
	m->ncpuid = 0;
	for (uint32_t i = 0; i < k->nent; i++) {
		const struct kvm_cpuid_entry2 *e     = &k->entries[i];
		const uint32_t                 flags = e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		const uint32_t                 index = flags ? e->index : 0;

		if (kvm_cpuid_find(m, e->function, index))
			continue;
		m->cpuid[m->ncpuid++] = (struct machine_cpuid){
			.leaf = e->function, .index = index, .flags = flags,
			.eax = e->eax, .ebx = e->ebx, .ecx = e->ecx, .edx = e->edx,
		};
	}
	qsort(m->cpuid, m->ncpuid, sizeof(m->cpuid[0]), cpuid_order);
	return 0;
}

static struct kvm_cpuid2 *cpuid_capacity(struct fail *why)
{
	struct kvm_cpuid2 *k = calloc(1, sizeof(*k) + LIMIT_CPUID * sizeof(k->entries[0]));

	if (!k)
		fail_sys(why, "CPUID");
	else
		k->nent = LIMIT_CPUID;
	return k;
}

/* ---- the host ---- */

/* A VM of one vCPU, only to query KVM: some answers need a vCPU. */
struct scratch {
	int sys, vm, vcpu;
	struct kvm_caps caps;
};

static void scratch_close(struct scratch *s)
{
	io_close(&s->vcpu);
	io_close(&s->vm);
	io_close(&s->sys);
}

static int scratch_open(struct scratch *s, struct fail *why)
{
	*s = (struct scratch){ .sys = -1, .vm = -1, .vcpu = -1 };
	if (kvm_caps_open(&s->sys, &s->caps, why))
		return -1;
	s->vm = kvm_call_n(s->sys, KVM_CREATE_VM, 0, "KVM_CREATE_VM", why);
	if (s->vm < 0 || kvm_call_n(s->vm, KVM_CREATE_IRQCHIP, 0, "KVM_CREATE_IRQCHIP", why) < 0)
		goto fail;
	s->vcpu = kvm_call_n(s->vm, KVM_CREATE_VCPU, 0, "KVM_CREATE_VCPU", why);
	if (s->vcpu >= 0)
		return 0;
fail:
	scratch_close(s);
	return -1;
}

/* All that a machine could have here, before --cpu leaves out some of it. */
static int host_cpuid(const struct scratch *s, struct machine *m, struct fail *why)
{
	struct kvm_cpuid2 *k = cpuid_capacity(why);
	int                rc = -1, deadline;

	if (!k)
		return -1;
	if (kvm_call(s->sys, KVM_GET_SUPPORTED_CPUID, k, "KVM_GET_SUPPORTED_CPUID", why) < 0 ||
	    cpuid_take(m, k, why))
		goto out;
	if (!kvm_cpuid_find(m, 0, 0) || !kvm_cpuid_find(m, 1, 0) ||
	    !kvm_cpuid_find(m, 0x80000001, 0)) {
		fail_set(why, FAIL_REFUSED, "KVM_GET_SUPPORTED_CPUID: not an x86-64 host");
		goto out;
	}
	deadline = kvm_call_n(s->sys, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER, NULL, NULL);
	kvm_cpuid_strip(m, deadline > 0);
	rc = 0;
out:
	free(k);
	return rc;
}

static int cpuid_set(int vcpu, const struct machine *m, uint32_t id, struct fail *why)
{
	struct kvm_cpuid2 *k = cpuid_capacity(why);
	int                rc;

	if (!k)
		return -1;
	k->nent = m->ncpuid;
	for (uint32_t i = 0; i < m->ncpuid; i++) {
		struct machine_cpuid e = m->cpuid[i];

		kvm_cpuid_apic_id(&e, id);
		k->entries[i] = (struct kvm_cpuid_entry2){
			.function = e.leaf, .index = e.index, .flags = e.flags,
			.eax = e.eax, .ebx = e.ebx, .ecx = e.ecx, .edx = e.edx,
		};
	}
	rc = kvm_call(vcpu, KVM_SET_CPUID2, k, "KVM_SET_CPUID2", why) < 0 ? -1 : 0;
	free(k);
	return rc;
}

/* kHz of the vCPU's TSC, which is the host's until it is set; 0 when KVM does not say. */
static uint64_t tsc_khz(int vcpu)
{
	int khz = kvm_call_n(vcpu, KVM_GET_TSC_KHZ, 0, NULL, NULL);

	return khz > 0 ? (uint64_t)khz : 0;
}

/* Two calibrations of one clock may differ by this much: KVM's own limit (tsc_tolerance_ppm,
 * 250). */
static bool tsc_same(uint64_t a, uint64_t b)
{
	return (a > b ? a - b : b - a) <= b / 4000;
}

/* ---- plan ---- */

static int plan_new(struct machine *cfg, const struct scratch *s, const char *cpu, struct fail *why)
{
	const uint64_t khz = tsc_khz(s->vcpu);
	int            n;

	if (khz == 0)
		return fail_set(why, FAIL_REFUSED,
				"KVM_GET_TSC_KHZ: TSC frequency of this host unknown");
	if (host_cpuid(s, cfg, why) || kvm_cpuid_model(cfg, cpu, why))
		return -1;
	kvm_cpuid_consistent(cfg);
	kvm_cpuid_topology(cfg);
	snprintf(cfg->cpu_model, sizeof(cfg->cpu_model), "%s", cpu);
	cfg->timebase_hz = khz * 1000;
	cfg->xsave_bytes = (uint32_t)s->caps.xsave_bytes;
	if (cpuid_set(s->vcpu, cfg, 0, why))
		return -1;
	n = kvm_msrs_list(s->sys, s->vcpu, cfg->msrs, why);
	if (n < 0)
		return -1;
	cfg->nmsrs = (uint32_t)n;
	return 0;
}

static int recorded_words(struct machine *cfg, struct machine *host, struct fail *why)
{
	char text[X86_BIT_TEXT];

	for (size_t i = 0; i < x86_nwords; i++) {
		const struct x86_word *w    = &x86_words[i];
		struct machine_cpuid  *want = kvm_cpuid_find(cfg, w->leaf, w->index);
		struct machine_cpuid  *have = kvm_cpuid_find(host, w->leaf, w->index);
		const uint32_t         bits = want ? *kvm_cpuid_reg(want, w->reg) : 0;
		const uint32_t         lack = bits & ~(have ? *kvm_cpuid_reg(have, w->reg) : 0);

		if (lack)
			return fail_set(why, FAIL_REFUSED,
					"%s not supported by this host, but used by the VM",
					x86_bit_text(w->leaf, w->index, w->reg,
						     (unsigned)__builtin_ctz(lack), text));
	}
	return 0;
}

/* Vendors differ in behaviour that has no CPUID bit. XSAVE states must have the same offsets: the
 * saved area has those of the first host. */
static int recorded_rest(struct machine *cfg, struct machine *host, struct fail *why)
{
	const struct machine_cpuid *a = kvm_cpuid_find(cfg, 0, 0), *b = kvm_cpuid_find(host, 0, 0);

	if (!a || !b || a->ebx != b->ebx || a->ecx != b->ecx || a->edx != b->edx)
		return fail_set(why, FAIL_REFUSED,
			"CPU vendor differs from the host on which the VM was started (CPUID 0)");
	for (uint32_t i = 0; i < cfg->ncpuid; i++) {
		a = &cfg->cpuid[i];
		if (a->leaf != 0xd || a->index < 2)
			continue;
		b = kvm_cpuid_find(host, 0xd, a->index);
		if (!b || a->eax != b->eax || a->ebx != b->ebx)
			return fail_set(why, FAIL_REFUSED,
					"CPUID d.%" PRIx32 ": offset of XSAVE state %" PRIu32
					" differs on this host", a->index, a->index);
	}
	a = kvm_cpuid_find(cfg, 0x80000008, 0);
	b = kvm_cpuid_find(host, 0x80000008, 0);
	if (a && (!b || (a->eax & 0xff) > (b->eax & 0xff)))
		return fail_set(why, FAIL_REFUSED,
			"CPUID 80000008 EAX: physical address width differs: the VM has %" PRIu32
			" bits, this host has %" PRIu32, a->eax & 0xff,
			b ? b->eax & 0xff : 0);
	return 0;
}

static int recorded_tsc(const struct machine *cfg, const struct scratch *s,
			const struct accel_want *want, struct fail *why)
{
	const uint64_t khz = cfg->timebase_hz / 1000, here = tsc_khz(s->vcpu);

	if (tsc_same(khz, here) || s->caps.tsc_control || want->force_tsc)
		return 0;
	return fail_set(why, FAIL_REFUSED,
			"TSC frequency differs: the VM has %" PRIu64 " kHz, this host has %" PRIu64
			" kHz without TSC scaling; use --force-tsc to ignore", khz, here);
}

static int recorded_msrs(const struct machine *cfg, const struct scratch *s, struct fail *why)
{
	uint32_t here[LIMIT_MSRS];
	char     text[X86_MSR_TEXT];
	int      n;

	if (cpuid_set(s->vcpu, cfg, 0, why))
		return -1;
	n = kvm_msrs_list(s->sys, s->vcpu, here, why);
	if (n < 0)
		return -1;
	for (uint32_t i = 0, at = 0; i < cfg->nmsrs; i++) {
		while (at < (uint32_t)n && here[at] < cfg->msrs[i])
			at++;
		if (at == (uint32_t)n || here[at] != cfg->msrs[i])
			return fail_set(why, FAIL_REFUSED,
					"%s not supported by this host, but used by the VM",
					x86_msr_text(cfg->msrs[i], text));
	}
	return 0;
}

static int plan_recorded(struct machine *cfg, const struct scratch *s,
			 const struct accel_want *want, struct fail *why)
{
	struct machine *host = calloc(1, sizeof(*host));
	int             rc   = -1;

	if (!host)
		return fail_sys(why, "CPUID");
	host->ncpus = cfg->ncpus;
	if (want->cpu && strcmp(want->cpu, cfg->cpu_model)) {
		fail_set(why, FAIL_REFUSED,
				"--cpu differs: the VM was started with %.100s, got %.100s",
				cfg->cpu_model, want->cpu);
		goto out;
	}
	if (host_cpuid(s, host, why))
		goto out;
	kvm_cpuid_consistent(host);
	kvm_cpuid_topology(host);
	if (recorded_words(cfg, host, why) || recorded_rest(cfg, host, why))
		goto out;
	if (cfg->xsave_bytes > (uint32_t)s->caps.xsave_bytes) {
		fail_set(why, FAIL_REFUSED,
				"XSAVE area size differs: the VM has %" PRIu32
				" bytes, this host has %d", cfg->xsave_bytes, s->caps.xsave_bytes);
		goto out;
	}
	rc = recorded_tsc(cfg, s, want, why) || recorded_msrs(cfg, s, why) ? -1 : 0;
out:
	free(host);
	return rc;
}

int kvm_plan(struct machine *cfg, const struct accel_want *want, struct fail *why)
{
	struct scratch s;
	int            rc;

	if (scratch_open(&s, why))
		return -1;
	if (cfg->cpu_model[0])
		rc = plan_recorded(cfg, &s, want, why);
	else
		rc = plan_new(cfg, &s, want->cpu ? want->cpu : "host", why);
	scratch_close(&s);
	return rc;
}

int kvm_cpuid_put(struct kvm_vcpu *v, struct fail *why)
{
	const struct machine *cfg = &v->k->a.vm->cfg;
	const uint64_t        khz = cfg->timebase_hz / 1000, here = tsc_khz(v->fd);

	if (cpuid_set(v->fd, cfg, v->id, why))
		return fail_prefix(why, "vCPU %" PRIu32 ": ", v->id);
	if (khz == here || kvm_call_n(v->fd, KVM_SET_TSC_KHZ, khz, NULL, NULL) >= 0 ||
	    tsc_same(khz, here) || v->k->a.vm->want.force_tsc)
		return 0;
	return fail_set(why, FAIL_REFUSED,
			"vCPU %" PRIu32 ": TSC frequency differs: the VM has %" PRIu64
			" kHz, this host has %" PRIu64 " kHz; use --force-tsc to ignore", v->id,
			khz, here);
}
