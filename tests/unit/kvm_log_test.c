/* SPDX-License-Identifier: MIT */
#include "tests/unit/kvm_rig.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* The dirty log: exact against a replay of what the guest wrote, in each mode KVM has; and slots
 * that change. */

#define PAGES   1024u                     /* each vCPU writes to, a power of two */
#define AT(cpu) (0x800000u + (uint64_t)(cpu) * PAGES * GUEST_PAGE)
#define ROUNDS  40
#define TAIL    13u                       /* pages of RAM beyond a multiple of 64 */

static const struct accel_ops *const ops = &accel_kvm_ops;

/* ---- which mode the kernel says it has: the program is linked with --wrap=ioctl ---- */

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
static int manual_mask = 3;

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list       ap;
	unsigned long arg;
	int           rc;

	va_start(ap, request);
	arg = va_arg(ap, unsigned long);
	va_end(ap);
	rc = __real_ioctl(fd, request, arg);
	return request == KVM_CHECK_EXTENSION && arg == KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 &&
	       rc > 0 ? rc & manual_mask : rc;
}

/* ---- guests ---- */

/* r8: xorshift, from rsi; r12 counts; each turn stores the count into a page of those at rdi.
 * rdx: pages - 1. */
GUEST(prng,
	"mov %rsi, %r8\n xor %r12, %r12\n"
	"1: mov %r8, %rax\n shl $13, %rax\n xor %rax, %r8\n mov %r8, %rax\n shr $7, %rax\n "
	"xor %rax, %r8\n mov %r8, %rax\n"
	"shl $17, %rax\n xor %rax, %r8\n mov %r8, %rax\n and %rdx, %rax\n shl $12, %rax\n "
	"inc %r12\n"
	"mov %r12, 8(%rdi,%rax)\n jmp 1b\n");

static uint64_t turn(uint64_t x)
{
	x ^= x << 13;
	x ^= x >> 7;
	return x ^ x << 17;
}

struct replay {
	uint64_t state, done;      /* of r12 turns, whose stores have been seen */
};

static uint64_t seed(uint32_t cpu) { return 0x1234567 + cpu * 77777u; }

/* Into want: the pages that vCPU cpu has written since the last time. *may: the page of a store
 * that it has counted and not done yet, which KVM may have logged already. */
static void replay_to(struct rig *g, uint32_t cpu, struct replay *r, uint64_t *want, uint64_t *may)
{
	struct kvm_regs regs;

	rig_regs(g, cpu, &regs);
	*may = UINT64_MAX;
	while (r->done < regs.r12) {
		uint64_t next = turn(r->state), gpa = AT(cpu) + (next & (PAGES - 1)) * GUEST_PAGE;

		if (r->done + 1 == regs.r12 && rig_get(g, gpa + 8) != regs.r12) {
			*may = gpa / GUEST_PAGE;
			return;
		}
		bitmap_set(want, gpa / GUEST_PAGE);
		r->state = next;
		r->done++;
	}
}

struct logged {
	struct rig *g;
	uint64_t   *taken[LIMIT_REGIONS];
	uint64_t    npages, missed, extra, expected;
	uint8_t    *shadow;
};

static bool sync_dirty_log(struct logged *l)
{
	struct fail why;

	memset(l->taken[0], 0, bitmap_bytes(l->npages));
	if (ops->sync_dirty_log(l->g->vm.accel, l->taken, &why) == 0)
		return true;
	note("%s", why.what);
	return false;
}

/* Logged pages are copied; at the end the others must be the same as in the copy. */
static void shadow_copy(struct logged *l)
{
	for (uint64_t p = 0; p < l->npages; p++)
		if (bitmap_test(l->taken[0], p))
			memcpy(l->shadow + p * GUEST_PAGE,
			       (uint8_t *)rig_host(l->g, 0) + p * GUEST_PAGE, GUEST_PAGE);
}

/* Page tables: their accessed and dirty bits are guest memory, too. */
static bool is_table(uint64_t page)
{
	return page >= RIG_TABLES / GUEST_PAGE && page < RIG_TABLES / GUEST_PAGE + 6;
}

static void compare(struct logged *l, const uint64_t *want, const uint64_t *may, uint32_t ncpus)
{
	for (uint64_t p = 0; p < l->npages; p++) {
		bool is = bitmap_test(l->taken[0], p);
		bool wanted = bitmap_test(want, p);
		bool maybe = is_table(p);

		for (uint32_t i = 0; i < ncpus; i++)
			maybe = maybe || p == may[i];
		l->expected += wanted;
		l->missed += wanted && !is;
		l->extra += is && !wanted && !maybe;
	}
}

