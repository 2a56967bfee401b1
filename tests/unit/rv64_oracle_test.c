/* SPDX-License-Identifier: MIT */
/* Random instructions of RV64IMAFDC, the same in qemu-riscv64 (rv64_oracle_runner.c) and here:
 * registers, fcsr and memory must come out alike. rv64_oracle_test [SEED [CASES]] */
#include "tests/unit/rv64_harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CTX      0x40200000u
#define SCRATCH  0x40300000u
#define CODE     0x40400000u
#define END      0x40100000u      /* wfi: here the hart stops */
#define CODE_LEN 2048u
#define SCRATCH_LEN 8192u
#define CASES    20000u

enum format { R, I, SH6, SH5, S, B, U, J, FENCE_, END_, ENDR, CSR, FL, FS, R4, FR, FRX, FN, FNX };
#undef FENCE
#define FENCE FENCE_
static const struct row {
	const char      *name;
	enum rv64_opcode op;
	enum format      format;
	uint32_t         match, mask;
} rows[] = {
#define X(name, fmt, match, mask, lens) { #name, OP_##name, fmt, match, mask },
	RV64_INSNS_I(X)
	RV64_INSNS_A(X)
	RV64_INSNS_FD(X)
#undef X
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))
#define X(name, fmt, match, mask, lens) + 1
enum { ROWS_FD = 0 RV64_INSNS_I(X) RV64_INSNS_A(X) };      /* the first of F and D */
#undef X

struct test {
	uint64_t ctx[65];
	uint8_t  code[CODE_LEN];
};

struct result {
	uint64_t ctx[65];
	uint64_t hash;
};

/* ---- random ---- */

static uint64_t state;

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1du;
}

static uint32_t below(uint32_t n) { return (uint32_t)(rnd() >> 33) % n; }

static uint64_t rnd_double(void)
{
	static const uint64_t pool[] = {
		0, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000,
		0xfff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001, 0xfff8000000000123,
		0xfff4000000000000, 1, 0x8000000000000001, 0x000fffffffffffff, 0x0010000000000000,
		0x7fefffffffffffff, 0xffefffffffffffff, 0x3fe0000000000000, 0x3ff8000000000000,
		0x4004000000000000, 0x3ff0000000000001, 0x3fefffffffffffff, 0x43e0000000000000,
		0xc3e0000000000000, 0x43dfffffffffffff, 0x41e0000000000000, 0x41dfffffffe00000,
		0x41dfffffffc00000, 0x43f0000000000000, 0x41f0000000000000, 0x3810000000000000,
		0x36a0000000000000, 0x47efffffe0000000, 0x47effffff0000000, 0x369fffffffffffff,
		0x380fffffffffffff, 0x0020000000000000, 0x3ca0000000000000,
		0x4340000000000001, 0x3690000000000000, 0x36a8000000000000,
	};

	switch (below(8)) {
	case 0: return pool[below(sizeof(pool) / sizeof(pool[0]))];
	case 1: case 5: case 6:
		return pool[below(12)];      /* often enough that two of them meet */
	case 2: return rnd();
	case 3:      /* near one */
		return (rnd() & 0x800fffffffffffff) | (uint64_t)(1023 - 60 + below(120)) << 52;
	case 4:      /* few bits: ties */
		return ((rnd() & 0xfff0000000000000) & 0xc3ffffffffffffff) |
		       (rnd() & rnd() & rnd() & 0xfffff) << 32;
	default: {
		double   d = (double)(int64_t)rnd() / (double)((uint64_t)1 << below(64));
		uint64_t v;

		memcpy(&v, &d, 8);
		return v;
	}
	}
}

