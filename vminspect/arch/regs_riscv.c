/* SPDX-License-Identifier: MIT */
#include "vminspect/regs.h"

#include "vminspect/arch/riscv.h"
#include "vminspect/show.h"

#include <inttypes.h>
#include <stdio.h>

static void regs_row(const char *const *names, const uint64_t *v, unsigned i)
{
	for (unsigned k = 0; k < 4; k++)
		printf("%s%-4s %016" PRIx64, k ? "  " : "  ", names[i + k], v[i + k]);
	putchar('\n');
}

static void regs_text(uint32_t n, const struct hart_state *s)
{
	printf("hart %" PRIu32 "  pc %016" PRIx64 "  %s mode, %s%s\n", n, s->pc,
	       s->priv == HART_S ? "supervisor" : "user", riscv_hsm_name(s->hsm),
	       s->wfi ? ", waiting for an interrupt" : "");
	for (unsigned i = 0; i < 32; i += 4)
		regs_row(riscv_x_names, s->x, i);
	for (const struct riscv_csr *c = riscv_csrs; c->name; c++) {
		char words[160] = "";

		if (c->describe)
			c->describe(c->value(s), words, sizeof(words));
		printf("  %-10s %016" PRIx64 "%s%s\n", c->name, c->value(s), words[0] ? "  " : "",
		       words);
	}
	if (s->res_valid)
		printf("  reservation of %u bytes at 0x%" PRIx64 ", value 0x%" PRIx64 "\n",
		       s->res_size, s->res_gpa, s->res_value);
	if (s->hsm == HSM_START_PENDING)
		printf("  start address 0x%" PRIx64 ", opaque 0x%" PRIx64 "\n", s->hsm_start,
		       s->hsm_opaque);
	if ((s->sstatus & SSTATUS_FS) == 0)
		return;      /* off: nobody can have put anything there */
	for (unsigned i = 0; i < 32; i += 4)
		regs_row(riscv_f_names, s->f, i);
}

static int regs_json_files(json_t *o, const struct hart_state *s, struct fail *why)
{
	json_t *x = json_object(), *f = json_object(), *csr = json_object();

	if (regs_set(o, "x", x, why) || regs_set(o, "f", f, why) || regs_set(o, "csr", csr, why))
		return -1;
	for (unsigned i = 0; i < 32; i++)
		if (regs_set(x, riscv_x_names[i], show_json_x64(s->x[i]), why) ||
		    regs_set(f, riscv_f_names[i], show_json_x64(s->f[i]), why))
			return -1;
	for (const struct riscv_csr *c = riscv_csrs; c->name; c++) {
		char    words[160] = "";
		json_t *one        = json_object();

		if (c->describe)
			c->describe(c->value(s), words, sizeof(words));
		if (regs_set(csr, c->name, one, why) ||
		    regs_set(one, "value", show_json_x64(c->value(s)), why) ||
		    regs_set(one, "means", json_string(words), why))
			return -1;
	}
	return 0;
}

static int regs_json(json_t *list, uint32_t n, const struct hart_state *s, struct fail *why)
{
	json_t *o = json_object(), *res = NULL;

	if (json_array_append_new(list, o))
		return fail_set(why, FAIL_SYSTEM, "out of memory");
	if (regs_set(o, "hart", json_integer(n), why) ||
	    regs_set(o, "pc", show_json_x64(s->pc), why) ||
	    regs_set(o, "mode", json_string(s->priv == HART_S ? "supervisor" : "user"), why) ||
	    regs_set(o, "hsm", json_string(riscv_hsm_name(s->hsm)), why) ||
	    regs_set(o, "wfi", json_boolean(s->wfi), why) || regs_json_files(o, s, why))
		return -1;
	res = s->res_valid ? json_pack("{s:i,s:o,s:o}", "size", s->res_size, "gpa",
				       show_json_x64(s->res_gpa), "value",
				       show_json_x64(s->res_value))
			   : json_null();
	return regs_set(o, "reservation", res, why);
}

int regs_riscv(const struct regs_cpu *cpu, struct fail *why)
{
	const struct state_table *const tables[] = { &hart_state_table };
	struct hart_state               s        = { 0 };
	void *const                     into[]   = { &s };

	if (regs_load(cpu, tables, into, 1, why))
		return -1;
	if (cpu->list)
		return regs_json(cpu->list, cpu->n, &s, why);
	regs_text(cpu->n, &s);
	return 0;
}
