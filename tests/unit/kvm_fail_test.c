/* SPDX-License-Identifier: MIT */
#include "tests/unit/kvm_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Each ioctl, mapping, thread in turn fails: what is reported names it, and nothing is
 * leaked. The program is linked with --wrap for ioctl, open64, mmap64 and pthread_create. */

static const struct accel_ops *const ops = &accel_kvm_ops;

static bool          armed;
static unsigned      fail_nth, calls;      /* the call that fails, those so far */
static unsigned long failed;              /* the request that did */
static int           fail_errno;          /* what it says */
static int           cap_value = -1;      /* what KVM_CHECK_EXTENSION of cap says, when not -1 */
static long          cap;
static int           api = KVM_API_VERSION, open_errno, run_errno;
static bool          no_map, no_thread;

int __real_ioctl(int fd, unsigned long request, ...);
int __real_open64(const char *path, int flags, ...);
void *__real_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t from);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_open64(const char *path, int flags, ...);
void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t from);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list       ap;
	unsigned long arg;

	va_start(ap, request);
	arg = va_arg(ap, unsigned long);
	va_end(ap);
	if (request == KVM_RUN) {
		if (run_errno) {
			errno = run_errno;
			return -1;
		}
		return __real_ioctl(fd, request, arg);
	}
	if (armed && ++calls == fail_nth) {
		failed = request;
		errno  = fail_errno;
		return -1;
	}
	if (request == KVM_GET_API_VERSION)
		return api;
	if (request == KVM_CHECK_EXTENSION && cap_value >= 0 && (long)arg == cap)
		return cap_value;
	return __real_ioctl(fd, request, arg);
}

int __wrap_open64(const char *path, int flags, ...)
{
	if (open_errno && !strcmp(path, "/dev/kvm")) {
		errno = open_errno;
		return -1;
	}
	return __real_open64(path, flags, 0);
}

void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t from)
{
	if (no_map && !(flags & MAP_ANONYMOUS)) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap64(at, len, prot, flags, fd, from);
}

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	return no_thread ? EAGAIN : __real_pthread_create(t, attr, fn, arg);
}

/* ---- what there is ---- */

struct held {
	unsigned fds, threads, maps;
};