static uint64_t rnd_single(void)
{
	static const uint32_t pool[] = {
		0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000,
		0x7f800001, 0xffc00123, 0xffa00000, 1, 0x80000001, 0x007fffff, 0x00800000,
		0x7f7fffff, 0xff7fffff, 0x3f000000, 0x3fc00000, 0x40200000, 0x3f800001,
		0x3f7fffff, 0x5f000000, 0xdf000000, 0x4f000000, 0xcf000000, 0x5f800000,
		0x4f800000, 0x4effffff, 0x01000000, 0x4b800001,
	};
	uint32_t v;

	switch (below(6)) {
	case 0: v = pool[below(sizeof(pool) / sizeof(pool[0]))]; break;
	case 1: case 4: v = pool[below(12)]; break;
	case 2: v = (uint32_t)rnd(); break;
	default: v = ((uint32_t)rnd() & 0x807fff00) | (127 - 30 + below(60)) << 23; break;
	}
	return 0xffffffff00000000 | v;
}

static uint64_t rnd_int(void)
{
	static const uint64_t pool[] = {
		0, 1, UINT64_MAX, INT64_MAX, (uint64_t)INT64_MIN, INT32_MAX, 0x80000000,
		0xffffffff80000000, 0xffffffff, 63, 64, 31, 32, 0x100000000, 0x7fffffffffffff00,
		0x20000000000001, 0x1000001,
	};

	switch (below(4)) {
	case 0: return pool[below(sizeof(pool) / sizeof(pool[0]))];
	case 1: return rnd();
	case 2: return (uint64_t)(int64_t)(int32_t)rnd();
	default: return rnd() >> below(64);
	}
}

/* ---- programs: x2, x8, x30 point into the scratch pages, x29 at an aligned address there,
 * x31 at ctx; none is written ---- */

static bool reg_kept(uint32_t r) { return r == 2 || r == 8 || r >= 29; }

static uint32_t rnd_rd(void)
{
	uint32_t r;

	do
		r = below(29);
	while (reg_kept(r));
	return r;
}

struct out {
	uint8_t *at;
	size_t   len;
};

static void emit(struct out *o, uint32_t raw)
{
	memcpy(o->at + o->len, &raw, 4);
	o->len += 4;
}

static uint32_t with(uint32_t raw, unsigned at, unsigned width, uint32_t v)
{
	uint32_t mask = ((1u << width) - 1) << at;

	return (raw & ~mask) | (v << at & mask);
}

static uint32_t memory_imm_i(uint32_t raw)
{
	return with(with(raw, 15, 5, 30), 20, 12, (uint32_t)((int32_t)below(4080) - 2048));
}

static uint32_t memory_imm_s(uint32_t raw)
{
	uint32_t v = (uint32_t)((int32_t)below(4080) - 2048);

	return with(with(with(raw, 15, 5, 30), 7, 5, v & 31), 25, 7, v >> 5);
}

static uint32_t rnd_rm(uint32_t raw)
{
	static const uint8_t modes[] = { 0, 1, 2, 3, 4, 7, 7, 7 };

	return with(raw, 12, 3, modes[below(8)]);
}

/* Operands of the precision that is asked for, most of the time: doubles start in odd registers,
 * singles in even ones. */
static uint32_t rnd_fp(uint32_t raw, bool is_double, bool third)
{
	if (below(8) == 0)
		return raw;
	raw = with(raw, 15, 5, below(16) * 2 + is_double);
	raw = with(raw, 20, 5, below(16) * 2 + is_double);
	return third ? with(raw, 27, 5, below(16) * 2 + is_double) : raw;
}

