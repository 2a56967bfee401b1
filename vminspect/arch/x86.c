/* SPDX-License-Identifier: MIT */
#include "vminspect/arch/x86.h"

#include "vminspect/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const x86_gpr_names[X86_GPRS] = {
	"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp",
	"r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15",
};

void x86_gprs(const struct x86_regs_state *s, uint64_t out[X86_GPRS])
{
	const uint64_t v[X86_GPRS] = {
		s->rax, s->rbx, s->rcx, s->rdx, s->rsi, s->rdi, s->rsp, s->rbp,
		s->r8,  s->r9,  s->r10, s->r11, s->r12, s->r13, s->r14, s->r15,
	};

	memcpy(out, v, sizeof(v));
}

const char *const x86_seg_names[X86_SEGS] = {
	[X86_CS] = "cs", [X86_DS] = "ds", [X86_ES] = "es", [X86_FS] = "fs",
	[X86_GS] = "gs", [X86_SS] = "ss", [X86_TR] = "tr", [X86_LDT] = "ldt",
};

/* Names of single bits; what has none is left out. */
static void say_bits(char *out, size_t capacity, uint64_t v, const char *const *names, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (v >> i & 1 && names[i])
			show_word(out, capacity, "%s", names[i]);
}
#define SAY_BITS(out, capacity, v, names) \
	say_bits((out), (capacity), (v), (names), sizeof(names) / sizeof((names)[0]))

static void describe_rflags(uint64_t v, char *out, size_t capacity)
{
	static const char *const names[] = {
		[0] = "CF", [2] = "PF", [4] = "AF", [6] = "ZF", [7] = "SF", [8] = "TF", [9] = "IF",
		[10] = "DF", [11] = "OF", [14] = "NT", [16] = "RF", [17] = "VM", [18] = "AC",
		[19] = "VIF", [20] = "VIP", [21] = "ID",
	};

	SAY_BITS(out, capacity, v, names);
	if (v >> 12 & 3)
		show_word(out, capacity, "IOPL=%u", (unsigned)(v >> 12 & 3));
}

static void describe_cr0(uint64_t v, char *out, size_t capacity)
{
	static const char *const names[] = {
		[0] = "PE", [1] = "MP", [2] = "EM", [3] = "TS", [4] = "ET", [5] = "NE", [16] = "WP",
		[18] = "AM", [29] = "NW", [30] = "CD", [31] = "PG",
	};

	SAY_BITS(out, capacity, v, names);
}

static void describe_cr3(uint64_t v, char *out, size_t capacity)
{
	show_word(out, capacity, "root=0x%" PRIx64, v & ((UINT64_C(1) << 52) - 4096));
	if (v & 0xfff)
		show_word(out, capacity, "pcid=0x%" PRIx64, v & 0xfff);
}

static void describe_cr4(uint64_t v, char *out, size_t capacity)
{
	static const char *const names[] = {
		[0] = "VME", [1] = "PVI", [2] = "TSD", [3] = "DE", [4] = "PSE", [5] = "PAE",
		[6] = "MCE", [7] = "PGE", [8] = "PCE", [9] = "OSFXSR", [10] = "OSXMMEXCPT",
		[11] = "UMIP", [12] = "LA57", [13] = "VMXE", [14] = "SMXE", [16] = "FSGSBASE",
		[17] = "PCIDE", [18] = "OSXSAVE", [20] = "SMEP", [21] = "SMAP", [22] = "PKE",
		[23] = "CET", [24] = "PKS",
	};

	SAY_BITS(out, capacity, v, names);
}

static void describe_efer(uint64_t v, char *out, size_t capacity)
{
	static const char *const names[] = {
		[0] = "SCE", [8] = "LME", [10] = "LMA", [11] = "NX", [12] = "SVME", [13] = "LMSLE",
		[14] = "FFXSR", [15] = "TCE", [21] = "AUTOIBRS",
	};

	SAY_BITS(out, capacity, v, names);
}