static unsigned entries(const char *folder)
{
	DIR     *d = opendir(folder);
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* Mappings of files and descriptors: the C library keeps stacks and arenas of its own. */
static struct held held_now(void)
{
	struct held h = { .fds = entries("/proc/self/fd"), .threads = entries("/proc/self/task") };
	FILE       *f = fopen("/proc/self/maps", "re");
	char        line[512];

	while (f && fgets(line, sizeof(line), f))
		h.maps += strchr(line, '/') || strstr(line, "anon_inode");
	if (f)
		fclose(f);
	return h;
}

static bool held_same(const struct held *a)
{
	struct held b = held_now();

	/* A thread that was joined may be listed for a moment. */
	for (int i = 0; i < 100 && b.threads != a->threads; i++) {
		rig_nap(1000);
		b = held_now();
	}
	if (a->fds == b.fds && a->threads == b.threads && a->maps == b.maps)
		return true;
	note("before: %u fds, %u threads, %u mappings; after: %u, %u, %u", a->fds, a->threads,
	     a->maps, b.fds, b.threads, b.maps);
	return false;
}

/* ---- names ---- */

#define NAME(r) { r, #r }
static const struct { unsigned long request; const char *name; } names[] = {
	NAME(KVM_GET_API_VERSION), NAME(KVM_CREATE_VM), NAME(KVM_GET_VCPU_MMAP_SIZE),
	NAME(KVM_SET_TSS_ADDR), NAME(KVM_SET_IDENTITY_MAP_ADDR), NAME(KVM_ENABLE_CAP),
	NAME(KVM_CREATE_IRQCHIP), NAME(KVM_CREATE_PIT2), NAME(KVM_SET_GSI_ROUTING),
	NAME(KVM_SET_USER_MEMORY_REGION), NAME(KVM_CREATE_VCPU), NAME(KVM_SET_CPUID2),
	NAME(KVM_GET_SUPPORTED_CPUID), NAME(KVM_GET_REGS), NAME(KVM_SET_REGS),
	NAME(KVM_GET_SREGS), NAME(KVM_SET_SREGS), NAME(KVM_GET_SREGS2), NAME(KVM_SET_SREGS2),
	NAME(KVM_GET_XCRS), NAME(KVM_SET_XCRS), NAME(KVM_GET_XSAVE), NAME(KVM_GET_XSAVE2),
	NAME(KVM_SET_XSAVE), NAME(KVM_GET_MSRS), NAME(KVM_SET_MSRS), NAME(KVM_GET_MSR_INDEX_LIST),
	NAME(KVM_GET_LAPIC), NAME(KVM_SET_LAPIC), NAME(KVM_GET_VCPU_EVENTS),
	NAME(KVM_SET_VCPU_EVENTS), NAME(KVM_GET_DEBUGREGS), NAME(KVM_SET_DEBUGREGS),
	NAME(KVM_GET_MP_STATE), NAME(KVM_SET_MP_STATE), NAME(KVM_GET_IRQCHIP),
	NAME(KVM_SET_IRQCHIP), NAME(KVM_GET_PIT2), NAME(KVM_SET_PIT2), NAME(KVM_GET_CLOCK),
	NAME(KVM_SET_CLOCK), NAME(KVM_GET_TSC_KHZ), NAME(KVM_SET_TSC_KHZ),
	NAME(KVM_GET_DIRTY_LOG), NAME(KVM_CLEAR_DIRTY_LOG), NAME(KVM_KVMCLOCK_CTRL),
	NAME(KVM_CHECK_EXTENSION),
};

static const char *name_of(unsigned long request)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].request == request)
			return names[i].name;
	return "?";
}

/* A capability then counts as missing; no guest uses kvm-clock; the frequency is set where it can't
 * be read. */
static bool may_fail(unsigned long request)
{
	return request == KVM_CHECK_EXTENSION || request == KVM_KVMCLOCK_CTRL ||
	       request == KVM_GET_TSC_KHZ;
}

static bool named(const struct fail *why)
{
	const char *name = failed == KVM_CHECK_EXTENSION ? "KVM_CAP_" : name_of(failed);

	if (strstr(why->what, name))
		return true;
	note("%s failed, and this was reported: %s", name, why->what);
	return false;
}

/* ---- each in turn ---- */

/* do(arg) with its nth ioctl failing, for every n; undo(arg) brings things to where they were. */
/* Of KVM_SET_MSRS one a vCPU may fail, and one more: that of the TSC deadline, where the vCPU
 * has it already, and that which writes the first vCPU's TSC for KVM to believe the next. */
static bool each(struct rig *g, int (*attempt)(struct rig *g, struct fail *why),
		 void (*undo)(struct rig *g), unsigned *n)
{
	unsigned quietly = 0;
	bool     good    = true;

	fail_errno = EIO;
	for (*n = 1; *n < 2000; (*n)++) {
		struct fail why = { 0 };
		int         rc;

		failed  = 0;
		calls   = 0;
		fail_nth = *n;
		armed   = true;
		rc      = attempt(g, &why);
		armed   = false;
		if (rc == 0 && !failed) {
			undo(g);
			return good;
		}
		if (rc == 0) {
			if (!may_fail(failed) &&
			    !(failed == KVM_SET_MSRS && ++quietly <= g->k->nvcpus + 1)) {
				note("%s failed (call %u), and nothing was reported",
				     name_of(failed),
				     *n);
				good = false;
			}
		} else if (!named(&why)) {
			good = false;
		}
		undo(g);
	}
	return false;
}

static int try_open(struct rig *g, struct fail *why) { return rig_open(g, why); }
static void undo_open(struct rig *g)
{
	ops->close(g->vm.accel);
	g->vm.accel = NULL;
}