static void emit_row(struct out *o, const struct row *r)
{
	uint32_t raw = r->match | ((uint32_t)rnd() & ~r->mask);

	/* and not from or to integers */
	if ((raw & 0x7f) == 0x53 && (raw >> 25 & 0x60) != 0x60)
		raw = r->mask >> 20 & 31
		      ? with(raw, 15, 5,
			     below(16) * 2 +
			     (r->op == OP_fcvt_s_d || (r->op != OP_fcvt_d_s && raw >> 25 & 1)))
					  : rnd_fp(raw, raw >> 25 & 1, false);
	switch (r->format) {
	case I:
		if (r->op == OP_jalr) {
			uint32_t t = rnd_rd();

			if (!t)
				t = 5;
			emit(o, 0x17 | t << 7);                                    /* auipc t, 0 */
			emit(o, JALR(rnd_rd(), t, 12));
			emit(o, ADDI(rnd_rd(), below(32), 1));
			return;
		}
		if ((raw & 0x7f) == 0x03)
			raw = memory_imm_i(raw);
		raw = with(raw, 7, 5, rnd_rd());
		break;
	case R:
		if (r->op == OP_lr_w || r->op == OP_lr_d) {
			emit(o, with(with(raw, 15, 5, 29), 7, 5, rnd_rd()));
			emit(o, with(with(with((raw & 0x707f) | 3u << 27, 15, 5, 29), 7, 5,
					  rnd_rd()), 20, 5, below(32)));
			return;
		}
		if ((raw & 0x7f) == 0x2f)
			raw = with(raw, 15, 5, 29);
		raw = with(raw, 7, 5, rnd_rd());
		break;
	case SH6: case SH5: case U: case FRX: case FNX:
		raw = with(raw, 7, 5, rnd_rd());
		if (r->format == FRX)
			raw = rnd_rm(raw);
		break;
	case S: case FS:
		raw = memory_imm_s(raw);
		break;
	case FL:
		raw = memory_imm_i(raw);
		break;
	case B:
		emit(o, (raw & 0x01fff07f)
			? rv_b(raw >> 12 & 7, raw >> 15 & 31, raw >> 20 & 31, 8) : NOP);
		emit(o, ADDI(rnd_rd(), below(32), (int32_t)below(2048)));
		return;
	case J:
		emit(o, JAL(rnd_rd(), 8));
		emit(o, ADDI(rnd_rd(), below(32), (int32_t)below(2048)));
		return;
	case R4:
		raw = rnd_rm(rnd_fp(raw, raw >> 25 & 1, true));
		break;
	case FR:
		raw = rnd_rm(raw);
		break;
	default:
		break;
	}
	emit(o, raw);
}

static void emit_csr(struct out *o)
{
	static const uint8_t f3[] = { 1, 2, 3, 5, 6, 7 };

	switch (below(4)) {
	case 0:      /* frm, a mode that exists */
		emit(o, rv_i(0x73, 5, rnd_rd(), below(5), 2));
		break;
	case 1:      /* fflags, any value */
		emit(o, rv_i(0x73, f3[below(6)], rnd_rd(), below(32), 1));
		break;
	case 2: emit(o, CSRRS(rnd_rd(), 2, 0)); break;
	case 3: emit(o, CSRRS(rnd_rd(), 3, 0)); break;
	}
}

static void emit_compressed(struct out *o)
{
	for (;;) {
		uint16_t h = (uint16_t)rnd();
		uint32_t raw = (h & 3) == 3 ? 0 : rv64_expand(h);
		uint32_t op = raw & 0x7f;
		uint32_t rd = raw >> 7 & 31;
		uint32_t rs1 = raw >> 15 & 31;
		bool     load = op == 0x03 || op == 0x07, store = op == 0x23 || op == 0x27;
		bool     alu = op == 0x13 || op == 0x1b || op == 0x33 || op == 0x3b || op == 0x37;

		if (!raw || (!load && !store && !alu) ||
		    ((load || store) && rs1 != 2 && rs1 != 8) ||
		    ((alu || op == 0x03) && reg_kept(rd)))
			continue;
		memcpy(o->at + o->len, &h, 2);
		o->len += 2;
		return;
	}
}

static void emit_any(struct out *o)
{
	switch (below(16)) {
	case 0: emit_csr(o); break;
	case 1: case 2: case 3: emit_compressed(o); break;
	case 4: case 5: case 6: case 7: emit_row(o, &rows[ROWS_FD + below(ROWS - ROWS_FD)]); break;
	default: emit_row(o, &rows[below(ROWS)]); break;
	}
}

