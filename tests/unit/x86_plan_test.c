/* SPDX-License-Identifier: MIT */
/* What --cpu makes of a host, and what a recorded machine asks of one: kvm_plan against a KVM
 * that is made up here. */
#include "tests/unit/tap.h"

#include "vmrun/accel/kvm/kvm.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the host ---- */

static const struct kvm_cpuid_entry2 level3[] = {
	{ .function = 0, .eax = 0x1f, .ebx = 0x756e6547, .ecx = 0x6c65746e, .edx = 0x49656e69 },
	/* all there is but monitor (3); vmx (5) and osxsave (27) are to be taken away */
	{ .function = 1, .eax = 0x000806f8, .ebx = 0x05100800,
	  .ecx = 0xfffaf2a3 | 1u << 12 | 1u << 9, .edx = 0x1f8bfbff },
	{ .function = 4, .index = 0, .flags = 1, .eax = 0xfc004121 },
	{ .function = 4, .index = 3, .flags = 1, .eax = 0xfc1fc163 },
	{ .function = 5, .eax = 64 },
	{ .function = 7, .index = 0, .flags = 1, .eax = 2, .ebx = 0x021627ab | 1u << 14,
	  .ecx = 0x8c, .edx = 0xac000400 },
	{ .function = 0xa, .eax = 0x07300805 },
	{ .function = 0xd, .index = 0, .flags = 1, .eax = 0x21f, .ebx = 832, .ecx = 2696 },
	{ .function = 0xd, .index = 1, .flags = 1, .eax = 0xf, .ebx = 900, .ecx = 0x1900 },
	{ .function = 0xd, .index = 2, .flags = 1, .eax = 256, .ebx = 576 },
	{ .function = 0xd, .index = 3, .flags = 1, .eax = 64, .ebx = 960 },
	{ .function = 0xd, .index = 4, .flags = 1, .eax = 64, .ebx = 1024 },
	{ .function = 0xd, .index = 9, .flags = 1, .eax = 8, .ebx = 2688 },
	{ .function = 0xd, .index = 11, .flags = 1, .eax = 16, .ecx = 1 },
	{ .function = 0x1f, .flags = 1, .eax = 1, .ebx = 2, .ecx = 0x100 },
	{ .function = 0x40000000, .ebx = 0x4b4d564b, .ecx = 0x564b4d56, .edx = 0x4d },
	{ .function = 0x40000001, .eax = 0x0100fefb, .edx = 1 },
	{ .function = 0x80000000, .eax = 0x80000008 },
	{ .function = 0x80000001, .ecx = 0x121, .edx = 0x2c100800 },
	{ .function = 0x80000008, .eax = 0x302e },
};
#define NLEVEL3 (sizeof(level3) / sizeof(level3[0]))

static struct {
	struct kvm_cpuid_entry2 cpuid[64];
	uint32_t                ncpuid;
	uint32_t                msrs[64], nmsrs, no_msr;      /* listed; no_msr can't be read */
	uint64_t                khz;
	bool                    scales;
	int                     xsave;
	struct kvm_cpuid_entry2 set[64];                      /* by the last KVM_SET_CPUID2 */
	uint32_t                nset;
} host;

static void host_reset(void)
{
	static const uint32_t msrs[] = {
		0x10, 0x174, 0x11, 0x12, 0x6e0, 0x4b564d00, 0x4b564d01, 0xc0000081, 0x480, 0xc1,
	};

	memset(&host, 0, sizeof(host));
	memcpy(host.cpuid, level3, sizeof(level3));
	host.ncpuid = NLEVEL3;
	memcpy(host.msrs, msrs, sizeof(msrs));
	host.nmsrs = sizeof(msrs) / sizeof(msrs[0]);
	host.khz   = 2600000;
	host.xsave = 4096;
}

int kvm_caps_open(int *sys, struct kvm_caps *caps, struct fail *why)
{
	*caps = (struct kvm_caps){ .xsave_bytes = host.xsave, .tsc_control = host.scales };
	*sys  = open("/dev/null", O_RDWR | O_CLOEXEC);
	return *sys < 0 ? fail_sys(why, "/dev/null") : 0;
}

