/* SPDX-License-Identifier: MIT */
/* Runs in qemu-riscv64: takes cases from stdin, runs each, writes what has become of the
 * registers and the scratch pages to stdout. Built by rv64_oracle_test with the cross compiler;
 * the addresses are that test's. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define CTX     0x40200000ul
#define SCRATCH 0x40300000ul
#define CODE    0x40400000ul
#define CODE_LEN 2048
#define SCRATCH_LEN 8192

/* ctx: x[32], f[32], fcsr, where to go at the end, our own stack pointer */
__asm__(
	"	.option norelax\n"
	"run:	addi sp, sp, -240\n"
	"	sd ra, 0(sp); sd gp, 8(sp); sd tp, 16(sp); sd s0, 24(sp); sd s1, 32(sp)\n"
	"	sd s2, 40(sp); sd s3, 48(sp)\n"
	"	sd s4, 56(sp); sd s5, 64(sp); sd s6, 72(sp); sd s7, 80(sp); sd s8, 88(sp)\n"
	"	sd s9, 96(sp); sd s10, 104(sp)\n"
	"	sd s11, 112(sp); fsd fs0, 120(sp); fsd fs1, 128(sp); fsd fs2, 136(sp)\n"
	"	fsd fs3, 144(sp); fsd fs4, 152(sp)\n"
	"	fsd fs5, 160(sp); fsd fs6, 168(sp); fsd fs7, 176(sp); fsd fs8, 184(sp)\n"
	"	fsd fs9, 192(sp); fsd fs10, 200(sp)\n"
	"	fsd fs11, 208(sp)\n"
	"	li t0, 0x40200000\n"
	"	sd sp, 528(t0)\n"
	"	la t1, 1f\n"
	"	sd t1, 520(t0)\n"
	"	addi t1, t0, 536\n"
	"	sc.d t2, t2, (t1)\n"      /* no reservation is left */
	"	fence.i\n"
	"	jr a0\n"
	"1:	li t0, 0x40200000\n"
	"	ld sp, 528(t0)\n"
	"	ld ra, 0(sp); ld gp, 8(sp); ld tp, 16(sp); ld s0, 24(sp); ld s1, 32(sp)\n"
	"	ld s2, 40(sp); ld s3, 48(sp)\n"
	"	ld s4, 56(sp); ld s5, 64(sp); ld s6, 72(sp); ld s7, 80(sp); ld s8, 88(sp)\n"
	"	ld s9, 96(sp); ld s10, 104(sp)\n"
	"	ld s11, 112(sp); fld fs0, 120(sp); fld fs1, 128(sp); fld fs2, 136(sp)\n"
	"	fld fs3, 144(sp); fld fs4, 152(sp)\n"
	"	fld fs5, 160(sp); fld fs6, 168(sp); fld fs7, 176(sp); fld fs8, 184(sp)\n"
	"	fld fs9, 192(sp); fld fs10, 200(sp)\n"
	"	fld fs11, 208(sp)\n"
	"	fscsr zero\n"
	"	addi sp, sp, 240\n"
	"	ret\n");
void run(unsigned long code);

static uint64_t ctx[65];
static uint8_t  code[CODE_LEN];

int main(void)
{
	volatile uint64_t *scratch = (volatile uint64_t *)SCRATCH;

	if (mmap((void *)CTX, 4096, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ||
	    mmap((void *)SCRATCH, SCRATCH_LEN, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ||
	    mmap((void *)CODE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return 1;
	while (fread(ctx, sizeof(ctx), 1, stdin) == 1 && fread(code, sizeof(code), 1, stdin) == 1) {
		uint64_t hash = 0;

		memcpy((void *)CTX, ctx, sizeof(ctx));
		memcpy((void *)CODE, code, sizeof(code));
		for (unsigned i = 0; i < SCRATCH_LEN / 8; i++)
			scratch[i] = (ctx[5] + i) * 0x9e3779b97f4a7c15u;
		run(CODE);
		for (unsigned i = 0; i < SCRATCH_LEN / 8; i++)
			hash = (hash ^ scratch[i]) * 0x100000001b3u;
		fwrite((void *)CTX, sizeof(ctx), 1, stdout);
		fwrite(&hash, sizeof(hash), 1, stdout);
	}
	return 0;
}
