/* SPDX-License-Identifier: MIT */
#include "tests/sim/sim.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STACK_BYTES ((size_t)512 << 10)
#define STACK_BELOW 1024              /* bytes below a frame's address that swapcontext uses */

struct task *sim_task;
struct proc *sim_procs;
uint64_t     sim_now;
void       (*sim_watch)(void);
int          sim_tracing;
char         sim_failure[1024];

struct event { struct event *next; uint64_t at, order; void (*fn)(void *); void *arg; };

static uint64_t      rng[2];
static ucontext_t    scheduler;
static struct task  *tasks;
static struct event *events;
static uint64_t      event_order;
static struct stack *stack_pool;       /* kept from run to run */
static pid_t         next_pid;
static int           next_task;

void *__real_mmap64(void *a, size_t n, int prot, int flags, int fd, off_t at);

/* ---- random numbers: xoroshiro128+ ---- */

uint64_t sim_rand(void)
{
	uint64_t a = rng[0], b = rng[1], r = a + b;

	b ^= a;
	rng[0] = ((a << 24) | (a >> 40)) ^ b ^ (b << 16);
	rng[1] = (b << 37) | (b >> 27);
	return r;
}

uint64_t sim_below(uint64_t n)
{
	return n ? (sim_rand() >> 11) % n : 0;
}

bool sim_chance(uint64_t one_in)
{
	return one_in && sim_below(one_in) == 0;
}

uint64_t sim_between(uint64_t low, uint64_t high)
{
	return low + sim_below(high - low + 1);
}

static void rng_seed(uint64_t seed)
{
	for (int i = 0; i < 2; i++) {
		uint64_t z = (seed += 0x9e3779b97f4a7c15u);

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		rng[i] = z ^ (z >> 31);
	}
}

/* ---- trace ---- */

static void trace_line(const struct sim_host *h, const char *who, const char *fmt, va_list ap)
{
	char line[700];

	vsnprintf(line, sizeof(line), fmt, ap);
	for (char *c = line; *c; c++)
		if (*c == '\n')
			*c = ' ';
	char out[900];

	/* Not printf: that is a simulated call here. */
	snprintf(out, sizeof(out), "# %11.6f %-2s %-34s %s\n",
		 (double)(sim_now - 1000 * SIM_SECOND) / 1e9, h ? h->name : "", who, line);
	fputs(out, stdout);
}

void sim_trace(const char *fmt, ...)
{
	va_list ap;
	char    who[128] = "";

	if (!sim_tracing)
		return;
	if (sim_task)
		snprintf(who, sizeof(who), "%s[%d]", sim_task->proc->name,
			 (int)sim_task->proc->pid);
	va_start(ap, fmt);
	trace_line(sim_task ? sim_task->proc->host : NULL, who, fmt, ap);
	va_end(ap);
}

void sim_trace_host(const struct sim_host *h, const char *fmt, ...)
{
	va_list ap;

	if (!sim_tracing)
		return;
	va_start(ap, fmt);
	trace_line(h, "", fmt, ap);
	va_end(ap);
}

void sim_broken(const char *fmt, ...)
{
	va_list ap;

	if (sim_failure[0])
		return;
	va_start(ap, fmt);
	vsnprintf(sim_failure, sizeof(sim_failure), fmt, ap);
	va_end(ap);
	sim_trace("BROKEN: %s", sim_failure);
}

/* ---- stacks and coroutines ---- */

static struct stack *stack_new(void)
{
	struct stack *s = stack_pool;