int kvm_call_n(int fd, unsigned long request, unsigned long arg, const char *what, struct fail *why)
{
	(void)fd;
	(void)why;
	(void)what;
	switch (request) {
	case KVM_CREATE_VM:
	case KVM_CREATE_VCPU:     return open("/dev/null", O_RDWR | O_CLOEXEC);
	case KVM_GET_TSC_KHZ:     return (int)host.khz;
	case KVM_SET_TSC_KHZ:     return host.scales || arg == host.khz ? 0 : -1;
	case KVM_CHECK_EXTENSION: return 1;
	}
	return 0;
}

int kvm_call(int fd, unsigned long request, void *arg, const char *what, struct fail *why)
{
	struct kvm_cpuid2   *c = arg;
	struct kvm_msr_list *l = arg;
	struct kvm_msrs     *m = arg;

	(void)fd;
	(void)what;
	(void)why;
	switch (request) {
	case KVM_GET_SUPPORTED_CPUID:
		memcpy(c->entries, host.cpuid, host.ncpuid * sizeof(host.cpuid[0]));
		c->nent = host.ncpuid;
		return 0;
	case KVM_SET_CPUID2:
		host.nset = c->nent;
		memcpy(host.set, c->entries, c->nent * sizeof(host.set[0]));
		return 0;
	case KVM_GET_MSR_INDEX_LIST:
		if (l->nmsrs < host.nmsrs) {
			l->nmsrs = host.nmsrs;
			errno    = E2BIG;
			return -1;
		}
		memcpy(l->indices, host.msrs, host.nmsrs * sizeof(host.msrs[0]));
		return 0;
	case KVM_GET_MSRS:
		for (uint32_t i = 0; i < m->nmsrs; i++)
			if (host.no_msr && m->entries[i].index == host.no_msr)
				return (int)i;
		return (int)m->nmsrs;
	}
	return -1;
}

/* ---- claims ---- */

static struct machine *planned(const char *cpu, uint32_t ncpus, struct fail *why)
{
	const struct accel_want want = { .cpu = cpu };
	struct machine         *m    = calloc(1, sizeof(*m));

	m->ncpus = ncpus;
	if (kvm_plan(m, &want, why)) {
		free(m);
		return NULL;
	}
	return m;
}

static bool bit(struct machine *m, uint32_t leaf, uint32_t index, enum x86_reg reg, unsigned n)
{
	struct machine_cpuid *e = kvm_cpuid_find(m, leaf, index);

	return e && *kvm_cpuid_reg(e, reg) >> n & 1;
}

static bool said(const struct fail *why, enum fail_kind kind, const char *what)
{
	if (why->kind == kind && strcmp(why->what, what) == 0)
		return true;
	printf("# kind %d: %s\n", why->kind, why->what);
	return false;
}

static bool refused(const char *cpu, enum fail_kind kind, const char *what)
{
	struct fail     why = { 0 };
	struct machine *m   = planned(cpu, 1, &why);

	free(m);
	return !m && said(&why, kind, what);
}

static void test_host(void)
{
	struct fail     why = { 0 };
	struct machine *m;

	host_reset();
	m = planned(NULL, 1, &why);
	if (!m) {
		printf("Bail out! %s\n", why.what);
		exit(1);
	}
	ok(strcmp(m->cpu_model, "host") == 0 && m->timebase_hz == 2600000000 &&
	   m->xsave_bytes == 4096, "without --cpu it is the host's, with its TSC and XSAVE area");
	ok(bit(m, 7, 0, X86_EBX, 5) && bit(m, 1, 0, X86_ECX, 28) && bit(m, 1, 0, X86_ECX, 31),
	   "what the host has, and the hypervisor bit");
	ok(!bit(m, 1, 0, X86_ECX, 5) && !bit(m, 1, 0, X86_ECX, 27) && !bit(m, 7, 0, X86_EBX, 25) &&
	   !bit(m, 7, 0, X86_ECX, 7),
	   "no vmx, osxsave, processor trace, shadow stacks");
	ok(!kvm_cpuid_find(m, 0xa, 0) && !kvm_cpuid_find(m, 5, 0) && !kvm_cpuid_find(m, 0x1f, 0),
	   "no leaves of what is not offered");
	ok(!kvm_cpuid_find(m, 0xd, 11) && kvm_cpuid_find(m, 0xd, 1)->ecx == 0,
	   "no states that only XSAVES has");
	ok(kvm_cpuid_find(m, 0xd, 0)->eax == 0x21f && kvm_cpuid_find(m, 0xd, 0)->ecx == 2696,
	   "XSAVE's states and size are the host's");
	ok(bit(m, 0x40000001, 0, X86_EAX, 0) && !bit(m, 0x40000001, 0, X86_EAX, 15) &&
	   kvm_cpuid_find(m, 0x40000001, 0)->edx == 0,
	   "KVM's features without those that a VMM must serve, and no hints");
	ok(m->nmsrs == 16 + 1 + 2 + 8 + 1 + 128 + 5 && m->msrs[0] == 0x10 &&
	   m->msrs[m->nmsrs - 1] == 0xc0000081,
	   "MSRs: KVM's list without what is no state or not offered, MTRRs, machine-check banks; "
	   "sorted");
	free(m);
	host.no_msr = 0x2ff;
	m           = planned(NULL, 1, &why);
	ok(m && m->nmsrs == 16 + 1 + 2 + 8 + 128 + 5, "an MSR that can't be read is not saved");
	free(m);
}

