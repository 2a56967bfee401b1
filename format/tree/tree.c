/* SPDX-License-Identifier: MIT */
#include "format/tree/tree.h"

#include "format/limits.h"
#include "libcommon/bytes.h"

#include <libfdt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* A name and its parent: two equal ones are a duplicate. */
struct tree_name {
	uint64_t hash;
	int      parent;      /* offset of the node it is in */
	bool     node;        /* a node's name, else a property's */
};

struct tree_names {
	struct tree_name *v;
	size_t            n, capacity;
};

static int tree_names_order(const void *a, const void *b)
{
	const struct tree_name *x = a, *y = b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	if (x->node != y->node)
		return x->node ? -1 : 1;
	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static int tree_names_add(struct tree_names *names, int parent, bool node, const char *name,
			  int len, struct fail *why)
{
	if (len < 0 || len >= (int)TREE_NAME_MAX)
		return fail_set(why, FAIL_LIMIT,
				"VM tree: name of %d characters exceeds the limit of %u", len,
				TREE_NAME_MAX - 1);
	for (int i = 0; i < len; i++)
		if (name[i] <= 0x20 || name[i] >= 0x7f || name[i] == '/')
			return fail_set(why, FAIL_CORRUPT, "VM tree: invalid name '%s'", name);
	if (names->n == names->capacity) {
		size_t            capacity = names->capacity ? 2 * names->capacity : 1024;
		struct tree_name *v    = realloc(names->v, capacity * sizeof(*v));

		if (!v)
			return fail_sys(why, "VM tree: names");
		names->v    = v;
		names->capacity = capacity;
	}
	names->v[names->n++] = (struct tree_name){
		.hash = XXH3_64bits(name, (size_t)len), .parent = parent, .node = node,
	};
	return 0;
}

/* What aligns the value or name of n bytes at p to a multiple of 4, up to the next tag. */
static int tree_check_padding(const void *fdt, int node, const char *p, int n, struct fail *why)
{
	for (int i = n; i % 4; i++)
		if (p[i])
			return tree_fail(fdt, node, why, FAIL_CORRUPT, "padding not zero");
	return 0;
}

static int tree_check_prop(const void *fdt, int at, int node, struct tree_names *names,
			   struct fail *why)
{
	const char *name, *value;
	int         len;

	value = fdt_getprop_by_offset(fdt, at, &name, &len);
	if (!value || !name)
		return fail_set(why, FAIL_CORRUPT, "VM tree: malformed property");
	if (len < 0 || (uint32_t)len > LIMIT_PROP_BYTES)
		return fail_set(why, FAIL_LIMIT, "VM tree: %s: %d bytes exceed the limit of %u",
				name, len, LIMIT_PROP_BYTES);
	if (tree_check_padding(fdt, node, value, len, why))
		return -1;
	return tree_names_add(names, node, false, name, (int)strlen(name), why);
}

/* Property names are searched for their NUL by libfdt, for each property anew: a block of names
 * without one would make that slow. */
static int tree_check_strings(const void *fdt, size_t len, struct fail *why)
{
	uint32_t    off = fdt_off_dt_strings(fdt), size = fdt_size_dt_strings(fdt), run = 0;
	const char *names = (const char *)fdt + off;

	if (size > TREE_STRINGS)
		return fail_set(why, FAIL_LIMIT,
				"VM tree: %u bytes of names exceed the limit of %u", size,
				TREE_STRINGS);
	if (off > len || size > len - off)
		return fail_set(why, FAIL_CORRUPT, "VM tree: string offset out of range");
	for (uint32_t i = 0; i < size; i++) {
		run = names[i] ? run + 1 : 0;
		if (run >= TREE_NAME_MAX)
			return fail_set(why, FAIL_LIMIT,
					"VM tree: property name longer than %u characters",
					TREE_NAME_MAX - 1);
	}
	return 0;
}

#define TREE_RESERVE_AT 40u      /* behind the header, in which 10 numbers are */
#define TREE_STRUCT_AT  56u      /* behind the reservation block's end mark */

/* The canonical form (docs/format.md 8, "The blob"), as far as the header tells: the blocks in one
 * order without gaps, so that no byte of the blob is without meaning. */
static int tree_check_blocks(const void *fdt, size_t len, struct fail *why)
{
	static const uint8_t nil[TREE_STRUCT_AT - TREE_RESERVE_AT];
	const uint64_t       strings = (uint64_t)TREE_STRUCT_AT + fdt_size_dt_struct(fdt);

	if (fdt_last_comp_version(fdt) != 16 || fdt_boot_cpuid_phys(fdt))
		return fail_set(why, FAIL_CORRUPT, "VM tree: not canonical: last_comp_version %u,"
				" boot_cpuid_phys %u (expected 16, 0)", fdt_last_comp_version(fdt),
				fdt_boot_cpuid_phys(fdt));
	if (fdt_off_mem_rsvmap(fdt) != TREE_RESERVE_AT ||
	    fdt_off_dt_struct(fdt) != TREE_STRUCT_AT || fdt_off_dt_strings(fdt) != strings ||
	    strings + fdt_size_dt_strings(fdt) != len)
		return fail_set(why, FAIL_CORRUPT,
				"VM tree: not canonical: order or size of the blocks");
	if (memcmp((const uint8_t *)fdt + TREE_RESERVE_AT, nil, sizeof(nil)))
		return fail_set(why, FAIL_CORRUPT,
				"VM tree: not canonical: memory reservation block not empty");
	return 0;
}

/* Walks every tag once. The blob has passed fdt_check_full: tags nest, and end. */
static int tree_walk(const void *fdt, struct tree_names *names, struct fail *why)
{
	int      parents[TREE_DEPTH + 1];
	uint32_t counts[TREE_DEPTH + 1];
	bool     children[TREE_DEPTH + 1];
	uint32_t nodes = 0, props = 0;
	int      depth = 0, at = 0, next, len;

	for (;; at = next) {
		uint32_t tag = fdt_next_tag(fdt, at, &next);

		switch (tag) {
		case FDT_BEGIN_NODE: {
			const char *name = fdt_get_name(fdt, at, &len);

			if (depth == 0 && nodes)
				return fail_set(why, FAIL_CORRUPT, "VM tree: duplicate root");
			if (depth == TREE_DEPTH)
				return fail_set(why, FAIL_LIMIT, "VM tree: deeper than %d levels",
						TREE_DEPTH);
			if (++nodes > TREE_NODES)
				return fail_set(why, FAIL_LIMIT, "VM tree: more than %u nodes",
						TREE_NODES);
			if (!name || (depth && len == 0))
				return fail_set(why, FAIL_CORRUPT, "VM tree: node without a name");
			if (depth && tree_names_add(names, parents[depth], true, name, len, why))
				return -1;
			if (tree_check_padding(fdt, at, name, len + 1, why))
				return -1;
			children[depth] = true;
			depth++;
			parents[depth]  = at;
			counts[depth]   = 0;
			children[depth] = false;
			break;
		}
		case FDT_PROP:
			if (depth == 0)
				return fail_set(why, FAIL_CORRUPT,
						"VM tree: property outside the root");
			/* libfdt does not see it there, other readers do. */
			if (children[depth])
				return tree_fail(fdt, parents[depth], why, FAIL_CORRUPT,
						 "property after a child node");
			if (++props > TREE_PROPS || ++counts[depth] > TREE_NODE_PROPS)
				return fail_set(why, FAIL_LIMIT,
						"VM tree: more than %u properties, or %u in one"
						" node", TREE_PROPS, TREE_NODE_PROPS);
			if (tree_check_prop(fdt, at, parents[depth], names, why))
				return -1;
			break;
		case FDT_END_NODE:
			if (depth == 0)
				return fail_set(why, FAIL_CORRUPT,
						"VM tree: unbalanced end of node");
			depth--;
			break;
		case FDT_END:
			if (depth || nodes == 0)
				return fail_set(why, FAIL_CORRUPT, "VM tree: unterminated node");
			if ((uint32_t)next != fdt_size_dt_struct(fdt))
				return fail_set(why, FAIL_CORRUPT, "VM tree: not canonical:"
						" data after the end of the structure block");
			return 0;
		default:
			return fail_set(why, FAIL_CORRUPT, "VM tree: not canonical: FDT_NOP token");
		}
		if (next < 0)
			return fail_set(why, FAIL_CORRUPT, "VM tree: %s", fdt_strerror(next));
	}
}

static int tree_check(const void *fdt, size_t len, struct fail *why)
{
	struct tree_names names = { 0 };
	int               rc = -1, err;

	if (tree_check_strings(fdt, len, why))
		return -1;
	if (fdt_magic(fdt) != FDT_MAGIC)
		return fail_set(why, FAIL_CORRUPT, "VM tree: %s", fdt_strerror(-FDT_ERR_BADMAGIC));
	if (fdt_version(fdt) != 17)
		return fail_set(why, FAIL_VERSION,
				"VM tree: unsupported FDT version %u (supported: 17)",
				fdt_version(fdt));
	if (fdt_totalsize(fdt) != len)
		return fail_set(why, FAIL_CORRUPT,
				"VM tree: size mismatch: header says %u bytes, got %zu",
				fdt_totalsize(fdt), len);
	if (tree_check_blocks(fdt, len, why))
		return -1;
	err = fdt_check_full(fdt, len);
	if (err)
		return fail_set(why, FAIL_CORRUPT, "VM tree: %s", fdt_strerror(err));
	if (tree_walk(fdt, &names, why))
		goto out;
	if (names.n)
		qsort(names.v, names.n, sizeof(*names.v), tree_names_order);
	for (size_t i = 1; i < names.n; i++) {
		if (tree_names_order(&names.v[i - 1], &names.v[i]) == 0) {
			tree_fail(fdt, names.v[i].parent, why, FAIL_CORRUPT, "duplicate %s name",
				  names.v[i].node ? "node" : "property");
			goto out;
		}
	}
	rc = 0;
out:
	free(names.v);
	return rc;
}

int tree_open(void **out, const void *fdt, size_t len, struct fail *why)
{
	void *copy;

	if (len < sizeof(struct fdt_header) || len > LIMIT_TREE_BYTES)
		return fail_set(why, len > LIMIT_TREE_BYTES ? FAIL_LIMIT : FAIL_CORRUPT,
				"VM tree: %zu bytes", len);
	copy = malloc(len);
	if (!copy)
		return fail_sys(why, "VM tree: %zu bytes", len);
	memcpy(copy, fdt, len);
	if (tree_check(copy, len, why)) {
		free(copy);
		return -1;
	}
	*out = copy;
	return 0;
}

int tree_fail(const void *fdt, int node, struct fail *why, enum fail_kind kind, const char *fmt,
	      ...)
{
	char    path[TREE_PATH_MAX], text[192];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (fdt_get_path(fdt, node, path, sizeof(path)))
		snprintf(path, sizeof(path), "?");
	return fail_set(why, kind, "VM tree: %.100s: %s", path, text);
}

int tree_child(const void *fdt, int parent, const char *name)
{
	int node;

	fdt_for_each_subnode(node, fdt, parent) {
		const char *have = fdt_get_name(fdt, node, NULL);

		if (have && strcmp(have, name) == 0)
			return node;
	}
	return -FDT_ERR_NOTFOUND;
}

bool tree_has(const void *fdt, int node, const char *name)
{
	return fdt_getprop(fdt, node, name, NULL) != NULL;
}

static const void *tree_prop(const void *fdt, int node, const char *name, int *len,
			     struct fail *why)
{
	const void *p = fdt_getprop(fdt, node, name, len);

	if (!p)
		tree_fail(fdt, node, why, FAIL_CORRUPT, "missing %s", name);
	return p;
}

int tree_bytes(const void *fdt, int node, const char *name, uint8_t *v, size_t len,
	       struct fail *why)
{
	int         n;
	const void *p = tree_prop(fdt, node, name, &n, why);

	if (!p)
		return -1;
	if ((size_t)n != len)
		return tree_fail(fdt, node, why, FAIL_CORRUPT,
				 "%s: invalid length: %d bytes, expected %zu", name, n, len);
	memcpy(v, p, len);
	return 0;
}

int tree_u32(const void *fdt, int node, const char *name, uint32_t *v, struct fail *why)
{
	uint8_t b[4];

	if (tree_bytes(fdt, node, name, b, sizeof(b), why))
		return -1;
	*v = get_be32(b);
	return 0;
}

int tree_u64(const void *fdt, int node, const char *name, uint64_t *v, struct fail *why)
{
	return tree_cells(fdt, node, name, v, 1, why);
}

int tree_cells(const void *fdt, int node, const char *name, uint64_t *v, uint32_t n,
	       struct fail *why)
{
	int            len;
	const uint8_t *p = tree_prop(fdt, node, name, &len, why);

	if (!p)
		return -1;
	if ((size_t)len != 8 * (size_t)n)
		return tree_fail(fdt, node, why, FAIL_CORRUPT,
				 "%s: invalid length: %d bytes, expected %zu", name, len,
				 8 * (size_t)n);
	for (uint32_t i = 0; i < n; i++)
		v[i] = get_be64(p + 8 * (size_t)i);
	return 0;
}

int tree_str(const void *fdt, int node, const char *name, char *v, size_t capacity,
	     struct fail *why)
{
	int         len;
	const char *p = tree_prop(fdt, node, name, &len, why);

	if (!p)
		return -1;
	if (len < 1 || p[len - 1] != '\0' || memchr(p, 0, (size_t)len - 1))
		return tree_fail(fdt, node, why, FAIL_CORRUPT,
				 "%s: not a single NUL-terminated string", name);
	if ((size_t)len > capacity)
		return tree_fail(fdt, node, why, FAIL_LIMIT, "%s: %d bytes exceed the limit of %zu",
				 name, len, capacity);
	memset(v, 0, capacity);
	memcpy(v, p, (size_t)len);
	return 0;
}

int tree_word(const void *fdt, int node, const char *name, const char *const *words, unsigned n,
	      unsigned *v, struct fail *why)
{
	char text[64];

	if (tree_str(fdt, node, name, text, sizeof(text), why))
		return -1;
	for (unsigned i = 0; i < n; i++) {
		if (strcmp(text, words[i]) == 0) {
			*v = i;
			return 0;
		}
	}
	return tree_fail(fdt, node, why, FAIL_VERSION, "%s: unsupported value '%s'", name, text);
}
