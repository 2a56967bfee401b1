/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/soft/rv64.h"

#include <string.h>

/* SBI 2.0: what the hart's firmware would answer. a7 extension, a6 function, a0 to a5 arguments;
 * error in a0, value in a1. Without the legacy extensions. */

enum { A0 = 10, A1, A2, A3, A4, A5, A6, A7 };

enum sbi_error {
	SBI_SUCCESS           = 0,
	SBI_FAILED            = -1,
	SBI_NOT_SUPPORTED     = -2,
	SBI_INVALID_PARAM     = -3,
	SBI_INVALID_ADDRESS   = -5,
	SBI_ALREADY_AVAILABLE = -6,
};

enum sbi_extension {
	SBI_BASE   = 0x10,
	SBI_TIME   = 0x54494d45,
	SBI_IPI    = 0x735049,
	SBI_RFENCE = 0x52464e43,
	SBI_HSM    = 0x48534d,
	SBI_SRST   = 0x53525354,
	SBI_DBCN   = 0x4442434e,
};

#define SBI_SPEC_2_0 (2u << 24)
#define SBI_IMPL_ID  0x766d66u      /* "vmf": not registered with RISC-V International */

struct sbi_answer {
	int64_t  error;
	uint64_t value;
};

static const enum sbi_extension sbi_extensions[] = {
	SBI_BASE, SBI_TIME, SBI_IPI, SBI_RFENCE, SBI_HSM, SBI_SRST, SBI_DBCN,
};

static struct sbi_answer sbi_base(const struct hart *h, uint64_t fn)
{
	switch (fn) {
	case 0: return (struct sbi_answer){ SBI_SUCCESS, SBI_SPEC_2_0 };
	case 1: return (struct sbi_answer){ SBI_SUCCESS, SBI_IMPL_ID };
	case 2: return (struct sbi_answer){ SBI_SUCCESS, 1 };
	case 3:
		for (unsigned i = 0; i < sizeof(sbi_extensions) / sizeof(sbi_extensions[0]); i++)
			if (h->x[A0] == sbi_extensions[i])
				return (struct sbi_answer){ SBI_SUCCESS, 1 };
		return (struct sbi_answer){ SBI_SUCCESS, 0 };
	case 4: case 5: case 6:      /* mvendorid, marchid, mimpid: 0 is "not implemented" */
		return (struct sbi_answer){ SBI_SUCCESS, 0 };
	}
	return (struct sbi_answer){ SBI_NOT_SUPPORTED, 0 };
}

static struct sbi_answer sbi_time(struct hart *h, uint64_t fn)
{
	if (fn != 0)
		return (struct sbi_answer){ SBI_NOT_SUPPORTED, 0 };
	h->s.stimecmp = h->x[A0];
	soft_timer_arm(h);
	return (struct sbi_answer){ SBI_SUCCESS, 0 };
}

/* A hart mask and its base to a set of harts; a base of all ones means all. false: it has a hart
 * that does not exist (SBI 2.0, 3.1). */
static bool sbi_harts(const struct hart *h, uint64_t mask, uint64_t base, uint64_t *set)
{
	const uint32_t n = h->soft->nharts;

	if (base == UINT64_MAX) {
		*set = ((uint64_t)1 << n) - 1;
		return true;
	}
	if (base >= n || (mask << base) >> base != mask || (mask << base) >> n)
		return false;
	*set = mask << base;
	return true;
}

static struct sbi_answer sbi_ipi(struct hart *h, uint64_t fn)
{
	uint64_t set;

	if (fn != 0)
		return (struct sbi_answer){ SBI_NOT_SUPPORTED, 0 };
	if (!sbi_harts(h, h->x[A0], h->x[A1], &set))
		return (struct sbi_answer){ SBI_INVALID_PARAM, 0 };
	for (uint32_t i = 0; i < h->soft->nharts; i++) {
		if (!(set >> i & 1))
			continue;
		__atomic_store_n(&h->soft->harts[i]->s.ssip, true, __ATOMIC_RELEASE);
		soft_kick(h->soft->harts[i], REQ_LOOK);
	}
	return (struct sbi_answer){ SBI_SUCCESS, 0 };
}

static struct sbi_answer sbi_rfence(struct hart *h, uint64_t fn)
{
	uint64_t set;

	if (fn > 2)      /* the hypervisor's fences */
		return (struct sbi_answer){ SBI_NOT_SUPPORTED, 0 };
	if (!sbi_harts(h, h->x[A0], h->x[A1], &set))
		return (struct sbi_answer){ SBI_INVALID_PARAM, 0 };
	/* The whole TLB instead of the requested range: it is small, and soon filled again. */
	soft_ask(h->soft, h, set, fn == 0 ? REQ_FENCEI : REQ_TLB);
	return (struct sbi_answer){ SBI_SUCCESS, 0 };
}

/* ---- hart state management ---- */

static struct sbi_answer sbi_hart_start(struct hart *h)
{
	struct soft      *m = h->soft;
	struct sbi_answer a = { SBI_SUCCESS, 0 };
	struct hart      *t;

	if (h->x[A0] >= m->nharts)
		return (struct sbi_answer){ SBI_INVALID_PARAM, 0 };
	if (h->x[A1] & 1 || !memory_region(&h->vm->memory, h->x[A1], 2))
		return (struct sbi_answer){ SBI_INVALID_ADDRESS, 0 };
	t = m->harts[h->x[A0]];
	/* With lock: the hart's thread reads hsm with it before it waits on wake, and two harts may
	 * try to start the same one. */
	pthread_mutex_lock(&m->lock);
	if (t->s.hsm == HSM_STOPPED) {
		t->s.hsm_start  = h->x[A1];
		t->s.hsm_opaque = h->x[A2];
		__atomic_store_n(&t->s.ssip, false, __ATOMIC_RELEASE);
		__atomic_store_n(&t->s.hsm, HSM_START_PENDING, __ATOMIC_RELEASE);
		pthread_cond_broadcast(&t->wake);
	} else {
		a.error = SBI_ALREADY_AVAILABLE;
	}
	pthread_mutex_unlock(&m->lock);
	return a;
}

