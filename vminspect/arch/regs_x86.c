/* SPDX-License-Identifier: MIT */
#include "vminspect/regs.h"

#include "format/state/x86_names.h"
#include "libcommon/bytes.h"
#include "vminspect/show.h"
#include "vminspect/arch/x86.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define WORDS 200

/* ---- text ---- */

static void text_line(const char *name, uint64_t v, unsigned digits, const char *words)
{
	printf("  %-14s %0*" PRIx64 "%s%s\n", name, (int)digits, v, words[0] ? "  " : "", words);
}

static void text_segments(const struct x86_sregs_state *s)
{
	for (unsigned i = 0; i < X86_SEGS; i++) {
		char words[WORDS] = "";

		x86_describe_segment(s->seg_attr[i], words, sizeof(words));
		printf("  %-4s %04" PRIx32 "  base %016" PRIx64 "  limit %08" PRIx32 "  %s\n",
		       x86_seg_names[i], s->seg_selector[i], s->seg_base[i], s->seg_limit[i],
		       words);
	}
	printf("  %-4s       base %016" PRIx64 "  limit %08x\n", "gdt", s->gdt_base, s->gdt_limit);
	printf("  %-4s       base %016" PRIx64 "  limit %08x\n", "idt", s->idt_base, s->idt_limit);
}

static void text_msrs(const struct x86_msrs_state *s)
{
	puts(" MSRs (zero values omitted)");
	for (uint32_t i = 0; i < s->count; i++) {
		const char *name = x86_msr_name(s->index[i]);

		if (s->value[i])
			printf("  %08" PRIx32 " %016" PRIx64 "%s%s\n", s->index[i], s->value[i],
			       name ? "  " : "", name ? name : "");
	}
}

static void text_lapic(const struct x86_lapic_state *s)
{
	puts(" local APIC (zero values omitted)");
	for (uint32_t at = 0; at < sizeof(s->regs); at += 16) {
		const uint32_t    v    = get_le32(s->regs + at);
		const char *const name = x86_lapic_name(at);
		char              words[WORDS] = "";

		if (!name || !v)
			continue;
		x86_describe_lapic(at, v, words, sizeof(words));
		text_line(name, v, 8, words);
	}
}

static void text_cpu(uint32_t n, const struct x86_cpu_state *s)
{
	uint64_t gprs[X86_GPRS];
	char     words[WORDS] = "";

	x86_gprs(&s->regs, gprs);
	x86_describe_mode(s, words, sizeof(words));
	printf("cpu %" PRIu32 "  rip %016" PRIx64 "  %s\n", n, s->regs.rip, words);
	for (unsigned i = 0; i < X86_GPRS; i += 4) {
		for (unsigned k = 0; k < 4; k++)
			printf("  %-4s %016" PRIx64, x86_gpr_names[i + k], gprs[i + k]);
		putchar('\n');
	}
	text_segments(&s->sregs);
	for (const struct x86_control *c = x86_controls; c->name; c++) {
		words[0] = '\0';
		if (c->describe)
			c->describe(c->value(s), words, sizeof(words));
		text_line(c->name, c->value(s), 16, words);
	}
	words[0] = '\0';
	x86_describe_events(&s->events, words, sizeof(words));
	if (words[0])
		printf("  events: %s\n", words);
	text_msrs(&s->msrs);
	text_lapic(&s->lapic);
}

/* ---- JSON ---- */

/* A descriptor table. */
static json_t *json_table(uint64_t base, uint16_t limit)
{
	return json_pack("{s:o,s:o}", "base", show_json_x64(base), "limit", show_json_x64(limit));
}

/* A register and what its bits mean. */
static json_t *json_described(uint64_t v, const char *words)
{
	return json_pack("{s:o,s:s}", "value", show_json_x64(v), "means", words);
}

static int json_segments(json_t *o, const struct x86_sregs_state *s, struct fail *why)
{
	json_t *all = json_object();

	if (regs_set(o, "segments", all, why))
		return -1;
	for (unsigned i = 0; i < X86_SEGS; i++) {
		char    words[WORDS] = "";
		json_t *one;

		x86_describe_segment(s->seg_attr[i], words, sizeof(words));
		one = json_pack("{s:o,s:o,s:o,s:o,s:s}",
				"selector", show_json_x64(s->seg_selector[i]),
				"base", show_json_x64(s->seg_base[i]),
				"limit", show_json_x64(s->seg_limit[i]),
				"attributes", show_json_x64(s->seg_attr[i]),
				"means", words);
		if (regs_set(all, x86_seg_names[i], one, why))
			return -1;
	}
	if (regs_set(all, "gdt", json_table(s->gdt_base, s->gdt_limit), why))
		return -1;
	return regs_set(all, "idt", json_table(s->idt_base, s->idt_limit), why);
}