static void test_levels(void)
{
	struct fail     why = { 0 };
	struct machine *m;

	host_reset();
	m = planned("x86-64-v2", 1, &why);
	ok(m && bit(m, 1, 0, X86_ECX, 20) && !bit(m, 1, 0, X86_ECX, 26) &&
	   !bit(m, 1, 0, X86_ECX, 28) && !bit(m, 7, 0, X86_EBX, 5) && !kvm_cpuid_find(m, 0xd, 0),
	   "x86-64-v2 has sse4_2, and neither xsave nor avx");
	free(m);
	m = planned("x86-64-v3", 1, &why);
	ok(m && bit(m, 7, 0, X86_EBX, 5) && bit(m, 1, 0, X86_ECX, 26) &&
	   kvm_cpuid_find(m, 0xd, 0)->eax == 7 && kvm_cpuid_find(m, 0xd, 0)->ecx == 832 &&
	   !kvm_cpuid_find(m, 0xd, 3) && !bit(m, 7, 0, X86_EBX, 0),
	   "x86-64-v3 has avx2, the states for it, and nothing that was not requested");
	free(m);
	ok(refused("x86-64-v4", FAIL_REFUSED,
		   "CPUID 7.0 EBX bit 16 (avx512f) not supported by this host, but required by "
		   "--cpu x86-64-v4"), "a level that the host has not is refused, the bit named");
	m = planned("x86-64-v2,+aes", 1, &why);
	ok(m && bit(m, 1, 0, X86_ECX, 25), "+aes adds a feature");
	free(m);
	m = planned("host,-avx", 1, &why);
	ok(m && !bit(m, 1, 0, X86_ECX, 28) && !bit(m, 7, 0, X86_EBX, 5) &&
	   !bit(m, 1, 0, X86_ECX, 12) && !(kvm_cpuid_find(m, 0xd, 0)->eax & 4),
	   "-avx takes avx2, fma and XSAVE's state along");
	free(m);
	ok(refused("host,+sha_ni", FAIL_REFUSED,
		   "CPUID 7.0 EBX bit 29 (sha_ni) not supported by this host, but required by "
		   "--cpu host,+sha_ni"),
		   "a feature that the host has not is refused, the bit named");
	ok(refused("host,+warp", FAIL_USAGE,
		   "--cpu: unknown feature 'warp' (valid: names of /proc/cpuinfo)"),
	   "an unknown feature is refused");
	ok(refused("pentium", FAIL_USAGE,
		   "--cpu: unknown model 'pentium' (valid: host, x86-64-v1 to x86-64-v4)"),
	   "an unknown model is refused");
	ok(refused("host,aes", FAIL_USAGE,
		   "--cpu host,aes: invalid value 'aes' (valid: +FEATURE, -FEATURE)"),
	   "a feature without its sign is refused");
}