static void describe_apic_base(uint64_t v, char *out, size_t capacity)
{
	static const char *const names[] = { [8] = "BSP", [10] = "x2APIC", [11] = "enabled" };

	SAY_BITS(out, capacity, v, names);
	show_word(out, capacity, "at=0x%" PRIx64, v & ((UINT64_C(1) << 52) - 4096));
}

static void describe_xcr0(uint64_t v, char *out, size_t capacity)
{
	static const char *const names[] = {
		[0] = "x87", [1] = "SSE", [2] = "AVX", [3] = "BNDREGS", [4] = "BNDCSR",
		[5] = "opmask", [6] = "ZMM_Hi256", [7] = "Hi16_ZMM", [9] = "PKRU",
		[17] = "XTILECFG", [18] = "XTILEDATA",
	};

	SAY_BITS(out, capacity, v, names);
}

static void describe_dr6(uint64_t v, char *out, size_t capacity)
{
	static const char *const names[] = { [0] = "B0", [1] = "B1", [2] = "B2", [3] = "B3",
					     [13] = "BD", [14] = "BS", [15] = "BT" };

	SAY_BITS(out, capacity, v, names);
}

static void describe_dr7(uint64_t v, char *out, size_t capacity)
{
	static const char *const names[] = {
		[0] = "L0", [1] = "G0", [2] = "L1", [3] = "G1", [4] = "L2", [5] = "G2", [6] = "L3",
		[7] = "G3", [8] = "LE", [9] = "GE", [13] = "GD",
	};

	SAY_BITS(out, capacity, v, names);
}

#define VALUE(name, from) \
	static uint64_t value_##name(const struct x86_cpu_state *s) { return s->from; }
VALUE(rflags, regs.rflags)
VALUE(cr0, sregs.cr0)
VALUE(cr2, sregs.cr2)
VALUE(cr3, sregs.cr3)
VALUE(cr4, sregs.cr4)
VALUE(cr8, sregs.cr8)
VALUE(efer, sregs.efer)
VALUE(apic_base, sregs.apic_base)
VALUE(xcr0, xsave.xcr0)
VALUE(dr0, debugregs.db[0])
VALUE(dr1, debugregs.db[1])
VALUE(dr2, debugregs.db[2])
VALUE(dr3, debugregs.db[3])
VALUE(dr6, debugregs.dr6)
VALUE(dr7, debugregs.dr7)
#undef VALUE

const struct x86_control x86_controls[] = {
	{ .name = "rflags",    .value = value_rflags,    .describe = describe_rflags },
	{ .name = "cr0",       .value = value_cr0,       .describe = describe_cr0 },
	{ .name = "cr2",       .value = value_cr2 },
	{ .name = "cr3",       .value = value_cr3,       .describe = describe_cr3 },
	{ .name = "cr4",       .value = value_cr4,       .describe = describe_cr4 },
	{ .name = "cr8",       .value = value_cr8 },
	{ .name = "efer",      .value = value_efer,      .describe = describe_efer },
	{ .name = "apic_base", .value = value_apic_base, .describe = describe_apic_base },
	{ .name = "xcr0",      .value = value_xcr0,      .describe = describe_xcr0 },
	{ .name = "dr0",       .value = value_dr0 },
	{ .name = "dr1",       .value = value_dr1 },
	{ .name = "dr2",       .value = value_dr2 },
	{ .name = "dr3",       .value = value_dr3 },
	{ .name = "dr6",       .value = value_dr6,       .describe = describe_dr6 },
	{ .name = "dr7",       .value = value_dr7,       .describe = describe_dr7 },
	{ .name = NULL },
};

const char *x86_mp_state_name(uint32_t mp_state)
{
	static const char *const names[] = { "runnable", "never started", "INIT received", "halted",
					     "SIPI received" };

	return mp_state < sizeof(names) / sizeof(names[0]) ? names[mp_state] : "unknown";
}