static void log_open(struct logged *l, struct rig *g, uint32_t ncpus)
{
	struct fail why;

	rig_plan(g, ncpus, RIG_BYTES + TAIL * GUEST_PAGE);
	g->vm.cfg.regions[1] = (struct machine_region){
		.id        = 1,
		.kind      = REGION_ROM,
		.name      = "rom",
		.gpa       = RIG_ROM,
		.size      = 0x10000,
		.page_size = GUEST_PAGE,
	};
	g->vm.cfg.nregions   = 2;
	if (rig_memory(g, &why) || rig_open(g, &why)) {
		printf("Bail out! %s\n", why.what);
		exit(1);
	}
	rig_reset(g);
	*l          = (struct logged){ .g = g, .npages = g->vm.memory.regions[0].npages };
	l->taken[0] = calloc(1, bitmap_bytes(l->npages));
	l->taken[1] = calloc(1, bitmap_bytes(g->vm.memory.regions[1].npages));
	l->shadow   = malloc(l->npages * GUEST_PAGE);
	if (!l->taken[0] || !l->taken[1] || !l->shadow)
		abort();
}

static void log_close(struct logged *l)
{
	rig_close(l->g);
	free(l->taken[0]);
	free(l->taken[1]);
	free(l->shadow);
}

static void exact(const char *mode, uint32_t ncpus)
{
	static struct rig g;
	struct logged     l;
	struct replay     r[2] = { { .state = seed(0) }, { .state = seed(1) } };
	struct fail       why;
	uint64_t         *want, may[2];
	char              claim[128];

	log_open(&l, &g, ncpus);
	want = calloc(1, bitmap_bytes(l.npages));
	if (!want)
		abort();
	for (uint32_t i = 0; i < ncpus; i++)
		rig_load(&g, i, prng, prng_end, AT(i), seed(i), PAGES - 1);
	rig_post_load(&g);
	ops->resume(g.vm.accel);
	rig_nap(20000);      /* unlogged */
	rig_pause(&g);
	for (uint32_t i = 0; i < ncpus; i++)
		replay_to(&g, i, &r[i], want, &may[i]);
	snprintf(claim, sizeof(claim), "%s, %u vCPUs: a log that was just switched on is empty",
		 mode, ncpus);
	ok(ops->log(g.vm.accel, true, &why) == 0 && sync_dirty_log(&l) &&
	   bitmap_count(l.taken[0], l.npages) == 0, claim);
	memcpy(l.shadow, rig_host(&g, 0), l.npages * GUEST_PAGE);

	bool good = true;

	for (int round = 0; round < ROUNDS && good; round++) {
		ops->resume(g.vm.accel);
		rig_nap(4000);
		rig_pause(&g);
		memset(want, 0, bitmap_bytes(l.npages));
		for (uint32_t i = 0; i < ncpus; i++)
			replay_to(&g, i, &r[i], want, &may[i]);
		good = sync_dirty_log(&l);
		compare(&l, want, may, ncpus);
		shadow_copy(&l);
	}
	note("%s, %u vCPUs: %llu pages expected, %llu missed, %llu too many", mode, ncpus,
	     (unsigned long long)l.expected,
	     (unsigned long long)l.missed, (unsigned long long)l.extra);
	snprintf(claim, sizeof(claim),
		 "%s, %u vCPUs: the log has what was written, and nothing else", mode, ncpus);
	ok(good && l.expected > ROUNDS && l.missed == 0 && l.extra == 0, claim);

	/* Harvested as it runs. */
	ops->resume(g.vm.accel);
	for (int round = 0; round < ROUNDS && good; round++) {
		good = sync_dirty_log(&l);
		shadow_copy(&l);
		rig_nap(1000);
	}
	rig_pause(&g);
	good = good && sync_dirty_log(&l);
	shadow_copy(&l);
	snprintf(claim, sizeof(claim),
		 "%s, %u vCPUs: copies made while the guest runs end up equal to its memory", mode,
		 ncpus);
	ok(good && memcmp(l.shadow, rig_host(&g, 0), l.npages * GUEST_PAGE) == 0, claim);

	/* Switched on as it runs: from then on nothing is missed. */
	ops->log(g.vm.accel, false, &why);
	ops->resume(g.vm.accel);
	rig_nap(5000);
	good = ops->log(g.vm.accel, true, &why) == 0;
	memcpy(l.shadow, rig_host(&g, 0), l.npages * GUEST_PAGE);
	rig_nap(5000);
	rig_pause(&g);
	good = good && sync_dirty_log(&l);
	shadow_copy(&l);
	snprintf(claim, sizeof(claim),
		 "%s, %u vCPUs: a log that is switched on while the guest runs misses nothing",
		 mode, ncpus);
	ok(good && memcmp(l.shadow, rig_host(&g, 0), l.npages * GUEST_PAGE) == 0, claim);
	free(want);
	log_close(&l);
}

/* ---- slots ---- */

/* A store into the page rdi, then the end. */
GUEST(store, "mov %rsi, (%rdi)" GUEST_DONE);

static void store_at(struct rig *g, uint64_t gpa, uint64_t value)
{
	rig_reset(g);
	rig_load(g, 0, store, store_end, gpa, value, 0);
	rig_post_load(g);
	ops->resume(g->vm.accel);
	rig_wait(g, RIG_DONE, 1);
	rig_pause(g);
}