static void test_topology(void)
{
	struct fail           why = { 0 };
	struct machine       *m;
	struct machine_cpuid  e;

	host_reset();
	m = planned(NULL, 6, &why);
	ok(m && (kvm_cpuid_find(m, 1, 0)->ebx >> 16) == 8 && bit(m, 1, 0, X86_EDX, 28),
	   "6 CPUs: 8 ids, ht");
	ok(m && kvm_cpuid_find(m, 0xb, 1)->eax == 3 && kvm_cpuid_find(m, 0xb, 1)->ebx == 6 &&
	   kvm_cpuid_find(m, 0xb, 0)->ebx == 1, "leaf 0xb: a thread a core, 6 cores");
	ok(m && kvm_cpuid_find(m, 4, 0)->eax == (0x121 | 7u << 26) &&
	   kvm_cpuid_find(m, 4, 3)->eax == (0x163 | 7u << 14 | 7u << 26),
	   "leaf 4: the third cache is shared by all");
	e = *kvm_cpuid_find(m, 1, 0);
	kvm_cpuid_apic_id(&e, 5);
	ok(e.ebx >> 24 == 5, "each vCPU's APIC id is its number");
	free(m);
	m = planned(NULL, 1, &why);
	ok(m && !bit(m, 1, 0, X86_EDX, 28) && (kvm_cpuid_find(m, 1, 0)->ebx >> 16) == 1,
	   "a single CPU has no ht");
	free(m);
}

static bool again(struct machine *m, bool force, const char *what)
{
	const struct accel_want want = { .force_tsc = force };
	struct fail             why  = { 0 };
	int                     rc   = kvm_plan(m, &want, &why);

	return what ? rc == -1 && said(&why, FAIL_REFUSED, what) : rc == 0;
}

static void test_recorded(void)
{
	struct fail           why = { 0 };
	const struct accel_want other = { .cpu = "x86-64-v2" };
	struct machine       *m;

	host_reset();
	m = planned(NULL, 2, &why);
	ok(again(m, false, NULL), "a machine continues on the host where it was started");
	ok(kvm_plan(m, &other, &why) == -1 &&
	   said(&why, FAIL_REFUSED, "--cpu differs: the VM was started with host, got x86-64-v2"),
	   "another --cpu is refused");
	host.cpuid[5].ebx &= ~(1u << 5);
	ok(again(m, false,
		 "CPUID 7.0 EBX bit 5 (avx2) not supported by this host, but used by the VM"),
	   "a host without a feature is refused, the bit named");
	host_reset();
	host.cpuid[0].ebx = 0x68747541;
	ok(again(m, false,
		 "CPU vendor differs from the host on which the VM was started (CPUID 0)"),
	   "another vendor is refused");
	host_reset();
	host.cpuid[12].ebx = 2432;
	ok(again(m, false, "CPUID d.9: offset of XSAVE state 9 differs on this host"),
	   "XSAVE's states must lie where they did");
	host_reset();
	host.cpuid[19].eax = 0x3027;
	ok(again(m, false,
		 "CPUID 80000008 EAX: physical address width differs: the VM has 46 bits, this "
		 "host has 39"), "shorter physical addresses are refused");
	host_reset();
	m->xsave_bytes = 8192;
	ok(again(m, false, "XSAVE area size differs: the VM has 8192 bytes, this host has 4096"),
	   "a smaller XSAVE area is refused");
	m->xsave_bytes = 4096;
	host.no_msr    = 0x174;
	ok(again(m, false,
		 "MSR 0x174 (IA32_SYSENTER_CS) not supported by this host, but used by the VM"),
	   "a missing MSR is refused by name");
	host_reset();
	host.khz = 3000000;
	ok(again(m, false,
		 "TSC frequency differs: the VM has 2600000 kHz, this host has 3000000 kHz without "
		 "TSC scaling; use --force-tsc to ignore"), "another TSC is refused, both named");
	ok(again(m, true, NULL), "--force-tsc takes it");
	host.scales = true;
	ok(again(m, false, NULL), "a host that scales the TSC takes it");
	host_reset();
	host.khz = 2600400;
	ok(again(m, false, NULL), "what two calibrations differ by is no difference");
	host_reset();
	host.cpuid[5].ebx |= 1u << 29;
	ok(again(m, false, NULL), "a host that has more takes it");
	free(m);
}

int main(void)
{
	test_host();
	test_levels();
	test_topology();
	test_recorded();
	return done_testing();
}