void x86_describe_mode(const struct x86_cpu_state *s, char *out, size_t capacity)
{
	const uint32_t    cs   = s->sregs.seg_attr[X86_CS];
	const char       *mode;

	if (!(s->sregs.cr0 & 1))                       /* PE */
		mode = "real mode";
	else if (!(s->sregs.efer >> 10 & 1))           /* LMA; then CS.D */
		mode = cs >> 14 & 1 ? "32-bit mode" : "16-bit mode";
	else                                           /* CS.L */
		mode = cs >> 13 & 1 ? "64-bit mode" : "compatibility mode";

	/* SS has the ring: its DPL is the CPL (SDM 3, 24.4.1). */
	show_word(out, capacity, "%s, ring %u, %s", mode,
		  (unsigned)(s->sregs.seg_attr[X86_SS] >> 5 & 3),
		  x86_mp_state_name(s->events.mp_state));
}

void x86_describe_segment(uint32_t attr, char *out, size_t capacity)
{
	if (attr >> 16 & 1) {
		show_word(out, capacity, "unusable");
		return;
	}
	if (!(attr >> 4 & 1)) {
		static const char *const system[16] = { [1] = "TSS16", [2] = "LDT",
							[3] = "busy TSS16", [9] = "TSS",
							[11] = "busy TSS" };

		show_word(out, capacity, "%s", system[attr & 15] ? system[attr & 15] : "system");
	} else if (attr >> 3 & 1) {
		show_word(out, capacity, "code%s",
			  attr >> 13 & 1 ? "64" : attr >> 14 & 1 ? "32" : "16");
	} else {
		show_word(out, capacity, "data%s", attr >> 1 & 1 ? "" : " read-only");
	}
	show_word(out, capacity, "DPL=%u", attr >> 5 & 3);
	if (!(attr >> 7 & 1))
		show_word(out, capacity, "absent");
}

void x86_describe_lapic(uint32_t offset, uint32_t v, char *out, size_t capacity)
{
	static const char *const timers[]     = { "one-shot", "periodic", "deadline", "reserved" };
	static const char *const deliveries[] = { "fixed", "lowest", "SMI", "reserved", "NMI",
						  "INIT", "SIPI", "ExtINT" };
	const bool               lvt          = (offset >= 0x320 && offset <= 0x370) ||
						offset == 0x2f0;

	if (offset >= 0x100 && offset < 0x280) {      /* ISR, TMR, IRR: a bit a vector */
		for (unsigned i = 0; i < 32; i++)
			if (v >> i & 1)
				show_word(out, capacity, "0x%02x", (offset & 0x70) * 2 + i);
	} else if (offset == 0xf0) {
		show_word(out, capacity, "vector=0x%02x%s", v & 0xff, v >> 8 & 1 ? " enabled" : "");
	} else if (lvt) {
		show_word(out, capacity, "vector=0x%02x", v & 0xff);
		if (offset == 0x320)
			show_word(out, capacity, "%s", timers[v >> 17 & 3]);
		else if (offset != 0x370)
			show_word(out, capacity, "%s", deliveries[v >> 8 & 7]);
		if (v >> 16 & 1)
			show_word(out, capacity, "masked");
	}
}

void x86_describe_events(const struct x86_events_state *s, char *out, size_t capacity)
{
	if (s->exception_injected || s->exception_pending)
		show_word(out, capacity, "exception %u %s%s", s->exception_nr,
			  s->exception_injected ? "injected" : "pending",
			  s->exception_has_error ? " (error code)" : "");
	if (s->interrupt_injected)
		show_word(out, capacity, "interrupt 0x%02x injected", s->interrupt_nr);
	if (s->interrupt_shadow)
		show_word(out, capacity, "shadow=%s", s->interrupt_shadow == 1 ? "mov-ss" : "sti");
	if (s->nmi_injected || s->nmi_pending)
		show_word(out, capacity, "NMI %s", s->nmi_injected ? "injected" : "pending");
	if (s->nmi_masked)
		show_word(out, capacity, "NMI masked");
	if (s->smm)
		show_word(out, capacity, "in SMM");
	if (s->smm_pending)
		show_word(out, capacity, "SMI pending");
	if (s->triple_fault_pending)
		show_word(out, capacity, "triple fault pending");
}
