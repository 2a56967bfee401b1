/* SPDX-License-Identifier: MIT */
#include "vmrun/board/x86_64/aml.h"

#include "libcommon/bytes.h"

#include <assert.h>
#include <string.h>

enum {
	AML_NAME = 0x08, AML_BYTE = 0x0a, AML_WORD = 0x0b, AML_DWORD = 0x0c, AML_STRING = 0x0d,
	AML_QWORD = 0x0e, AML_SCOPE = 0x10, AML_BUFFER = 0x11, AML_PACKAGE = 0x12,
	AML_METHOD = 0x14, AML_DUAL_NAME = 0x2e, AML_EXT = 0x5b, AML_ROOT = 0x5c,
	AML_EXT_DEVICE = 0x82, AML_NOTIFY = 0x86,
};

static void aml_bytes(struct aml *a, const void *p, size_t n)
{
	if (n > a->capacity - a->len) {
		a->full = true;
		return;
	}
	memcpy(a->buf + a->len, p, n);
	a->len += n;
}

static void aml_byte(struct aml *a, unsigned v)
{
	uint8_t byte = (uint8_t)v;

	aml_bytes(a, &byte, 1);
}

static void aml_begin(struct aml *a, unsigned op)
{
	assert(a->depth < AML_DEPTH);
	aml_byte(a, op);
	a->begun[a->depth++] = a->len;
}

/* PkgLength counts itself: 6 bits in one byte, or 4 and 8 in each of up to three more. */
void aml_end(struct aml *a)
{
	size_t  at   = a->begun[--a->depth], body = a->len - at;
	size_t  n    = body + 1 < 1u << 6 ? 1 : body + 2 < 1u << 12 ? 2 : 3, len = body + n;
	uint8_t enc[3] = { (uint8_t)(n == 1 ? len : (n - 1) << 6 | (len & 15)), (uint8_t)(len >> 4),
			   (uint8_t)(len >> 12) };

	if (a->full || n > a->capacity - a->len || len >= 1u << 20) {
		a->full = true;
		return;
	}
	memmove(a->buf + at + n, a->buf + at, body);
	memcpy(a->buf + at, enc, n);
	a->len += n;
}

void aml_scope(struct aml *a, const char *root)
{
	aml_begin(a, AML_SCOPE);
	aml_byte(a, AML_ROOT);
	aml_bytes(a, root, 4);
}

void aml_device(struct aml *a, const char *name)
{
	aml_byte(a, AML_EXT);
	aml_begin(a, AML_EXT_DEVICE);
	aml_bytes(a, name, 4);
}

void aml_method(struct aml *a, const char *name, unsigned nargs)
{
	aml_begin(a, AML_METHOD);
	aml_bytes(a, name, 4);
	aml_byte(a, nargs);
}

void aml_package(struct aml *a, uint8_t nelements)
{
	aml_begin(a, AML_PACKAGE);
	aml_byte(a, nelements);
}

void aml_name(struct aml *a, const char *name)
{
	aml_byte(a, AML_NAME);
	aml_bytes(a, name, 4);
}

void aml_int(struct aml *a, uint64_t v)
{
	uint8_t bytes[8];

	put_le64(bytes, v);
	if (v <= 1) {
		aml_byte(a, (unsigned)v);
		return;
	}
	aml_byte(a, v < 1u << 8      ? AML_BYTE
		    : v < 1u << 16   ? AML_WORD
		    : v <= UINT32_MAX ? AML_DWORD
				      : AML_QWORD);
	aml_bytes(a, bytes, v < 1u << 8 ? 1 : v < 1u << 16 ? 2 : v <= UINT32_MAX ? 4 : 8);
}

void aml_string(struct aml *a, const char *s)
{
	aml_byte(a, AML_STRING);
	aml_bytes(a, s, strlen(s) + 1);
}

static unsigned aml_hex(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters of 5 bits, four digits of 4; big-endian. */
void aml_eisaid(struct aml *a, const char *id)
{
	uint32_t v = 0;
	uint8_t  bytes[4];

	for (unsigned i = 0; i < 3; i++)
		v = v << 5 | (uint32_t)(id[i] - '@');
	for (unsigned i = 3; i < 7; i++)
		v = v << 4 | aml_hex(id[i]);
	put_be32(bytes, v);
	aml_byte(a, AML_DWORD);
	aml_bytes(a, bytes, 4);
}

void aml_notify(struct aml *a, const char *scope, const char *device, uint8_t value)
{
	aml_byte(a, AML_NOTIFY);
	aml_byte(a, AML_ROOT);
	aml_byte(a, AML_DUAL_NAME);
	aml_bytes(a, scope, 4);
	aml_bytes(a, device, 4);
	aml_int(a, value);
}

static uint8_t *aml_resource(struct aml_resources *r, size_t len)
{
	uint8_t *p = r->bytes + r->len;

	assert(len <= sizeof(r->bytes) - 2 - r->len);      /* the end tag */
	r->len += len;
	return p;
}

void aml_io(struct aml_resources *r, uint16_t port, uint8_t len)
{
	uint8_t *p = aml_resource(r, 8);

	p[0] = 0x47;
	p[1] = 1;              /* 16 bits are decoded */
	put_le16(p + 2, port);
	put_le16(p + 4, port);
	p[6] = 1;
	p[7] = len;
}

void aml_irq(struct aml_resources *r, unsigned irq)
{
	uint8_t *p = aml_resource(r, 3);

	p[0] = 0x22;
	put_le16(p + 1, (uint16_t)(1u << irq));
}

void aml_interrupt(struct aml_resources *r, uint32_t gsi, bool shared)
{
	uint8_t *p = aml_resource(r, 9);

	p[0] = 0x89;
	put_le16(p + 1, 6);
	p[3] = shared ? 9 : 1; /* consumer, level, active high */
	p[4] = 1;
	put_le32(p + 5, gsi);
}

void aml_memory(struct aml_resources *r, uint32_t base, uint32_t len)
{
	uint8_t *p = aml_resource(r, 12);

	p[0] = 0x86;
	put_le16(p + 1, 9);
	p[3] = 1;              /* writable */
	put_le32(p + 4, base);
	put_le32(p + 8, len);
}

void aml_resources(struct aml *a, const struct aml_resources *r)
{
	static const uint8_t end[2] = { 0x79, 0 };

	aml_begin(a, AML_BUFFER);
	aml_int(a, r->len + sizeof(end));
	aml_bytes(a, r->bytes, r->len);
	aml_bytes(a, end, sizeof(end));
	aml_end(a);
}
