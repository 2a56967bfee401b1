/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/kvm/kvm.h"

#include "vmrun/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Which MSRs are state: those that KVM lists, and the MTRRs and machine-check banks, which it has
 * but does not list. EFER, the segment bases and the APIC's base are in x86-sregs, and are not
 * saved twice.
 *
 * KVM reads and writes a list up to the first MSR that it does not take. That one is skipped and
 * reported, and the call repeated with the rest. */

#define MSRS_CALL 128u      /* KVM takes fewer than 256 a call */

union msrs_call {
	struct kvm_msrs head;
	uint8_t         capacity[sizeof(struct kvm_msrs) +
				 MSRS_CALL * sizeof(struct kvm_msr_entry)];
};

/* Not saved, though KVM lists them. */
static const struct {
	uint32_t from, to;
} left_out[] = {
	{ 0x11, 0x12 },                  /* old numbers of KVM_WALL_CLOCK and KVM_SYSTEM_TIME */
	{ 0x1b, 0x1b },                  /* in x86-sregs */
	{ 0xc1, 0xd8 },                  /* counts events of the host's CPU: not offered */
	{ 0x179, 0x179 },                /* fixed when a vCPU is made */
	{ 0x186, 0x197 },                /* counts events: not offered */
	{ 0x309, 0x30f },                /* counts events: not offered */
	{ 0x345, 0x345 },                /* of the counters that are not offered */
	{ 0x38d, 0x390 },                /* counts events: not offered */
	{ 0x3f1, 0x3f2 },                /* counts events: not offered */
	{ 0x480, 0x493 },                /* guests of guests: not offered */
	{ 0x4c1, 0x4c8 },                /* counts events: not offered */
	{ 0x560, 0x58f },                /* processor trace: not offered */
	{ 0x6a0, 0x6a8 },                /* control-flow enforcement: not offered */
	{ 0x14ce, 0x14cf },              /* branch records: not offered */
	{ 0x40000000, 0x400001ff },      /* Hyper-V's: not offered */
	{ 0x4b564d00, 0x4b564d00 },      /* a command: writes the time of boot to memory */
	{ 0x4b564d07, 0x4b564d08 },      /* commands to KVM, which keeps nothing of them */
	{ 0xc0000080, 0xc0000080 },      /* in x86-sregs */
	{ 0xc0000100, 0xc0000101 },      /* in x86-sregs */
	{ 0xc0000300, 0xc0000303 },      /* counts events: not offered */
	{ 0xc0010000, 0xc0010007 },      /* counts events: not offered */
	{ 0xc0010117, 0xc0010117 },      /* guests of guests: not offered */
	{ 0xc0010200, 0xc001020b },      /* counts events: not offered */
};

static bool msrs_left_out(uint32_t msr)
{
	for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++)
		if (msr >= left_out[i].from && msr <= left_out[i].to)
			return true;
	return false;
}

/* What KVM has but does not list. */
static const struct {
	uint32_t from, to;
} unlisted[] = {
	{ 0x200, 0x20f },      /* MTRRs: variable ranges */
	{ 0x250, 0x250 },
	{ 0x258, 0x259 },
	{ 0x268, 0x26f },
	{ 0x2ff, 0x2ff },
	{ 0x400, 0x47f },      /* machine-check banks: up to 32 of 4 */
};

