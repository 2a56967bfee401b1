/* SPDX-License-Identifier: MIT */
#include "vminspect/arch/riscv.h"

#include "vminspect/show.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *const riscv_x_names[32] = {
	"zero", "ra", "sp", "gp", "tp",  "t0",  "t1", "t2",
	"s0",   "s1", "a0", "a1", "a2",  "a3",  "a4", "a5",
	"a6",   "a7", "s2", "s3", "s4",  "s5",  "s6", "s7",
	"s8",   "s9", "s10", "s11", "t3", "t4", "t5", "t6",
};

const char *const riscv_f_names[32] = {
	"ft0", "ft1", "ft2",  "ft3",  "ft4", "ft5", "ft6",  "ft7",
	"fs0", "fs1", "fa0",  "fa1",  "fa2", "fa3", "fa4",  "fa5",
	"fa6", "fa7", "fs2",  "fs3",  "fs4", "fs5", "fs6",  "fs7",
	"fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
};

static void describe_sstatus(uint64_t v, char *out, size_t capacity)
{
	static const char *const fs[] = { "off", "initial", "clean", "dirty" };

	if (v & SSTATUS_SIE)
		show_word(out, capacity, "SIE");
	if (v & SSTATUS_SPIE)
		show_word(out, capacity, "SPIE");
	show_word(out, capacity, "SPP=%s", v & SSTATUS_SPP ? "S" : "U");
	show_word(out, capacity, "FS=%s", fs[v >> 13 & 3]);
	if (v & SSTATUS_SUM)
		show_word(out, capacity, "SUM");
	if (v & SSTATUS_MXR)
		show_word(out, capacity, "MXR");
}

static void describe_interrupts(uint64_t v, char *out, size_t capacity)
{
	if (v & 1u << 1)
		show_word(out, capacity, "software");
	if (v & 1u << 5)
		show_word(out, capacity, "timer");
	if (v & 1u << 9)
		show_word(out, capacity, "external");
}

static void describe_scause(uint64_t v, char *out, size_t capacity)
{
	/* Privileged 1.12, table 4.2. */
	static const char *const interrupts[] =
		{ [1] = "software interrupt", [5] = "timer interrupt", [9] = "external interrupt" };
	static const char *const exceptions[] = {
		[0] = "instruction address misaligned", [1] = "instruction access fault",
		[2] = "illegal instruction", [3] = "breakpoint", [4] = "load address misaligned",
		[5] = "load access fault", [6] = "store address misaligned",
		[7] = "store access fault", [8] = "call from user mode",
		[9] = "call from supervisor mode", [12] = "instruction page fault",
		[13] = "load page fault", [15] = "store page fault",
	};
	uint64_t    code = v & INT64_MAX;
	const char *name = NULL;

	if (v >> 63 && code < sizeof(interrupts) / sizeof(interrupts[0]))
		name = interrupts[code];
	else if (!(v >> 63) && code < sizeof(exceptions) / sizeof(exceptions[0]))
		name = exceptions[code];
	if (name)
		show_word(out, capacity, "%s", name);
	else
		show_word(out, capacity, "%s %" PRIu64, v >> 63 ? "interrupt" : "exception", code);
}

static void describe_satp(uint64_t v, char *out, size_t capacity)
{
	static const char *const modes[16] = { [0] = "bare", [8] = "Sv39", [9] = "Sv48",
					       [10] = "Sv57" };
	const char              *mode      = modes[v >> 60];

	show_word(out, capacity, "%s", mode ? mode : "unknown mode");
	if (v >> 60)
		show_word(out, capacity, "asid=%" PRIu64 " root=0x%" PRIx64, v >> 44 & 0xffff,
			  (v & (((uint64_t)1 << 44) - 1)) << 12);
}

static void describe_stvec(uint64_t v, char *out, size_t capacity)
{
	show_word(out, capacity, "%s",
		  (v & 3) == 0 ? "direct" : (v & 3) == 1 ? "vectored" : "unknown mode");
}

static void describe_scounteren(uint64_t v, char *out, size_t capacity)
{
	if (v & 1)
		show_word(out, capacity, "cycle");
	if (v & 2)
		show_word(out, capacity, "time");
	if (v & 4)
		show_word(out, capacity, "instret");
}

static void describe_senvcfg(uint64_t v, char *out, size_t capacity)
{
	if (v & 1)
		show_word(out, capacity, "FIOM");
}

static void describe_stimecmp(uint64_t v, char *out, size_t capacity)
{
	if (v == UINT64_MAX)
		show_word(out, capacity, "never");
}

static void describe_fcsr(uint64_t v, char *out, size_t capacity)
{
	/* Unprivileged, 11.2: bits NX UF OF DZ NV, rounding mode above them. */
	static const char *const rounding[] = { "nearest-even", "to-zero", "down", "up",
						"nearest-away", "reserved", "reserved", "dynamic" };
	static const char *const flags[]    = { "NX", "UF", "OF", "DZ", "NV" };

	show_word(out, capacity, "%s", rounding[v >> 5 & 7]);
	for (unsigned i = 0; i < 5; i++)
		if (v >> i & 1)
			show_word(out, capacity, "%s", flags[i]);
}

#define VALUE(n) static uint64_t value_##n(const struct hart_state *s) { return s->n; }
VALUE(sstatus)
VALUE(sie)
VALUE(stvec)
VALUE(sscratch)
VALUE(sepc)
VALUE(scause)
VALUE(stval)
VALUE(satp)
VALUE(scounteren)
VALUE(senvcfg)
VALUE(stimecmp)
VALUE(instret)
#undef VALUE

/* What of sip is the hart's own; timer and external follow from stimecmp and the interrupt
 * controller. */
static uint64_t value_sip(const struct hart_state *s)
{
	return (uint64_t)s->ssip << 1;
}

static uint64_t value_fcsr(const struct hart_state *s)
{
	return (uint64_t)s->frm << 5 | s->fflags;
}

const struct riscv_csr riscv_csrs[] = {
	{ .name = "sstatus",    .value = value_sstatus,    .describe = describe_sstatus },
	{ .name = "sie",        .value = value_sie,        .describe = describe_interrupts },
	{ .name = "sip",        .value = value_sip,        .describe = describe_interrupts },
	{ .name = "stvec",      .value = value_stvec,      .describe = describe_stvec },
	{ .name = "sscratch",   .value = value_sscratch },
	{ .name = "sepc",       .value = value_sepc },
	{ .name = "scause",     .value = value_scause,     .describe = describe_scause },
	{ .name = "stval",      .value = value_stval },
	{ .name = "satp",       .value = value_satp,       .describe = describe_satp },
	{ .name = "scounteren", .value = value_scounteren, .describe = describe_scounteren },
	{ .name = "senvcfg",    .value = value_senvcfg,    .describe = describe_senvcfg },
	{ .name = "stimecmp",   .value = value_stimecmp,   .describe = describe_stimecmp },
	{ .name = "instret",    .value = value_instret },
	{ .name = "fcsr",       .value = value_fcsr,       .describe = describe_fcsr },
	{ .name = NULL },
};

const char *riscv_hsm_name(uint8_t hsm)
{
	switch (hsm) {
	case HSM_STARTED:       return "started";
	case HSM_STOPPED:       return "stopped";
	case HSM_START_PENDING: return "start-pending";
	case HSM_SUSPENDED:     return "suspended";
	}
	return "unknown";
}