static void sbi_hart_stop(struct hart *h)
{
	struct soft *m = h->soft;
	bool         any = false;

	/* With lock: of two last harts that stop at once, one must see that there is none left. */
	pthread_mutex_lock(&m->lock);
	__atomic_store_n(&h->s.hsm, HSM_STOPPED, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < m->nharts; i++)
		any |= m->harts[i]->s.hsm != HSM_STOPPED;
	pthread_mutex_unlock(&m->lock);
	atomic_store(&h->limit, 0);
	if (!any)
		vm_event(h->vm, VM_EVENT_DEAD);      /* no hart is left that could start one */
}

static struct sbi_answer sbi_hsm(struct hart *h, uint64_t fn)
{
	switch (fn) {
	case 0:
		return sbi_hart_start(h);
	case 1:
		sbi_hart_stop(h);
		return (struct sbi_answer){ SBI_SUCCESS, 0 };
	case 2:
		if (h->x[A0] >= h->soft->nharts)
			return (struct sbi_answer){ SBI_INVALID_PARAM, 0 };
		return (struct sbi_answer){
			SBI_SUCCESS,
			__atomic_load_n(&h->soft->harts[h->x[A0]]->s.hsm, __ATOMIC_ACQUIRE),
		};
	case 3:
		/* Only the default retentive suspend, which is the same as wfi. */
		if ((uint32_t)h->x[A0] != 0)
			return (struct sbi_answer){
				h->x[A0] >> 31 & 1 ? SBI_NOT_SUPPORTED : SBI_INVALID_PARAM, 0,
			};
		__atomic_store_n(&h->s.hsm, HSM_SUSPENDED, __ATOMIC_RELEASE);
		h->s.wfi = true;
		atomic_store(&h->limit, 0);
		return (struct sbi_answer){ SBI_SUCCESS, 0 };
	}
	return (struct sbi_answer){ SBI_NOT_SUPPORTED, 0 };
}

static struct sbi_answer sbi_srst(struct hart *h, uint64_t fn)
{
	const uint32_t type = (uint32_t)h->x[A0], reason = (uint32_t)h->x[A1];

	if (fn != 0)
		return (struct sbi_answer){ SBI_NOT_SUPPORTED, 0 };
	if (type > 2 || reason > 1)
		return (struct sbi_answer){ SBI_INVALID_PARAM, 0 };
	/* pc stays at the ecall: if the hart is resumed or restored instead, it asks again. */
	h->stuck = true;
	atomic_store(&h->limit, 0);
	vm_event(h->vm, type == 0 ? VM_EVENT_SHUTDOWN : VM_EVENT_RESET);
	return (struct sbi_answer){ SBI_SUCCESS, 0 };
}

/* ---- debug console ---- */

static struct sbi_answer sbi_dbcn(struct hart *h, uint64_t fn)
{
	const uint64_t len = h->x[A0], at = h->x[A1];
	uint8_t        buf[1024];
	size_t         n;

	switch (fn) {
	case 0:
	case 1: {
		/* At most one buffer: a call may do less, and the guest calls again for the rest
		 * (SBI 2.0, 12). */
		uint64_t some = len < sizeof(buf) ? len : sizeof(buf);

		if (len == 0)
			return (struct sbi_answer){ SBI_SUCCESS, 0 };
		if (h->x[A2] || !memory_region(&h->vm->memory, at, len))
			return (struct sbi_answer){ SBI_INVALID_PARAM, 0 };
		if (fn == 0) {
			if (guest_copy_out(&h->vm->memory, buf, at, some))
				return (struct sbi_answer){ SBI_INVALID_PARAM, 0 };
			if (rv64_lost(h))
				return (struct sbi_answer){ SBI_FAILED, 0 };
			board_console_write(h->vm->board, buf, some);
			return (struct sbi_answer){ SBI_SUCCESS, some };
		}
		n = board_console_read(h->vm->board, buf, some);
		if (guest_copy_in(&h->vm->memory, at, buf, n))
			return (struct sbi_answer){ SBI_INVALID_PARAM, 0 };
		return (struct sbi_answer){ SBI_SUCCESS, n };
	}
	case 2:
		buf[0] = (uint8_t)len;
		board_console_write(h->vm->board, buf, 1);
		return (struct sbi_answer){ SBI_SUCCESS, 0 };
	}
	return (struct sbi_answer){ SBI_NOT_SUPPORTED, 0 };
}

void rv64_sbi(struct hart *h)
{
	const uint64_t    fn = h->x[A6];
	struct sbi_answer a = { SBI_NOT_SUPPORTED, 0 };

	if (rv64_lost(h))
		return;
	h->n_sbi++;
	switch (h->x[A7]) {
	case SBI_BASE:   a = sbi_base(h, fn); break;
	case SBI_TIME:   a = sbi_time(h, fn); break;
	case SBI_IPI:    a = sbi_ipi(h, fn); break;
	case SBI_RFENCE: a = sbi_rfence(h, fn); break;
	case SBI_HSM:    a = sbi_hsm(h, fn); break;
	case SBI_SRST:   a = sbi_srst(h, fn); break;
	case SBI_DBCN:   a = sbi_dbcn(h, fn); break;
	}
	if (h->stuck)
		return;
	h->x[A0] = (uint64_t)a.error;
	h->x[A1] = a.value;
	h->s.pc += 4;
}
