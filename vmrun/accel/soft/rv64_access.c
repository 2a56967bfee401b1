/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/soft/rv64.h"
#include "vmrun/accel/soft/rv64_fp.h"

#include <string.h>

/* Loads and stores that the executor's fast path does not do: first ones to a page, misaligned
 * ones, device accesses; and atomics. */

static uint64_t host_load(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	/* One host access where it is aligned, as in the fast path: other harts must not see, or
	 * cause, half of a value (RVWMO, Unprivileged 20191213, 14). */
	if ((uintptr_t)p & (size - 1)) {
		memcpy(&v, p, size);
		return v;
	}
	switch (size) {
	case 1: return __atomic_load_n(p, __ATOMIC_RELAXED);
	case 2: return __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_RELAXED);
	case 4: return __atomic_load_n((const uint32_t *)(const void *)p, __ATOMIC_RELAXED);
	default: return __atomic_load_n((const uint64_t *)(const void *)p, __ATOMIC_RELAXED);
	}
}

static void host_store(uint8_t *p, unsigned size, uint64_t v)
{
	if ((uintptr_t)p & (size - 1)) {
		memcpy(p, &v, size);
		return;
	}
	switch (size) {
	case 1: __atomic_store_n(p, (uint8_t)v, __ATOMIC_RELAXED); break;
	case 2: __atomic_store_n((uint16_t *)(void *)p, (uint16_t)v, __ATOMIC_RELAXED); break;
	case 4: __atomic_store_n((uint32_t *)(void *)p, (uint32_t)v, __ATOMIC_RELAXED); break;
	default: __atomic_store_n((uint64_t *)(void *)p, v, __ATOMIC_RELAXED); break;
	}
}

bool rv64_lost(struct hart *h)
{
	if (!memory_lost(&h->vm->memory))
		return false;
	h->stuck = true;
	atomic_store(&h->limit, 0);
	return true;
}

static bool access_mmio_load(struct hart *h, uint64_t va, uint64_t gpa, unsigned size,
			     uint64_t *value)
{
	bool ok;

	if (va & (size - 1))
		return rv64_fault(h, CAUSE_LOAD_ALIGN, va);
	*value = 0;
	if (rv64_lost(h))
		return true;
	h->n_mmio++;
	rv64_fp_leave(h);
	ok = board_mmio_read(h->vm->board, gpa, size, value);
	rv64_fp_enter(h);
	return ok || rv64_access_fault(h, va, ACCESS_READ);
}

static bool access_mmio_store(struct hart *h, uint64_t va, uint64_t gpa, unsigned size,
			      uint64_t value)
{
	bool ok;

	if (va & (size - 1))
		return rv64_fault(h, CAUSE_STORE_ALIGN, va);
	if (rv64_lost(h))
		return true;
	if (size < 8)
		value &= ((uint64_t)1 << (8 * size)) - 1;
	h->n_mmio++;
	rv64_fp_leave(h);
	ok = board_mmio_write(h->vm->board, gpa, size, value);
	rv64_fp_enter(h);
	return ok || rv64_access_fault(h, va, ACCESS_WRITE);
}

bool rv64_load(struct hart *h, uint64_t va, unsigned size, uint64_t *value)
{
	unsigned first = GUEST_PAGE - (unsigned)(va & (GUEST_PAGE - 1));
	uint8_t *host;
	uint64_t gpa;

	if (first < size) {     /* across two pages, which are not adjacent in host memory */
		uint64_t v = 0;

		for (unsigned i = 0; i < size; i++) {
			if (!rv64_host(h, va + i, ACCESS_READ, &host, &gpa))
				return false;
			if (!host)
				return rv64_fault(h, CAUSE_LOAD_ALIGN, va);
			v |= (uint64_t)*host << (8 * i);
		}
		*value = v;
		return true;
	}
	if (!rv64_host(h, va, ACCESS_READ, &host, &gpa))
		return false;
	if (!host)
		return access_mmio_load(h, va, gpa, size, value);
	*value = host_load(host, size);
	return true;
}

bool rv64_store(struct hart *h, uint64_t va, unsigned size, uint64_t value)
{
	unsigned first = GUEST_PAGE - (unsigned)(va & (GUEST_PAGE - 1));
	uint8_t *host, *next;
	uint64_t gpa;

	if (!rv64_host(h, va, ACCESS_WRITE, &host, &gpa))
		return false;
	/* Both are translated before either is written: a trap on the second page must leave the
	 * first one unchanged. Adjacent pages have different TLB entries: the first one's write
	 * tag, which REQ_CODE looks for, is still there at the store. */
	if (first < size) {
		if (!rv64_host(h, va + first, ACCESS_WRITE, &next, &gpa))
			return false;
		if (!host || !next)
			return rv64_fault(h, CAUSE_STORE_ALIGN, va);
		memcpy(host, &value, first);
		memcpy(next, (const uint8_t *)&value + first, size - first);
		return true;
	}
	if (!host)
		return access_mmio_store(h, va, gpa, size, value);
	host_store(host, size, value);
	return true;
}

/* ---- atomics ---- */

void *rv64_atomic(struct hart *h, uint64_t va, unsigned size, uint64_t *gpa)
{
	uint64_t at;
	uint8_t *host;

	if (va & (size - 1)) {
		rv64_fault(h, CAUSE_STORE_ALIGN, va);
		return NULL;
	}
	if (!rv64_host(h, va, ACCESS_WRITE, &host, &at))
		return NULL;
	if (!host)
		rv64_access_fault(h, va, ACCESS_WRITE);
	if (gpa)
		*gpa = at;
	return host;
}

bool rv64_lr(struct hart *h, uint64_t va, unsigned size, uint64_t *value)
{
	uint8_t *host;
	uint64_t gpa;

	if (va & (size - 1))
		return rv64_fault(h, CAUSE_LOAD_ALIGN, va);
	if (!rv64_host(h, va, ACCESS_READ, &host, &gpa))
		return false;
	if (!host)
		return rv64_access_fault(h, va, ACCESS_READ);
	if (size == 4)
		*value = (uint64_t)(int32_t)__atomic_load_n((uint32_t *)(void *)host,
							    __ATOMIC_SEQ_CST);
	else
		*value = __atomic_load_n((uint64_t *)(void *)host, __ATOMIC_SEQ_CST);
	h->s.res_valid = true;
	h->s.res_size  = (uint8_t)size;
	h->s.res_gpa   = gpa;
	h->s.res_value = *value;
	return true;
}

/* By comparing values: a store in between that restores the old value is not noticed. For the guest
 * that is the same as a store before its LR. */
bool rv64_sc(struct hart *h, uint64_t va, unsigned size, uint64_t value, bool *stored)
{
	uint64_t gpa;
	void    *host = rv64_atomic(h, va, size, &gpa);

	if (!host)
		return false;
	*stored = false;
	if (h->s.res_valid && h->s.res_size == size && h->s.res_gpa == gpa) {
		uint64_t seen = h->s.res_value;
		uint32_t seen32 = (uint32_t)seen;

		if (size == 4)
			*stored = __atomic_compare_exchange_n((uint32_t *)host, &seen32,
							      (uint32_t)value, false,
							      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		else
			*stored = __atomic_compare_exchange_n((uint64_t *)host, &seen, value, false,
							      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	h->s.res_valid = false;
	return true;
}
