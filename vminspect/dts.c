/* SPDX-License-Identifier: MIT */
#include "vminspect/dts.h"

#include "vminspect/properties.h"

#include <inttypes.h>

static void dts_indent(FILE *out, int depth)
{
	for (int i = 0; i < depth; i++)
		fputc('\t', out);
}

static void dts_node(void *arg, int depth, const char *name, const struct state_table *part, bool stray)
{
	FILE *out = arg;

	(void)part;
	if (depth)
		fputc('\n', out);
	dts_indent(out, depth);
	fprintf(out, "%s {%s\n", depth ? name : "/", stray ? "  /* unknown */" : "");
}

static void dts_end(void *arg, int depth)
{
	dts_indent(arg, depth);
	fputs("};\n", arg);
}

/* Escapes that dtc reads: C's, octal for what has none. */
static void dts_string(FILE *out, const char *s)
{
	fputc('"', out);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			fprintf(out, "\\%03o", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void dts_bytes(FILE *out, const uint8_t *value, int len)
{
	fputc('[', out);
	for (int i = 0; i < len; i++)
		fprintf(out, "%s%02x", i ? " " : "", value[i]);
	fputc(']', out);
}

static void dts_numbers(FILE *out, const uint8_t *value, int len, struct known k)
{
	int width = (int)known_width(k);

	fputs(width == 8 ? "/bits/ 64 <" : "<", out);
	for (int i = 0; i < len / width; i++)
		fprintf(out, known_hex(k) ? "%s0x%" PRIx64 : "%s%" PRIu64, i ? " " : "", known_value(k, value, i));
	fputc('>', out);
}

static void dts_prop(void *arg, int depth, const char *name, const uint8_t *value, int len, struct known k)
{
	FILE *out = arg;

	dts_indent(out, depth + 1);
	fputs(name, out);
	if (len)
		fputs(" = ", out);
	switch (k.kind) {
	case KNOWN_STR:
		dts_string(out, (const char *)value);
		break;
	case KNOWN_U32:
	case KNOWN_X32:
	case KNOWN_U64:
	case KNOWN_X64:
		dts_numbers(out, value, len, k);
		break;
	case KNOWN_BYTES:
	case KNOWN_NOT:
		if (len)
			dts_bytes(out, value, len);
		break;
	case KNOWN_FLAG:
		break;
	}
	fprintf(out, ";%s\n", k.kind == KNOWN_NOT ? "  /* unknown */" : "");
}

void dts_print(FILE *out, const void *fdt)
{
	static const struct known_visit visit = { .node = dts_node, .prop = dts_prop, .end = dts_end };

	fputs("/dts-v1/;\n\n", out);
	known_walk(fdt, &visit, out);
}