	if (s) {
		stack_pool = s->next;
	} else {
		/* Not from the run's heap: it outlives the run. */
		s       = __real_mmap64(NULL, STACK_BYTES + 4096, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (s == MAP_FAILED)
			abort();
		s->base = (char *)s + 4096;
	}
	s->refs     = 0;
	s->resident = NULL;
	return s;
}

static void stack_put(struct stack *s)
{
	if (--s->refs)
		return;
	s->next    = stack_pool;
	stack_pool = s;
}

static void task_image(struct task *t)
{
	size_t n = (size_t)(t->stack->base + STACK_BYTES - t->sp);

	if (n > t->image_len)
		t->image = realloc(t->image, n);
	if (!t->image)
		abort();
	t->image_len = n;
	memcpy(t->image, t->sp, n);
}

static void task_main(void)
{
	struct task *t = sim_task;

	t->ret  = t->fn(t->fn_arg);
	t->done = true;
	if (t == t->proc->main_task)
		proc_exit((int)(intptr_t)t->ret);
	swapcontext(&t->ctx, &scheduler);
	abort();
}

static struct task *task_new(struct proc *p)
{
	struct task *t = calloc(1, sizeof(*t)), **at = &tasks;

	if (!t)
		abort();
	t->proc = p;
	t->id   = next_task++;
	while (*at)
		at = &(*at)->next;
	*at = t;
	return t;
}

static void task_prepare(struct task *t)
{
	t->stack = stack_new();
	t->stack->refs++;
	getcontext(&t->ctx);
	t->ctx.uc_stack.ss_sp   = t->stack->base;
	t->ctx.uc_stack.ss_size = STACK_BYTES;
	t->ctx.uc_link          = NULL;
	makecontext(&t->ctx, task_main, 0);
	t->started = true;
	t->sp      = t->stack->base + STACK_BYTES - 4096;
	t->stack->resident = t;
}

struct task *task_spawn(struct proc *p, void *(*fn)(void *), void *arg)
{
	struct task *t = task_new(p);

	t->fn     = fn;
	t->fn_arg = arg;
	task_prepare(t);
	return t;
}

/* Into the scheduler, and back when it is this one's turn. */
static void __attribute__((noinline)) task_switch(void)
{
	struct task *t = sim_task;
	char         here;

	t->sp          = (char *)((uintptr_t)__builtin_frame_address(0) - STACK_BELOW);
	t->saved_errno = errno;
	if (&here < t->stack->base + STACK_BELOW * 8)
		abort();      /* overflown */
	swapcontext(&t->ctx, &scheduler);
	errno = t->saved_errno;
}

/* Its bytes into its place. */
static void task_place(struct task *t)
{
	struct stack *s = t->stack;

	if (s->resident == t)
		return;
	if (s->resident && !s->resident->dead)
		task_image(s->resident);
	memcpy(t->sp, t->image, t->image_len);
	s->resident = t;
}

static void task_resume(struct task *t)
{
	task_place(t);
	sim_task = t;
	swapcontext(&scheduler, &t->ctx);
	sim_task = NULL;
}

static void task_drop(struct task *t)
{
	if (t->stack->resident == t)
		t->stack->resident = NULL;
	stack_put(t->stack);
	t->stack = NULL;
}

/* ---- processes ---- */

struct proc *sim_proc(void)
{
	return sim_task ? sim_task->proc : NULL;
}

struct sim_host *sim_here(void)
{
	return sim_task ? sim_task->proc->host : NULL;
}

struct proc *proc_find(pid_t pid)
{
	for (struct proc *p = sim_procs; p; p = p->next)
		if (p->pid == pid && !p->reaped)
			return p;
	return NULL;
}

static struct proc *proc_new(struct sim_host *h)
{
	struct proc *p = calloc(1, sizeof(*p));