static int msrs_order(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Return: how many KVM took, which is the index of the first one that it did not; -1: none, the
 * ioctl itself failed. */
static int msrs_call(int vcpu, unsigned long request, struct kvm_msr_entry *e, uint32_t n,
		     struct fail *why)
{
	union msrs_call call = { .head.nmsrs = n < MSRS_CALL ? n : MSRS_CALL };
	int             done;

	memcpy(call.head.entries, e, call.head.nmsrs * sizeof(*e));
	done = kvm_call(vcpu, request, &call,
			request == KVM_GET_MSRS ? "KVM_GET_MSRS" : "KVM_SET_MSRS", why);
	if (done > 0)
		memcpy(e, call.head.entries, (size_t)done * sizeof(*e));
	return done;
}

bool kvm_msr_get(int vcpu, uint32_t msr, uint64_t *value)
{
	struct kvm_msr_entry e = { .index = msr };

	if (msrs_call(vcpu, KVM_GET_MSRS, &e, 1, NULL) != 1)
		return false;
	*value = e.data;
	return true;
}

bool kvm_msr_set(int vcpu, uint32_t msr, uint64_t value)
{
	struct kvm_msr_entry e = { .index = msr, .data = value };

	return msrs_call(vcpu, KVM_SET_MSRS, &e, 1, NULL) == 1;
}

/* Reads all n; readable[i] is set for those that could be read. */
static int msrs_read(int vcpu, struct kvm_msr_entry *e, uint32_t n, bool *readable,
		     struct fail *why)
{
	for (uint32_t at = 0; at < n;) {
		int done = msrs_call(vcpu, KVM_GET_MSRS, e + at, n - at, why);

		if (done < 0)
			return -1;
		memset(readable + at, true, (size_t)done);
		at += (uint32_t)done;
		if (at < n && (uint32_t)done < MSRS_CALL)
			readable[at++] = false;
	}
	return 0;
}

static struct kvm_msr_list *msrs_listed(int sys, struct fail *why)
{
	struct kvm_msr_list  none = { 0 }, *list;

	/* Fails with E2BIG, and sets the number of MSRs. */
	if (kvm_call(sys, KVM_GET_MSR_INDEX_LIST, &none, NULL, NULL) < 0 && errno != E2BIG) {
		fail_sys(why, "KVM_GET_MSR_INDEX_LIST");
		return NULL;
	}
	list = calloc(1, sizeof(*list) + none.nmsrs * sizeof(list->indices[0]));
	if (!list) {
		fail_sys(why, "KVM_GET_MSR_INDEX_LIST");
		return NULL;
	}
	list->nmsrs = none.nmsrs;
	if (kvm_call(sys, KVM_GET_MSR_INDEX_LIST, list, "KVM_GET_MSR_INDEX_LIST", why) < 0) {
		free(list);
		return NULL;
	}
	return list;
}

/* Listed and unlisted, sorted, each once. out is large enough for both lists. */
static uint32_t msrs_candidates(const struct kvm_msr_list *list, uint32_t *out)
{
	uint32_t n = 0, kept = 0;

	for (uint32_t i = 0; i < list->nmsrs; i++)
		if (!msrs_left_out(list->indices[i]))
			out[n++] = list->indices[i];
	for (size_t i = 0; i < sizeof(unlisted) / sizeof(unlisted[0]); i++)
		for (uint32_t msr = unlisted[i].from; msr <= unlisted[i].to; msr++)
			out[n++] = msr;
	qsort(out, n, sizeof(*out), msrs_order);
	for (uint32_t i = 0; i < n; i++)
		if (!kept || out[kept - 1] != out[i])
			out[kept++] = out[i];
	return kept;
}

int kvm_msrs_list(int sys, int vcpu, uint32_t out[LIMIT_MSRS], struct fail *why)
{
	struct kvm_msr_list  *list       = msrs_listed(sys, why);
	size_t                capacity   = list ? list->nmsrs + 256u : 0;
	uint32_t             *candidates = calloc(capacity + 1, sizeof(*candidates));
	struct kvm_msr_entry *e          = calloc(capacity + 1, sizeof(*e));
	bool                 *readable   = calloc(capacity + 1, sizeof(*readable));
	int                   rc         = -1;
	uint32_t              n, kept = 0;

	if (!list)
		goto out;
	if (!candidates || !e || !readable) {
		fail_sys(why, "list of MSRs");
		goto out;
	}
	n = msrs_candidates(list, candidates);
	for (uint32_t i = 0; i < n; i++)
		e[i].index = candidates[i];
	if (msrs_read(vcpu, e, n, readable, why))
		goto out;
	for (uint32_t i = 0; i < n; i++) {
		if (readable[i] && kept == LIMIT_MSRS) {
			fail_set(why, FAIL_LIMIT, "number of MSRs exceeds the limit of %u",
					LIMIT_MSRS);
			goto out;
		}
		if (readable[i])
			out[kept++] = candidates[i];
	}
	rc = (int)kept;
out:
	free(readable);
	free(e);
	free(candidates);
	free(list);
	return rc;
}

/* The only message of this backend that is not a failure, so that no *why carries it: it goes to
 * stderr, which is the log. Once for each MSR, not for each save. */
static void msrs_note(struct kvm *k, uint32_t i, uint32_t msr)
{
	char text[X86_MSR_TEXT];

	if (!k->noted[i])
		fprintf(stderr, "vmrun: %s: cannot be read, not saved\n", x86_msr_text(msr, text));
	k->noted[i] = true;
}

/* AMD's SYSENTER_ESP and _EIP are 32 bits wide, and KVM sets no more than that there. It can read
 * more where an emulated SVM keeps what the guest's own WRMSR, which is not intercepted, has set:
 * a value that could not be loaded again must not be saved. */
static bool msrs_narrow(struct machine *cfg, uint32_t msr)
{
	const struct machine_cpuid *vendor = kvm_cpuid_find(cfg, 0, 0);

	if (msr != MSR_SYSENTER_ESP && msr != MSR_SYSENTER_EIP)
		return false;
	/* "Auth"enticAMD, "Hygo"nGenuine */
	return vendor && (vendor->ebx == 0x68747541 || vendor->ebx == 0x6f677948);
}

int kvm_msrs_fetch(struct kvm_vcpu *v, struct fail *why)
{
	struct machine        *cfg = &v->k->a.vm->cfg;
	struct kvm_msr_entry   e[LIMIT_MSRS];
	bool                   readable[LIMIT_MSRS];
	struct x86_msrs_state *s = &v->s.msrs;

	for (uint32_t i = 0; i < cfg->nmsrs; i++)
		e[i] = (struct kvm_msr_entry){ .index = cfg->msrs[i] };
	if (msrs_read(v->fd, e, cfg->nmsrs, readable, why))
		return fail_prefix(why, "vCPU %" PRIu32 ": ", v->id);
	*s = (struct x86_msrs_state){ 0 };
	for (uint32_t i = 0; i < cfg->nmsrs; i++) {
		if (!readable[i]) {
			msrs_note(v->k, i, cfg->msrs[i]);
			continue;
		}
		if (msrs_narrow(cfg, e[i].index))
			e[i].data = (uint32_t)e[i].data;
		s->index[s->count]   = e[i].index;
		s->value[s->count++] = e[i].data;
	}
	return 0;
}

uint64_t *kvm_msr_saved(struct x86_msrs_state *s, uint32_t msr)
{
	const uint32_t *at = bsearch(&msr, s->index, s->count, sizeof(msr), msrs_order);

	return at ? &s->value[at - s->index] : NULL;
}

/* KVM does not take it: a failure unless that is the value that it has, or is 0 where there is no
 * such MSR. */
static int msrs_refused(const struct kvm_vcpu *v, uint32_t msr, uint64_t value, struct fail *why)
{
	uint64_t has = 0;
	bool     can = kvm_msr_get(v->fd, msr, &has);
	char     text[X86_MSR_TEXT];

	if (can ? has == value : value == 0)
		return 0;
	x86_msr_text(msr, text);
	if (!can)
		return fail_set(why, FAIL_REFUSED,
				"vCPU %" PRIu32 ": %s (0x%" PRIx64
				" in the VM) not supported by this host", v->id, text, value);
	return fail_set(why, FAIL_REFUSED,
			"vCPU %" PRIu32 ": %s: cannot set 0x%" PRIx64
			" on this host (current value: 0x%" PRIx64 ")", v->id, text, value, has);
}

/* Only MSRs of the configuration: a snapshot file must not be able to set others. */
static int msrs_known(const struct kvm_vcpu *v, struct fail *why)
{
	const struct machine *cfg = &v->k->a.vm->cfg;
	char                  text[X86_MSR_TEXT];

	for (uint32_t i = 0; i < v->s.msrs.count; i++)
		if (!bsearch(&v->s.msrs.index[i], cfg->msrs, cfg->nmsrs, sizeof(cfg->msrs[0]),
			     msrs_order))
			return fail_set(why, FAIL_CORRUPT,
					"vCPU %" PRIu32 ": %s not part of this machine", v->id,
					x86_msr_text(v->s.msrs.index[i], text));
	return 0;
}

int kvm_msrs_put(struct kvm_vcpu *v, struct fail *why)
{
	const struct x86_msrs_state *s = &v->s.msrs;
	struct kvm_msr_entry         e[LIMIT_MSRS];
	uint32_t                     n = 0;

	if (msrs_known(v, why))
		return -1;
	for (uint32_t i = 0; i < s->count; i++)
		if (s->index[i] != MSR_TSC_DEADLINE)
			e[n++] = (struct kvm_msr_entry){ .index = s->index[i],
							 .data = s->value[i] };
	for (uint32_t at = 0; at < n;) {
		int done = msrs_call(v->fd, KVM_SET_MSRS, e + at, n - at, why);

		if (done < 0)
			return fail_prefix(why, "vCPU %" PRIu32 ": ", v->id);
		at += (uint32_t)done;
		if (at == n || (uint32_t)done == MSRS_CALL)
			continue;
		if (msrs_refused(v, e[at].index, e[at].data, why))
			return -1;
		at++;
	}
	return 0;
}

int kvm_msrs_put_deadline(struct kvm_vcpu *v, struct fail *why)
{
	const uint64_t *deadline = kvm_msr_saved(&v->s.msrs, MSR_TSC_DEADLINE);

	if (!deadline || kvm_msr_set(v->fd, MSR_TSC_DEADLINE, *deadline))
		return 0;
	return msrs_refused(v, MSR_TSC_DEADLINE, *deadline, why);
}
