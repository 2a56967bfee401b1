/* SPDX-License-Identifier: MIT */
#include "format/state/x86_names.h"

#include <inttypes.h>
#include <stdio.h>

const char *const x86_reg_names[X86_REGS] = {
	[X86_EAX] = "EAX",
	[X86_EBX] = "EBX",
	[X86_ECX] = "ECX",
	[X86_EDX] = "EDX",
};

const char *x86_feature_name(uint32_t leaf, uint32_t index, enum x86_reg reg, unsigned bit)
{
	for (size_t i = 0; i < x86_nwords; i++)
		if (x86_words[i].leaf == leaf && x86_words[i].index == index &&
		    x86_words[i].reg == reg)
			return bit < 32 ? x86_words[i].name[bit] : NULL;
	return NULL;
}

const char *x86_bit_text(uint32_t leaf, uint32_t index, enum x86_reg reg, unsigned bit,
			 char out[X86_BIT_TEXT])
{
	const char *name = x86_feature_name(leaf, index, reg, bit);
	const char *open = name ? " (" : "", *close = name ? ")" : "";

	snprintf(out, X86_BIT_TEXT, "CPUID %" PRIx32 ".%" PRIx32 " %s bit %u%s%s%s", leaf, index,
		 x86_reg_names[reg], bit, open, name ? name : "", close);
	return out;
}

/* Intel SDM volume 4; AMD APM volume 2, appendix A; Documentation/virt/kvm/x86/msr.rst. */
static const struct {
	uint32_t    msr;
	const char *name;
} msrs[] = {
	{ 0x10, "IA32_TSC" },
	{ 0x1b, "IA32_APIC_BASE" },
	{ 0x34, "SMI_COUNT" },
	{ 0x3a, "IA32_FEATURE_CONTROL" },
	{ 0x3b, "IA32_TSC_ADJUST" },
	{ 0x48, "IA32_SPEC_CTRL" },
	{ 0x8b, "IA32_BIOS_SIGN_ID" },
	{ 0xce, "PLATFORM_INFO" },
	{ 0xe1, "IA32_UMWAIT_CONTROL" },
	{ 0xfe, "IA32_MTRRCAP" },
	{ 0x10a, "IA32_ARCH_CAPABILITIES" },
	{ 0x122, "IA32_TSX_CTRL" },
	{ 0x140, "MISC_FEATURES_ENABLES" },
	{ 0x174, "IA32_SYSENTER_CS" },
	{ 0x175, "IA32_SYSENTER_ESP" },
	{ 0x176, "IA32_SYSENTER_EIP" },
	{ 0x179, "IA32_MCG_CAP" },
	{ 0x17a, "IA32_MCG_STATUS" },
	{ 0x17b, "IA32_MCG_CTL" },
	{ 0x1a0, "IA32_MISC_ENABLE" },
	{ 0x1c4, "IA32_XFD" },
	{ 0x1c5, "IA32_XFD_ERR" },
	{ 0x1d9, "IA32_DEBUGCTL" },
	{ 0x1db, "LAST_BRANCH_FROM_IP" },
	{ 0x1dc, "LAST_BRANCH_TO_IP" },
	{ 0x1dd, "LAST_EXCEPTION_FROM_IP" },
	{ 0x1de, "LAST_EXCEPTION_TO_IP" },
	{ 0x1fc, "POWER_CTL" },
	{ 0x250, "IA32_MTRR_FIX64K_00000" },
	{ 0x258, "IA32_MTRR_FIX16K_80000" },
	{ 0x259, "IA32_MTRR_FIX16K_A0000" },
	{ 0x268, "IA32_MTRR_FIX4K_C0000" },
	{ 0x269, "IA32_MTRR_FIX4K_C8000" },
	{ 0x26a, "IA32_MTRR_FIX4K_D0000" },
	{ 0x26b, "IA32_MTRR_FIX4K_D8000" },
	{ 0x26c, "IA32_MTRR_FIX4K_E0000" },
	{ 0x26d, "IA32_MTRR_FIX4K_E8000" },
	{ 0x26e, "IA32_MTRR_FIX4K_F0000" },
	{ 0x26f, "IA32_MTRR_FIX4K_F8000" },
	{ 0x277, "IA32_PAT" },
	{ 0x2ff, "IA32_MTRR_DEF_TYPE" },
	{ 0x345, "IA32_PERF_CAPABILITIES" },
	{ 0x4d0, "IA32_MCG_EXT_CTL" },
	{ 0x6e0, "IA32_TSC_DEADLINE" },
	{ 0xd90, "IA32_BNDCFGS" },
	{ 0xda0, "IA32_XSS" },
	{ 0x4b564d00, "KVM_WALL_CLOCK_NEW" },
	{ 0x4b564d01, "KVM_SYSTEM_TIME_NEW" },
	{ 0x4b564d02, "KVM_ASYNC_PF_EN" },
	{ 0x4b564d03, "KVM_STEAL_TIME" },
	{ 0x4b564d04, "KVM_PV_EOI_EN" },
	{ 0x4b564d05, "KVM_POLL_CONTROL" },
	{ 0x4b564d06, "KVM_ASYNC_PF_INT" },
	{ 0x4b564d07, "KVM_ASYNC_PF_ACK" },
	{ 0x4b564d08, "KVM_MIGRATION_CONTROL" },
	{ 0xc0000080, "EFER" },
	{ 0xc0000081, "STAR" },
	{ 0xc0000082, "LSTAR" },
	{ 0xc0000083, "CSTAR" },
	{ 0xc0000084, "SFMASK" },
	{ 0xc0000100, "FS_BASE" },
	{ 0xc0000101, "GS_BASE" },
	{ 0xc0000102, "KERNEL_GS_BASE" },
	{ 0xc0000103, "TSC_AUX" },
	{ 0xc0000104, "TSC_RATIO" },
	{ 0xc0010010, "SYSCFG" },
	{ 0xc0010015, "HWCR" },
	{ 0xc001001f, "NB_CFG" },
	{ 0xc0010055, "INT_PENDING_MSG" },
	{ 0xc0010117, "VM_HSAVE_PA" },
	{ 0xc001011f, "VIRT_SPEC_CTRL" },
	{ 0xc0011029, "DE_CFG" },
};