static void must(bool did) { if (!did) abort(); }
static void undo_none(struct rig *g) { (void)g; }

static int try_log(struct rig *g, struct fail *why) { return ops->log(g->vm.accel, true, why); }
static void undo_log(struct rig *g)
{
	struct fail why;

	must(ops->log(g->vm.accel, false, &why) == 0);
}

static uint64_t  map[RIG_BYTES / GUEST_PAGE / 64];
static int try_sync_dirty_log(struct rig *g, struct fail *why)
{
	uint64_t *const taken[LIMIT_REGIONS] = { map };

	return ops->sync_dirty_log(g->vm.accel, taken, why);
}

static int try_sync_state(struct rig *g, struct fail *why)
{
	return ops->sync_state(g->vm.accel, why);
}

static int try_post_load(struct rig *g, struct fail *why)
{
	return ops->post_load(g->vm.accel, CLOCK_FREEZE, why);
}

static int try_reset(struct rig *g, struct fail *why) { return ops->reset(g->vm.accel, NULL, why); }

GUEST(busy, "1: inc %r12\n mov %r12, (%rdi)\n jmp 1b\n");

static int try_pause(struct rig *g, struct fail *why)
{
	armed = false;
	ops->resume(g->vm.accel);
	armed = true;
	return ops->pause(g->vm.accel, why);
}

static void undo_pause(struct rig *g) { rig_pause(g); }

static void test_each(struct rig *g)
{
	struct fail why;
	struct held before;
	unsigned    n;
	bool        good;

	rig_plan(g, 2, RIG_BYTES);
	must(rig_memory(g, &why) == 0 && rig_open(g, &why) == 0);
	undo_open(g);      /* what is made once only is there now */
	before = held_now();
	good   = each(g, try_open, undo_open, &n);
	note("open: %u ioctls", n - 1);
	ok(good && n > 50, "each ioctl of an open that fails is reported by name");
	ok(held_same(&before), "and leaks no descriptor, thread or mapping");

	must(rig_open(g, &why) == 0);
	rig_reset(g);
	rig_load(g, 0, busy, busy_end, RIG_DATA, 0, 0);
	rig_post_load(g);
	ops->resume(g->vm.accel);      /* KVM starts a thread of its own with the first run */
	rig_nap(10000);
	rig_pause(g);
	before = held_now();
	good   = each(g, try_log, undo_log, &n);
	note("log: %u ioctls", n - 1);
	ok(good && n > 1, "each of a log that is switched on, likewise");
	must(try_log(g, &why) == 0);
	ops->resume(g->vm.accel);
	rig_nap(10000);
	rig_pause(g);
	memset(map, 0, sizeof(map));
	good = each(g, try_sync_dirty_log, undo_none, &n);
	note("sync_dirty_log: %u ioctls", n - 1);
	ok(good && n > 1, "each of a dirty log sync");
	ok(bitmap_test(map, RIG_DATA / GUEST_PAGE),
	   "and the page is in the log, though syncs failed");
	good = each(g, try_sync_state, undo_none, &n);
	note("sync_state: %u ioctls", n - 1);
	ok(good && n > 10, "each of a state that is fetched");
	good = each(g, try_post_load, undo_none, &n);
	note("loaded: %u ioctls", n - 1);
	ok(good && n > 10, "each of a state that is put");
	good = each(g, try_pause, undo_pause, &n);
	note("pause: %u ioctls", n - 1);
	ok(good && n > 1, "each of a pause");
	good = each(g, try_reset, undo_none, &n);
	ok(good && n > 10, "each of a reset");
	ok(held_same(&before), "none of these failures leaks anything");
}

/* ---- the rest ---- */