/* ROM: what is read is stored at rdi; then ROM is stored to. */
GUEST(rom,
	"mov (%rsi), %rax\n mov %rax, (%rdi)\n mov %rdx, (%rsi)\n mov (%rsi), %rax\n "
	"mov %rax, 8(%rdi)" GUEST_DONE);

static void test_rom(struct logged *l)
{
	struct rig *g = l->g;

	*(uint64_t *)rig_host(g, RIG_ROM + 0x20) = 0x1122334455667788;
	rig_reset(g);
	rig_load(g, 0, rom, rom_end, RIG_DATA, RIG_ROM + 0x20, 99);
	rig_post_load(g);
	ops->resume(g->vm.accel);
	ok(rig_wait(g, RIG_DONE, 1), "a guest that reads and stores to ROM comes to its end");
	rig_pause(g);
	ok(rig_get(g, RIG_DATA) == 0x1122334455667788 &&
	   rig_get(g, RIG_DATA + 8) == 0x1122334455667788 &&
		   rig_get(g, RIG_ROM + 0x20) == 0x1122334455667788,
	   "ROM is read, and stores to it are dropped");
}

static void test_tail(struct logged *l)
{
	const uint64_t last = l->npages - 1;
	struct fail    why;

	ok(ops->log(l->g->vm.accel, true, &why) == 0 && ops->log(l->g->vm.accel, true, &why) == 0,
	   "the log is switched on, twice");
	store_at(l->g, last * GUEST_PAGE, 5);
	ok(sync_dirty_log(l) && bitmap_test(l->taken[0], last),
	   "the last page of a slot that ends within 64 pages is logged");
	store_at(l->g, last * GUEST_PAGE, 6);
	ok(sync_dirty_log(l) && bitmap_test(l->taken[0], last), "and again, once it was cleared");
	ok((l->taken[0][last / 64] & ~bitmap_mask(last / 64, 0, l->npages)) == 0,
	   "no bit after it is set");
}

static void test_change(struct logged *l)
{
	struct rig    *g = l->g;
	struct region *r = &g->vm.memory.regions[0];
	struct fail    why;

	store_at(g, 0x900000, 7);
	ok(kvm_slot_remove(g->k, 0, &why) == 0 &&
	   atomic_load(&r->dirty[0x900 / 64]) >> (0x900 % 64) & 1,
	   "what was written before a slot is removed is marked in the region");
	ok(kvm_slot_remove(g->k, 0, &why) && strstr(why.what, "no memory slot"),
	   "a slot is removed once only");
	ok(kvm_slot_add(g->k, 0, &why) == 0, "it comes again");
	ok(kvm_slot_add(g->k, 0, &why) && kvm_slot_add(g->k, 9, &why),
	   "once, and for a region only");
	sync_dirty_log(l);
	store_at(g, 0x901000, 7);
	ok(sync_dirty_log(l) && bitmap_test(l->taken[0], 0x901) && !bitmap_test(l->taken[0], 0x900),
	   "and is logged as before");
	ops->resume(g->vm.accel);
	ok(kvm_slot_remove(g->k, 0, &why) && strstr(why.what, "while vCPUs run"),
	   "a slot of a running guest is not removed");
	rig_pause(g);
}

static void test_errors(struct logged *l)
{
	struct rig *g = l->g;
	struct fail why;

	struct kvm_userspace_memory_region set = {
		.memory_size    = RIG_BYTES + TAIL * GUEST_PAGE,
		.userspace_addr = (uint64_t)(uintptr_t)rig_host(g, 0),
	};

	store_at(g, 0x902000, 7);
	if (__real_ioctl(g->k->fd, KVM_SET_USER_MEMORY_REGION, &set))
		abort();
	ok(ops->sync_dirty_log(g->vm.accel, l->taken, &why) &&
	   strstr(why.what, "KVM_GET_DIRTY_LOG, region ram") && why.sys == ENOENT,
	   "a log that is unexpectedly off is an error that names ioctl and region");
	ops->log(g->vm.accel, false, &why);
	ok(ops->sync_dirty_log(g->vm.accel, l->taken, &why) && why.kind == FAIL_REFUSED,
	   "a sync is refused while the log is off");
}

int main(void)
{
	static const struct { const char *name; int mask; } modes[] = {
		{ "plain", 0 }, { "manual", 1 }, { "manual and initially set", 3 },
	};
	static struct rig g;
	struct logged     l;

	rig_need_kvm();
	for (size_t i = 0; i < 3; i++) {
		manual_mask = modes[i].mask;
		exact(modes[i].name, 1);
		exact(modes[i].name, 2);
		log_open(&l, &g, 1);
		note("slots, %s", modes[i].name);
		test_rom(&l);
		test_tail(&l);
		test_change(&l);
		test_errors(&l);
		log_close(&l);
	}
	return done_testing();
}