/* MTRRs and machine-check banks are named by number: no table as long as that. */
static const char *msr_family(uint32_t msr)
{
	static const char *const mtrr[] = {
		"IA32_MTRR_PHYSBASE0", "IA32_MTRR_PHYSMASK0", "IA32_MTRR_PHYSBASE1",
		"IA32_MTRR_PHYSMASK1", "IA32_MTRR_PHYSBASE2", "IA32_MTRR_PHYSMASK2",
		"IA32_MTRR_PHYSBASE3", "IA32_MTRR_PHYSMASK3", "IA32_MTRR_PHYSBASE4",
		"IA32_MTRR_PHYSMASK4", "IA32_MTRR_PHYSBASE5", "IA32_MTRR_PHYSMASK5",
		"IA32_MTRR_PHYSBASE6", "IA32_MTRR_PHYSMASK6", "IA32_MTRR_PHYSBASE7",
		"IA32_MTRR_PHYSMASK7",
	};
	static const char *const bank[] = { "IA32_MCi_CTL", "IA32_MCi_STATUS", "IA32_MCi_ADDR",
					    "IA32_MCi_MISC" };

	if (msr >= 0x200 && msr < 0x210)
		return mtrr[msr - 0x200];
	if (msr >= 0x400 && msr < 0x480)
		return bank[msr % 4];
	return NULL;
}

const char *x86_msr_name(uint32_t msr)
{
	for (size_t i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
		if (msrs[i].msr == msr)
			return msrs[i].name;
	return msr_family(msr);
}

const char *x86_msr_text(uint32_t msr, char out[X86_MSR_TEXT])
{
	const char *name = x86_msr_name(msr);

	if (name)
		snprintf(out, X86_MSR_TEXT, "MSR 0x%" PRIx32 " (%s)", msr, name);
	else
		snprintf(out, X86_MSR_TEXT, "MSR 0x%" PRIx32, msr);
	return out;
}

/* SDM 3, table 11-1. */
static const char *const lapic[64] = {
	[0x02] = "ID", [0x03] = "VERSION", [0x08] = "TPR", [0x09] = "APR", [0x0a] = "PPR",
	[0x0b] = "EOI", [0x0c] = "RRD", [0x0d] = "LDR", [0x0e] = "DFR", [0x0f] = "SVR",
	[0x10] = "ISR0", [0x11] = "ISR1", [0x12] = "ISR2", [0x13] = "ISR3", [0x14] = "ISR4",
	[0x15] = "ISR5", [0x16] = "ISR6", [0x17] = "ISR7", [0x18] = "TMR0", [0x19] = "TMR1",
	[0x1a] = "TMR2", [0x1b] = "TMR3", [0x1c] = "TMR4", [0x1d] = "TMR5", [0x1e] = "TMR6",
	[0x1f] = "TMR7", [0x20] = "IRR0", [0x21] = "IRR1", [0x22] = "IRR2", [0x23] = "IRR3",
	[0x24] = "IRR4", [0x25] = "IRR5", [0x26] = "IRR6", [0x27] = "IRR7", [0x28] = "ESR",
	[0x2f] = "LVT_CMCI", [0x30] = "ICR_LOW", [0x31] = "ICR_HIGH", [0x32] = "LVT_TIMER",
	[0x33] = "LVT_THERMAL", [0x34] = "LVT_PERF", [0x35] = "LVT_LINT0", [0x36] = "LVT_LINT1",
	[0x37] = "LVT_ERROR", [0x38] = "TIMER_INITIAL", [0x39] = "TIMER_CURRENT",
	[0x3e] = "TIMER_DIVIDE",
};

const char *x86_lapic_name(uint32_t offset)
{
	return offset % 16 == 0 && offset / 16 < 64 ? lapic[offset / 16] : NULL;
}