static void test_run(struct rig *g)
{
	struct fail why;

	rig_reset(g);
	rig_load(g, 0, busy, busy_end, RIG_DATA, 0, 0);
	rig_post_load(g);
	run_errno = EFAULT;
	ops->resume(g->vm.accel);
	ok(rig_wait_event(g) && g->vm.events == 1u << VM_EVENT_DEAD &&
	   strstr(g->vm.panic_text, "KVM_RUN: Bad address"),
	   "a KVM_RUN that fails ends the VM and is reported by name");
	rig_pause(g);
	run_errno = 0;

	bool good = true, all = false;

	for (fail_nth = 1; fail_nth < 20 && !all; fail_nth++) {
		rig_reset(g);
		failed = 0;
		calls  = 0;
		armed  = true;
		ops->resume(g->vm.accel);
		armed = false;
		all   = !failed;
		if (failed && !may_fail(failed))
			good = good && atomic_load(&g->vm.events) == 1u << VM_EVENT_DEAD &&
			       strstr(g->vm.panic_text, name_of(failed));
		good = good && ops->pause(g->vm.accel, &why) == 0;
	}
	ok(good && all && fail_nth > 3,
	   "each ioctl of a resume that fails, likewise, and the vCPUs stay paused");
}

static void test_refused(struct rig *g, const char *says, const char *claim)
{
	struct held before = held_now();
	struct fail why    = { 0 };
	int         rc     = rig_open(g, &why);

	if (rc == 0)
		undo_open(g);
	if (!rc || !strstr(why.what, says))
		note("%s", why.what);
	ok(rc && strstr(why.what, says) && held_same(&before), claim);
}

static void test_host(struct rig *g)
{
	open_errno = ENOENT;
	test_refused(g, "load kvm_intel or kvm_amd", "without /dev/kvm the modules are named");
	open_errno = EACCES;
	test_refused(g, "add the user to group kvm", "without access to it the group is named");
	open_errno = 0;
	api        = 11;
	test_refused(g, "version 11", "another version of the interface is refused");
	api       = KVM_API_VERSION;
	cap_value = 0;
	cap       = KVM_CAP_IMMEDIATE_EXIT;
	test_refused(g, "KVM_CAP_IMMEDIATE_EXIT", "a capability that is missing is named");
	cap       = KVM_CAP_MAX_VCPUS;
	cap_value = 1;
	test_refused(g, "KVM: 2 CPUs exceed the limit of 1 on this host",
		     "more vCPUs than KVM has are refused");
	cap               = KVM_CAP_READONLY_MEM;
	cap_value         = 0;
	g->vm.memory.regions[0].cfg.kind = REGION_ROM;
	test_refused(g, "KVM_CAP_READONLY_MEM", "ROM where KVM has none is refused");
	g->vm.memory.regions[0].cfg.kind = REGION_RAM;
	cap       = KVM_CAP_NR_MEMSLOTS;
	cap_value = 1;
	g->vm.memory.nregions = 2;
	test_refused(g, "2 memory regions exceed the limit of 1 KVM memory slots",
		     "more regions than slots are refused");
	g->vm.memory.nregions = 1;
	cap_value = -1;
	no_map    = true;
	test_refused(g, "vCPU 0: map", "a vCPU that can't be mapped is named");
	no_map    = false;
	no_thread = true;
	test_refused(g, "vCPU 0: thread", "one without a thread, too");
	no_thread      = false;
	g->vm.cfg.ncpus = 0;
	test_refused(g, "KVM: number of CPUs out of range: 0 (valid: 1 to 255)",
		     "a VM without vCPUs is refused");
	g->vm.cfg.ncpus = 256;
	test_refused(g, "KVM: number of CPUs out of range: 256 (valid: 1 to 255)",
		     "one with too many, too");
	g->vm.cfg.ncpus = 2;
}

int main(void)
{
	static struct rig g;
	struct fail       why;

	rig_need_kvm();
	ok(kvm_probe(MACHINE_RISCV64_1, &why) && why.kind == FAIL_REFUSED,
	   "KVM runs no riscv64 machine");
	test_each(&g);
	test_run(&g);
	undo_open(&g);
	test_host(&g);
	rig_close(&g);
	return done_testing();
}