	if (!p)
		abort();
	p->pid        = next_pid++;
	p->host       = h;
	p->alive      = true;
	p->start_time = sim_now / 10000000 + (uint64_t)p->pid;
	p->next       = sim_procs;
	sim_procs     = p;
	return p;
}

static void *proc_main(void *arg)
{
	struct proc *p = arg;

	return (void *)(intptr_t)p->main(p->arg);
}

struct proc *proc_spawn(struct sim_host *h, enum proc_role role, int (*main)(void *), void *arg,
			const char *fmt, ...)
{
	struct proc *p = proc_new(h);
	va_list      ap;

	va_start(ap, fmt);
	vsnprintf(p->name, sizeof(p->name), fmt, ap);
	va_end(ap);
	p->role = role;
	p->main = main;
	p->arg  = arg;
	for (int i = 0; i < 3; i++)
		fd_install(p, ofd_new(OFD_NULL), i, false);
	p->main_task = task_spawn(p, proc_main, p);
	sim_trace_host(h, "%s[%d] starts", p->name, (int)p->pid);
	return p;
}

static struct task *__attribute__((noinline)) current_task(void)
{
	return sim_task;
}

/* The child is a coroutine on the parent's stack: whichever runs has its own bytes there. */
pid_t __attribute__((noinline)) proc_fork(void)
{
	struct task *t = sim_task;
	struct proc *p = t->proc, *c = proc_new(p->host);
	struct task *ct = task_new(c);

	c->ppid         = p->pid;
	c->role         = p->role == ROLE_LISTENER || p->role == ROLE_MOVER ? ROLE_CHILD : p->role;
	c->blocked      = p->blocked;
	c->ignored      = p->ignored;
	snprintf(c->name, sizeof(c->name), "%.80s%s", p->name, p->role == ROLE_CHILD ? "" : "+");
	for (int i = 0; i < SIM_FDS; i++)
		if (p->fds[i]) {
			ofd_get(p->fds[i]);
			c->fds[i]     = p->fds[i];
			c->cloexec[i] = p->cloexec[i];
		}
	c->main_task = ct;
	ct->stack    = t->stack;
	ct->stack->refs++;
	ct->started  = true;
	ct->sp       = (char *)((uintptr_t)__builtin_frame_address(0) - STACK_BELOW);
	getcontext(&ct->ctx);
	if (current_task() == ct)
		return 0;
	task_image(ct);
	return c->pid;
}

void proc_become(struct proc *p, int (*main)(void *), void *arg)
{
	for (struct task *t = tasks; t; t = t->next)
		if (t->proc == p)
			t->dead = true;
	for (int i = 0; i < SIM_FDS; i++)
		if (p->fds[i] && p->cloexec[i]) {
			struct ofd *o = p->fds[i];

			p->fds[i] = NULL;
			ofd_put(o, false);
		}
	p->main      = main;
	p->arg       = arg;
	p->main_task = task_spawn(p, proc_main, p);
	swapcontext(&sim_task->ctx, &scheduler);
	abort();
}

void proc_end(struct proc *p, int status, bool silent)
{
	if (!p->alive)
		return;
	p->alive  = false;
	p->status = status;
	sim_trace_host(p->host, "%s[%d] ends%s %d", p->name, (int)p->pid,
		       WIFSIGNALED(status) ? ", killed by" : ", status",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	for (struct task *t = tasks; t; t = t->next)
		if (t->proc == p)
			t->dead = true;
	sim_instance_gone(p);
	world_gone(p);
	for (int i = 0; i < SIM_FDS; i++)
		if (p->fds[i]) {
			struct ofd *o = p->fds[i];

			p->fds[i] = NULL;
			ofd_put(o, silent);
		}
	for (struct proc *c = sim_procs; c; c = c->next)
		if (c->ppid == p->pid && c->host == p->host) {
			c->ppid = 1;
			if (!c->alive)
				c->reaped = true;
			else if (c->death_signal)
				proc_signal(c, c->death_signal);
		}
	struct proc *parent = p->ppid > 1 ? proc_find(p->ppid) : NULL;

	if (parent && parent->alive)
		proc_signal(parent, SIGCHLD);
	else
		p->reaped = true;
}

void proc_exit(int code)
{
	proc_end(sim_task->proc, (code & 0xff) << 8, false);
	swapcontext(&sim_task->ctx, &scheduler);
	abort();
}

void proc_signal(struct proc *p, int sig)
{
	uint64_t bit = (uint64_t)1 << sig;

	if (!p->alive || sig == 0)
		return;
	if (sig != SIGKILL && (p->ignored & bit))
		return;
	if (sig != SIGKILL && ((p->blocked & bit) || sig == SIGCHLD)) {
		if (p->blocked & bit)
			p->pending |= bit;
		return;
	}
	proc_end(p, sig, false);
}

/* ---- time ---- */

void sim_at(uint64_t at, void (*fn)(void *), void *arg)
{
	struct event *e = calloc(1, sizeof(*e)), **p = &events;

	if (!e)
		abort();
	*e = (struct event){ .at = at, .order = event_order++, .fn = fn, .arg = arg };
	while (*p && (*p)->at <= at)
		p = &(*p)->next;
	e->next = *p;
	*p      = e;
}

/* A process that was killed in the middle of a call never comes back to it. */
static void task_if_dead(void)
{
	if (!sim_task->dead)
		return;
	swapcontext(&sim_task->ctx, &scheduler);
	abort();
}

void sim_step(const char *what)
{
	struct proc *p = sim_task->proc;

	sim_now += sim_below(40000);
	p->steps++;
	sim_stats.steps++;
	if (sim_tracing > 1)
		sim_trace("%s", what);
	task_if_dead();
	world_fault(what);
	task_if_dead();
	if (sim_failure[0] || p->stopped_until > sim_now || sim_chance(4) ||
	    (events && events->at <= sim_now))
		task_switch();
}

bool sim_wait(bool (*ready)(void *arg), void *arg, uint64_t until)
{
	struct task *t = sim_task;

	for (;;) {
		if (ready && ready(arg))
			return true;
		if (sim_now >= until)
			return false;
		t->ready = ready;
		t->arg   = arg;
		t->until = until;
		/* Without a condition: only the time. */
		task_switch();
		t->ready = NULL;
		t->until = 0;
	}
}

static bool never(void *arg)
{
	(void)arg;
	return false;
}

void sim_sleep(uint64_t ns)
{
	sim_wait(never, NULL, sim_now + ns);
}

static bool task_can_run(const struct task *t)
{
	if (t->dead || t->done || sim_now < t->proc->stopped_until)
		return false;
	if (!t->ready || sim_now >= t->until)
		return true;
	return t->ready(t->arg);
}

static void tasks_sweep(void)
{
	for (struct task **at = &tasks; *at;) {
		struct task *t = *at;

		if (!t->dead || !t->stack) {
			at = &t->next;
			continue;
		}
		*at = t->next;
		task_drop(t);
		free(t->image);
		free(t);
	}
}

static uint64_t next_time(void)
{
	uint64_t at = events ? events->at : SIM_NEVER;

	for (struct task *t = tasks; t; t = t->next) {
		uint64_t mine;

		if (t->dead || t->done)
			continue;
		mine = t->ready ? t->until : sim_now;
		if (mine < t->proc->stopped_until)
			mine = t->proc->stopped_until;
		if (mine < at)
			at = mine;
		/* What has been waited for may have come while it was stopped. */
		if (t->proc->stopped_until > sim_now && t->proc->stopped_until < at)
			at = t->proc->stopped_until;
	}
	return at;
}

bool sim_run(bool (*stop)(void), uint64_t until)
{
	while (!sim_failure[0] && !stop() && sim_now < until) {
		struct task *can[128];
		size_t       n = 0;

		tasks_sweep();
		while (events && events->at <= sim_now) {
			struct event *e = events;

			events = e->next;
			e->fn(e->arg);
			free(e);
			if (sim_failure[0])
				return true;
		}
		for (struct task *t = tasks; t && n < 128; t = t->next)
			if (task_can_run(t))
				can[n++] = t;
		if (n == 0) {
			uint64_t at = next_time();

			if (at == SIM_NEVER)
				return false;
			if (at > sim_now)
				sim_now = at;
			else
				sim_now += 1000;      /* an arrival that only ready() knows of */
			continue;
		}
		task_resume(can[sim_below(n)]);
		if (sim_watch)
			sim_watch();
	}
	return true;
}

void sim_reset(uint64_t seed)
{
	for (struct task *t = tasks; t; t = t->next)
		if (t->stack)
			stack_put(t->stack);
	tasks          = NULL;
	events         = NULL;
	sim_procs      = NULL;
	sim_task       = NULL;
	sim_now        = 1000 * SIM_SECOND;
	event_order    = 0;
	next_pid       = 100;
	next_task      = 0;
	sim_failure[0] = '\0';
	rng_seed(seed);
}