static int json_controls(json_t *o, const struct x86_cpu_state *s, struct fail *why)
{
	json_t *all = json_object();

	if (regs_set(o, "control", all, why))
		return -1;
	for (const struct x86_control *c = x86_controls; c->name; c++) {
		char words[WORDS] = "";

		if (c->describe)
			c->describe(c->value(s), words, sizeof(words));
		if (regs_set(all, c->name, json_described(c->value(s), words), why))
			return -1;
	}
	return 0;
}

/* Keys are numbers: names are not there for all of them. */
static int json_msrs(json_t *o, const struct x86_msrs_state *s, struct fail *why)
{
	json_t *all = json_object();

	if (regs_set(o, "msrs", all, why))
		return -1;
	for (uint32_t i = 0; i < s->count; i++) {
		const char *name = x86_msr_name(s->index[i]);
		char        key[16];
		json_t     *one;

		snprintf(key, sizeof(key), "0x%" PRIx32, s->index[i]);
		one = json_pack("{s:s?,s:o}", "name", name, "value", show_json_x64(s->value[i]));
		if (regs_set(all, key, one, why))
			return -1;
	}
	return 0;
}

static int json_lapic(json_t *o, const struct x86_lapic_state *s, struct fail *why)
{
	json_t *all = json_object();

	if (regs_set(o, "lapic", all, why))
		return -1;
	for (uint32_t at = 0; at < sizeof(s->regs); at += 16) {
		const uint32_t    v    = get_le32(s->regs + at);
		const char *const name = x86_lapic_name(at);
		char              words[WORDS] = "";

		if (!name)
			continue;
		x86_describe_lapic(at, v, words, sizeof(words));
		if (regs_set(all, name, json_described(v, words), why))
			return -1;
	}
	return 0;
}

static int json_cpu(json_t *list, uint32_t n, const struct x86_cpu_state *s, struct fail *why)
{
	json_t  *o = json_object(), *gpr;
	uint64_t gprs[X86_GPRS];
	char     mode[WORDS] = "", pending[WORDS] = "";

	x86_gprs(&s->regs, gprs);
	x86_describe_mode(s, mode, sizeof(mode));
	x86_describe_events(&s->events, pending, sizeof(pending));
	if (json_array_append_new(list, o))
		return fail_set(why, FAIL_SYSTEM, "out of memory");
	gpr = json_object();
	if (regs_set(o, "cpu", json_integer(n), why) ||
	    regs_set(o, "rip", show_json_x64(s->regs.rip), why) ||
	    regs_set(o, "mode", json_string(mode), why) ||
	    regs_set(o, "mp_state", json_string(x86_mp_state_name(s->events.mp_state)), why) ||
	    regs_set(o, "events", json_string(pending), why) || regs_set(o, "gpr", gpr, why))
		return -1;
	for (unsigned i = 0; i < X86_GPRS; i++)
		if (regs_set(gpr, x86_gpr_names[i], show_json_x64(gprs[i]), why))
			return -1;
	if (json_segments(o, &s->sregs, why) || json_controls(o, s, why) ||
	    json_msrs(o, &s->msrs, why))
		return -1;
	return json_lapic(o, &s->lapic, why);
}

int regs_x86(const struct regs_cpu *cpu, struct fail *why)
{
	struct x86_cpu_state           *s        = calloc(1, sizeof(*s));
	const struct state_table *const tables[] = {
		&x86_regs_state_table,  &x86_sregs_state_table,  &x86_xsave_state_table,
		&x86_msrs_state_table,  &x86_lapic_state_table,  &x86_events_state_table,
		&x86_debugregs_state_table,
	};
	int rc;

	if (!s)
		return fail_set(why, FAIL_SYSTEM, "out of memory");

	void *const into[] = {
		&s->regs, &s->sregs, &s->xsave, &s->msrs, &s->lapic, &s->events, &s->debugregs,
	};

	rc = regs_load(cpu, tables, into, sizeof(tables) / sizeof(tables[0]), why);
	if (rc == 0 && cpu->list)
		rc = json_cpu(cpu->list, cpu->n, s, why);
	else if (rc == 0)
		text_cpu(cpu->n, s);
	free(s);
	return rc;
}
