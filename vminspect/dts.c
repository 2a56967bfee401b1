/* SPDX-License-Identifier: MIT */
#include "vminspect/dts.h"

#include "vminspect/properties.h"

#include <inttypes.h>

static void dts_indent(FILE *out, int depth)
{
	for (int i = 0; i < depth; i++)
		fputc('\t', out);
}

static void dts_node(void *arg, int depth, const char *name, const struct state_table *section,
		     bool unknown)
{
	FILE *out = arg;

	(void)section;
	if (depth)
		fputc('\n', out);
	dts_indent(out, depth);
	fprintf(out, "%s {%s\n", depth ? name : "/", unknown ? "  /* unknown */" : "");
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

static void dts_numbers(FILE *out, const uint8_t *value, int len, struct property p)
{
	int width = (int)property_width(p);

	fputs(width == 8 ? "/bits/ 64 <" : "<", out);
	for (int i = 0; i < len / width; i++)
		fprintf(out, property_is_hex(p) ? "%s0x%" PRIx64 : "%s%" PRIu64, i ? " " : "",
			property_value(p, value, i));
	fputc('>', out);
}

static void dts_prop(void *arg, int depth, const char *name, const uint8_t *value, int len,
		     struct property p)
{
	FILE *out = arg;

	dts_indent(out, depth + 1);
	fputs(name, out);
	if (len)
		fputs(" = ", out);
	switch (p.kind) {
	case PROPERTY_STR:
		dts_string(out, (const char *)value);
		break;
	case PROPERTY_U32:
	case PROPERTY_X32:
	case PROPERTY_U64:
	case PROPERTY_X64:
		if (len)      /* else an empty list */
			dts_numbers(out, value, len, p);
		break;
	case PROPERTY_BYTES:
	case PROPERTY_NOT:
		if (len)
			dts_bytes(out, value, len);
		break;
	case PROPERTY_FLAG:
		break;
	}
	fprintf(out, ";%s\n", p.kind == PROPERTY_NOT ? "  /* unknown */" : "");
}

void dts_print(FILE *out, const void *fdt)
{
	static const struct property_visit visit = { .node = dts_node, .prop = dts_prop,
						     .end = dts_end };

	fputs("/dts-v1/;\n\n", out);
	properties_walk(fdt, &visit, out);
}