static void make(struct test *t, unsigned number)
{
	struct out o = { t->code, 0 };
	unsigned   count = number % 2 ? 1 + below(4) : 4 + below(60);

	memset(t, 0, sizeof(*t));
	for (unsigned i = 1; i < 32; i++)
		t->ctx[i] = rnd_int();
	t->ctx[2] = t->ctx[8] = t->ctx[30] = SCRATCH + 4096;
	t->ctx[29] = SCRATCH + 8 * below(1000);
	t->ctx[31] = CTX;
	for (unsigned i = 0; i < 32; i++)
		t->ctx[32 + i] = below(8) == 0 ? rnd() : i % 2 ? rnd_double() : rnd_single();
	t->ctx[64] = below(5) << 5 | (below(2) ? below(32) : 0);

	emit(&o, LUI(31, CTX >> 12));
	emit(&o, LD(1, 512, 31));
	emit(&o, CSRRW(0, 3, 1));
	for (uint32_t i = 0; i < 32; i++)
		emit(&o, rv_i(0x07, 3, i, 31, (int32_t)(256 + 8 * i)));
	for (uint32_t i = 1; i < 31; i++)
		emit(&o, LD(i, (int32_t)(8 * i), 31));
	for (unsigned i = 0; i < count; i++)
		emit_any(&o);
	for (uint32_t i = 1; i < 31; i++)
		emit(&o, SD(i, (int32_t)(8 * i), 31));
	emit(&o, CSRRS(1, 3, 0));
	emit(&o, SD(1, 512, 31));
	for (uint32_t i = 0; i < 32; i++)
		emit(&o, rv_s(0x27, 3, 31, i, (int32_t)(256 + 8 * i)));
	emit(&o, LD(1, 520, 31));
	emit(&o, JALR(0, 1, 0));
}

/* ---- both sides ---- */

static bool ours(struct rig *g, const struct test *t, struct result *r)
{
	uint64_t *scratch = rig_host(g, SCRATCH);

	guest_copy_in(&g->vm.memory, CTX, t->ctx, sizeof(t->ctx));
	guest_copy_in(&g->vm.memory, CODE, t->code, sizeof(t->code));
	rig_put(g, CTX + 520, END);
	for (unsigned i = 0; i < SCRATCH_LEN / 8; i++)
		scratch[i] = (t->ctx[5] + i) * 0x9e3779b97f4a7c15u;
	bare_start(g, CODE);
	g->h->s.sstatus = SSTATUS_FS;
	g->h->s.stvec   = END + 8;
	bare_run(g);
	guest_copy_out(&g->vm.memory, r->ctx, CTX, sizeof(r->ctx));
	r->hash = 0;
	for (unsigned i = 0; i < SCRATCH_LEN / 8; i++)
		r->hash = (r->hash ^ scratch[i]) * 0x100000001b3u;
	if (g->h->s.pc != END + 4)
		note("trap: cause %llu at 0x%llx, tval 0x%llx", (unsigned long long)g->h->s.scause,
		     (unsigned long long)g->h->s.sepc,
		     (unsigned long long)g->h->s.stval);
	return g->h->s.pc == END + 4;
}

