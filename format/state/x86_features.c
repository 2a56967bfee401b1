/* SPDX-License-Identifier: MIT */
#include "format/state/x86_names.h"

/* Intel SDM 2A, CPUID; AMD APM 3, appendix E; the kernel's arch/x86/include/asm/cpufeatures.h for
 * the names. A word is here when its bits are features; a bit without a name is compared all the
 * same. OSXSAVE and OSPKE are no features: they follow CR4. */
const struct x86_word x86_words[] = {
	{ .leaf = 1, .reg = X86_ECX, .name = {
		[0] = "pni", [1] = "pclmulqdq", [2] = "dtes64", [3] = "monitor", [4] = "ds_cpl",
		[5] = "vmx", [6] = "smx", [7] = "est", [8] = "tm2", [9] = "ssse3", [10] = "cid",
		[11] = "sdbg", [12] = "fma", [13] = "cx16", [14] = "xtpr", [15] = "pdcm",
		[17] = "pcid", [18] = "dca", [19] = "sse4_1", [20] = "sse4_2", [21] = "x2apic",
		[22] = "movbe", [23] = "popcnt", [24] = "tsc_deadline_timer", [25] = "aes",
		[26] = "xsave", [28] = "avx", [29] = "f16c", [30] = "rdrand", [31] = "hypervisor",
	} },
	{ .leaf = 1, .reg = X86_EDX, .name = {
		[0] = "fpu", [1] = "vme", [2] = "de", [3] = "pse", [4] = "tsc", [5] = "msr",
		[6] = "pae", [7] = "mce", [8] = "cx8", [9] = "apic", [11] = "sep", [12] = "mtrr",
		[13] = "pge", [14] = "mca", [15] = "cmov", [16] = "pat", [17] = "pse36",
		[18] = "pn", [19] = "clflush", [21] = "dts", [22] = "acpi", [23] = "mmx",
		[24] = "fxsr", [25] = "sse", [26] = "sse2", [27] = "ss", [28] = "ht", [29] = "tm",
		[30] = "ia64", [31] = "pbe",
	} },
	{ .leaf = 6, .reg = X86_EAX, .name = {
		[0] = "dtherm", [1] = "ida", [2] = "arat", [4] = "pln", [6] = "pts", [7] = "hwp",
		[8] = "hwp_notify", [9] = "hwp_act_window", [10] = "hwp_epp", [11] = "hwp_pkg_req",
		[19] = "hfi",
	} },
	{ .leaf = 7, .reg = X86_EBX, .name = {
		[0] = "fsgsbase", [1] = "tsc_adjust", [2] = "sgx", [3] = "bmi1", [4] = "hle",
		[5] = "avx2", [6] = "fdp_excptn_only", [7] = "smep", [8] = "bmi2", [9] = "erms",
		[10] = "invpcid", [11] = "rtm", [12] = "cqm", [13] = "zero_fcs_fds", [14] = "mpx",
		[15] = "rdt_a", [16] = "avx512f", [17] = "avx512dq", [18] = "rdseed", [19] = "adx",
		[20] = "smap", [21] = "avx512ifma", [23] = "clflushopt", [24] = "clwb",
		[25] = "intel_pt", [26] = "avx512pf", [27] = "avx512er", [28] = "avx512cd",
		[29] = "sha_ni", [30] = "avx512bw", [31] = "avx512vl",
	} },
	{ .leaf = 7, .reg = X86_ECX, .name = {
		[0] = "prefetchwt1", [1] = "avx512vbmi", [2] = "umip", [3] = "pku", [5] = "waitpkg",
		[6] = "avx512_vbmi2", [7] = "shstk", [8] = "gfni", [9] = "vaes",
		[10] = "vpclmulqdq", [11] = "avx512_vnni", [12] = "avx512_bitalg", [13] = "tme",
		[14] = "avx512_vpopcntdq", [16] = "la57", [22] = "rdpid", [24] = "bus_lock_detect",
		[25] = "cldemote", [27] = "movdiri", [28] = "movdir64b", [29] = "enqcmd",
		[30] = "sgx_lc", [31] = "pks",
	} },
	{ .leaf = 7, .reg = X86_EDX, .name = {
		[2] = "avx512_4vnniw", [3] = "avx512_4fmaps", [4] = "fsrm",
		[8] = "avx512_vp2intersect", [9] = "srbds_ctrl", [10] = "md_clear",
		[11] = "rtm_always_abort", [13] = "tsx_force_abort", [14] = "serialize",
		[15] = "hybrid_cpu", [16] = "tsxldtrk", [18] = "pconfig", [19] = "arch_lbr",
		[20] = "ibt", [22] = "amx_bf16", [23] = "avx512_fp16", [24] = "amx_tile",
		[25] = "amx_int8", [26] = "spec_ctrl", [27] = "intel_stibp", [28] = "flush_l1d",
		[29] = "arch_capabilities", [30] = "core_capabilities", [31] = "spec_ctrl_ssbd",
	} },
	{ .leaf = 7, .index = 1, .reg = X86_EAX, .name = {
		[0] = "sha512", [1] = "sm3", [2] = "sm4", [4] = "avx_vnni", [5] = "avx512_bf16",
		[6] = "lass", [7] = "cmpccxadd", [10] = "fzrm", [11] = "fsrs", [12] = "fsrc",
		[17] = "fred", [18] = "lkgs", [21] = "amx_fp16", [23] = "avx_ifma", [26] = "lam",
	} },
	{ .leaf = 7, .index = 1, .reg = X86_EDX, .name = {
		[4] = "avx_vnni_int8", [5] = "avx_ne_convert", [8] = "amx_complex",
		[10] = "avx_vnni_int16", [14] = "prefetchiti", [18] = "cet_sss", [19] = "avx10",
	} },
	{ .leaf = 7, .index = 2, .reg = X86_EDX, .name = {
		[0] = "intel_psfd", [1] = "ipred_ctrl", [2] = "rrsba_ctrl", [3] = "ddpd_u",
		[4] = "bhi_ctrl", [5] = "mcdt_no",
	} },
	/* 0xd.0: which states XSAVE has, as bits of XCR0. */
	{ .leaf = 0xd, .reg = X86_EAX, .name = {
		[0] = "x87", [1] = "SSE state", [2] = "AVX state", [3] = "BNDREGS", [4] = "BNDCSR",
		[5] = "opmask", [6] = "ZMM_Hi256", [7] = "Hi16_ZMM", [9] = "PKRU",
		[17] = "XTILECFG", [18] = "XTILEDATA",
	} },
	{ .leaf = 0xd, .reg = X86_EDX, .name = { NULL } },
	{ .leaf = 0xd, .index = 1, .reg = X86_EAX, .name = {
		[0] = "xsaveopt", [1] = "xsavec", [2] = "xgetbv1", [3] = "xsaves", [4] = "xfd",
	} },
	{ .leaf = 0xd, .index = 1, .reg = X86_ECX,
	  .name = { [8] = "PT", [11] = "CET_U", [12] = "CET_S" } },
	{ .leaf = 0x40000001, .reg = X86_EAX, .name = {
		[0] = "kvmclock", [1] = "kvm_nopiodelay", [2] = "kvm_mmu", [3] = "kvmclock2",
		[4] = "kvm_asyncpf", [5] = "kvm_steal_time", [6] = "kvm_pv_eoi",
		[7] = "kvm_pv_unhalt", [9] = "kvm_pv_tlb_flush", [10] = "kvm_asyncpf_vmexit",
		[11] = "kvm_pv_ipi", [12] = "kvm_poll_control", [13] = "kvm_pv_sched_yield",
		[14] = "kvm_asyncpf_int", [15] = "kvm_msi_ext_dest_id",
		[16] = "kvm_hc_map_gpa_range", [17] = "kvm_migration_control",
		[24] = "kvmclock_stable",
	} },
	{ .leaf = 0x80000001, .reg = X86_ECX, .name = {
		[0] = "lahf_lm", [1] = "cmp_legacy", [2] = "svm", [3] = "extapic",
		[4] = "cr8_legacy", [5] = "abm", [6] = "sse4a", [7] = "misalignsse",
		[8] = "3dnowprefetch", [9] = "osvw", [10] = "ibs", [11] = "xop", [12] = "skinit",
		[13] = "wdt", [15] = "lwp", [16] = "fma4", [17] = "tce", [19] = "nodeid_msr",
		[21] = "tbm", [22] = "topoext", [23] = "perfctr_core", [24] = "perfctr_nb",
		[26] = "bpext", [27] = "ptsc", [28] = "perfctr_llc", [29] = "mwaitx",
	} },
	/* AMD repeats leaf 1's bits here; they have their names there. */
	{ .leaf = 0x80000001, .reg = X86_EDX, .name = {
		[11] = "syscall", [19] = "mp", [20] = "nx", [22] = "mmxext", [25] = "fxsr_opt",
		[26] = "pdpe1gb", [27] = "rdtscp", [29] = "lm", [30] = "3dnowext", [31] = "3dnow",
	} },
	{ .leaf = 0x80000007, .reg = X86_EBX, .name = { [0] = "overflow_recov", [1] = "succor",
							[3] = "smca" } },
	{ .leaf = 0x80000007, .reg = X86_EDX, .name = { [8] = "nonstop_tsc" } },
	{ .leaf = 0x80000008, .reg = X86_EBX, .name = {
		[0] = "clzero", [1] = "irperf", [2] = "xsaveerptr", [4] = "rdpru", [9] = "wbnoinvd",
		[12] = "amd_ibpb", [14] = "amd_ibrs", [15] = "amd_stibp",
		[17] = "amd_stibp_always_on", [23] = "amd_ppin", [24] = "amd_ssbd",
		[25] = "virt_ssbd", [26] = "amd_ssb_no", [27] = "cppc", [28] = "amd_psfd",
		[29] = "btc_no", [30] = "ibpb_ret", [31] = "brs",
	} },
	{ .leaf = 0x80000021, .reg = X86_EAX, .name = {
		[0] = "no_nested_data_bp", [2] = "lfence_rdtsc", [6] = "null_sel_clr_base",
		[8] = "autoibrs", [9] = "no_smm_ctl_msr", [10] = "amd_fsrs", [11] = "amd_fsrc",
		[17] = "prefetchi", [20] = "prefetch_ctl_msr", [27] = "sbpb", [28] = "ibpb_brtype",
		[29] = "srso_no",
	} },
};

const size_t x86_nwords = sizeof(x86_words) / sizeof(x86_words[0]);