static void explain(unsigned number, const struct test *t, const struct result *want,
		    const struct result *got)
{
	note("case %u differs; its code, between loads and stores:", number);
	for (unsigned at = 4 * 65; at < CODE_LEN; ) {
		uint32_t raw;
		unsigned len;

		memcpy(&raw, t->code + at, 4);
		if (raw == SD(1, 8, 31))
			break;
		len = (raw & 3) == 3 ? 4 : 2;
		for (unsigned i = 0; i < ROWS; i++)
			if (len == 4 && (raw & rows[i].mask) == rows[i].match)
				note("  %08x %s rd %u rs1 %u rs2 %u rs3 %u f3 %u", raw,
				     rows[i].name, raw >> 7 & 31, raw >> 15 & 31,
				     raw >> 20 & 31, raw >> 27, raw >> 12 & 7);
		if (len == 2)
			note("  %04x", raw & 0xffff);
		at += len;
	}
	for (unsigned i = 1; i < 65; i++)
		if (want->ctx[i] != got->ctx[i])
			note("  %s%u: was %016llx, qemu %016llx, here %016llx",
			     i == 64 ? "fcsr" : i < 32 ? "x" : "f", i & 31,
			     (unsigned long long)t->ctx[i], (unsigned long long)want->ctx[i],
			     (unsigned long long)got->ctx[i]);
	if (want->hash != got->hash)
		note("  scratch memory differs");
	for (unsigned i = 0; i < 32; i++)
		if (number % 2)
			note("  f%u %016llx x%u %016llx", i, (unsigned long long)t->ctx[32 + i], i,
			     (unsigned long long)t->ctx[i]);
}

/* Fixed words and paths of mkdtemp. */
static bool run(const char *command) { return system(command) == 0; }

int main(int argc, char **argv)
{
	uint64_t       seed = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)time(NULL);
	unsigned       cases = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : CASES;
	unsigned       wrong = 0, done = 0;
	char           dir[] = "/tmp/rv64-oracle.XXXXXX", command[512];
	static struct test t;
	struct result  want, got;
	static struct rig g;
	FILE          *in, *out;

	if (!run("command -v qemu-riscv64 >/dev/null 2>&1")) {
		skip("random instructions do what they do in qemu-riscv64", "no qemu-riscv64");
		return done_testing();
	}
	if (!run("command -v riscv64-linux-gnu-gcc >/dev/null 2>&1")) {
		skip("random instructions do what they do in qemu-riscv64",
		     "no riscv64-linux-gnu-gcc");
		return done_testing();
	}
	if (!mkdtemp(dir))
		return 1;
	note("seed %llu, %u cases", (unsigned long long)seed, cases);
	snprintf(command, sizeof(command),
		 "riscv64-linux-gnu-gcc -O1 -static -o %s/runner tests/unit/rv64_oracle_runner.c",
		 dir);
	ok(run(command), "the runner builds with the cross compiler");

	snprintf(command, sizeof(command), "%s/in", dir);
	in    = fopen(command, "w");
	state = seed * 2 + 1;
	for (unsigned i = 0; i < cases; i++) {
		make(&t, i);
		fwrite(&t, sizeof(t), 1, in);
	}
	fclose(in);
	snprintf(command, sizeof(command), "qemu-riscv64 %s/runner <%s/in >%s/out", dir, dir, dir);
	ok(run(command), "qemu-riscv64 runs every case to its end");

	rig_open(&g, 0x40000000, 8u << 20, 1);
	RIG_CODE(&g, END, WFI, WFI, WFI, WFI);
	bare_open(&g);
	snprintf(command, sizeof(command), "%s/in", dir);
	in = fopen(command, "r");
	snprintf(command, sizeof(command), "%s/out", dir);
	out = fopen(command, "r");
	while (fread(&t, sizeof(t), 1, in) == 1 && fread(&want, sizeof(want), 1, out) == 1) {
		bool good = ours(&g, &t, &got) && want.hash == got.hash &&
			    !memcmp(want.ctx + 1, got.ctx + 1, sizeof(want.ctx) - 8);

		if (!good && wrong++ < 5)
			explain(done, &t, &want, &got);
		done++;
	}
	fclose(in);
	fclose(out);
	ok(done == cases, "qemu-riscv64 answered for every case");
	note("%u of %u differ", wrong, done);
	ok(done && !wrong, "random instructions do what they do in qemu-riscv64");
	bare_close(&g);
	rig_close(&g);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	run(command);
	return done_testing();
}
