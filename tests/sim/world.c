/* SPDX-License-Identifier: MIT */
#include "tests/sim/plant.h"
#include "tests/sim/world.h"

#include "libcommon/client/moves.h"
#include "vmmigrate/listen.h"
#include "vmmigrate/options.h"
#include "vmmigrate/source.h"
#include "vmmigrate/status.h"
#include "vmrun/control/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

/* What happens to three hosts: VMs are moved about by people who do not wait, while processes are
 * killed, hosts crash, the network breaks and disks fail. Then all that ends, and what is left must
 * be right. */

#define WORLD_TURMOIL (240 * SIM_SECOND)      /* at most */
#define WORLD_CALM    (1200 * SIM_SECOND)     /* to come to rest in */
#define WORLD_PORT    4649
#define WORLD_ANSWERS 4650                   /* where a source answers by itself (--answer) */

struct guest    *sim_guests;
unsigned         sim_odd_board;
unsigned         sim_oddity;
struct sim_stats sim_stats;

/* What a seed is made of. */
static struct {
	unsigned guests, hosts;
	unsigned kills, vm_kills, stalls;      /* left; vm_kills: of vmruns and hosts */
	unsigned actions;
	unsigned points;                 /* one in so many fault points meets a fault */
	/* Only fault points whose names contain this, and there most of the time; NULL: all. */
	const char *focus;
	bool     crashes, partitions, disks, humans, replays, cuts,
		 own_sockets, answers, terms, spawn;
	bool     calm;
	uint64_t calm_since;
} plan;

void calls_reset(void);
void calls_free_all(void);

/* ---- guests ---- */

struct guest *guest_find(const struct uuid *uuid)
{
	struct guest *g = sim_guests;

	while (g && !uuid_equal(&g->uuid, uuid))
		g = g->next;
	return g;
}

struct guest *guest_named(const char *name)
{
	struct guest *g = sim_guests;

	while (g && strcmp(g->name, name))
		g = g->next;
	return g;
}

static struct instance *guest_running(const struct guest *g)
{
	for (struct instance *i = sim_instances; i; i = i->next)
		if (i->guest == g && i->running && i->proc->alive)
			return i;
	return NULL;
}

static struct instance *guest_on(const struct guest *g, const struct sim_host *h)
{
	for (struct instance *i = sim_instances; i; i = i->next)
		if (i->guest == g && i->vm && i->proc->alive && i->proc->host == h)
			return i;
	return NULL;
}

/* ---- records, as they are in the files ---- */

struct seen { bool found, damaged; char state[16], peer[64], name[32]; };

static void record_parse(const char *text, size_t len, struct seen *s)
{
	json_t     *j = json_loadb(text, len, 0, NULL);
	const char *state = json_string_value(json_object_get(j, "state")),
		   *peer  = json_string_value(json_object_get(j, "peer"));

	s->found   = true;
	s->damaged = !state;
	snprintf(s->state, sizeof(s->state), "%s", state ? state : "damaged");
	snprintf(s->peer, sizeof(s->peer), "%s", peer ? peer : "");
	json_decref(j);
}

static void record_path(const struct guest *g, char out[128])
{
	char id[UUID_TEXT];

	uuid_text(&g->uuid, id);
	snprintf(out, 128, "/state/moves/%s.json", id);
}

static struct seen record_of(const struct guest *g, const struct sim_host *h)
{
	struct seen   s = { 0 };
	char          path[128];
	struct inode *i;

	record_path(g, path);
	i = fs_find(h->fs, path);
	if (i)
		record_parse(i->data, i->len, &s);
	return s;
}

static bool record_is(const struct seen *s, const char *words)
{
	const char *w = s->found ? strstr(words, s->state) : NULL;

	return w != NULL;
}

/* States in which nobody may run the VM on this host. */
#define HELD_BACK "released retaking ready returned moved"

static void world_may_run(const struct instance *i)
{
	struct seen s = record_of(i->guest, i->proc->host);

	if (record_is(&s, HELD_BACK) && !i->proc->host->disk_ever_failed)
		sim_broken("%s runs on %s, where its record says %s", i->guest->name,
			   i->proc->host->name, s.state);
}

void world_runs(struct instance *i)
{
	world_may_run(i);
}

void world_record(struct sim_host *h, const char *path, const char *text, size_t len)
{
	struct seen s = { 0 };

	if (strncmp(path, "/state/moves/", 13) || !strstr(path, ".json"))
		return;
	sim_stats.records++;
	if (text)
		record_parse(text, len, &s);
	sim_trace("record: %s", text ? s.state : "gone");
	for (struct guest *g = sim_guests; g; g = g->next) {
		struct instance *i = guest_running(g);
		char             mine[128];

		record_path(g, mine);
		if (!strcmp(mine, path) && i && i->proc->host == h)
			world_may_run(i);
	}
}

/* ---- ends ---- */

static bool guest_elsewhere(const struct instance *i)
{
	for (struct instance *o = sim_instances; o; o = o->next)
		if (o != i && o->guest == i->guest && o->vm && o->proc->alive && instance_newest(o))
			return true;
	return false;
}

/* A vmrun has gone by a fault, or because somebody told it to. Whose VM was it? */
static void instance_killed(struct instance *i, const char *how)
{
	struct seen s = record_of(i->guest, i->proc->host);
	bool        owner = !record_is(&s, "released retaking ready returned moved");

	if (i->guest->lost)
		return;
	i->guest->killed_at = i->guest->newest;
	if (!i->running && guest_elsewhere(i) && !owner)
		return;
	i->guest->lost = true;
	snprintf(i->guest->lost_why, sizeof(i->guest->lost_why), "its vmrun on %s was %s",
		 i->proc->host->name, how);
	sim_trace_host(i->proc->host, "== %s is lost: its vmrun was %s (%s)", i->guest->name, how,
		       s.found ? s.state : "no record");
}

/* Whoever started it may end one that was never READY, while another has the VM as it is. */
static bool instance_expendable(const struct instance *i)
{
	struct seen s = record_of(i->guest, i->proc->host);

	return i->incoming && !i->running && guest_elsewhere(i) &&
	       !record_is(&s, "ready retaking owned");
}

void instance_ends(struct instance *i)
{
	if (!i->vm)
		return;
	if (i->guest->disk == i)
		i->guest->disk = NULL;
	i->vm = NULL;
}

void sim_instance_gone(struct proc *p)
{
	for (struct instance *i = sim_instances; i; i = i->next) {
		if (i->proc != p || !i->vm)
			continue;
		/* Judged by the record that the crash leaves. */
		i->crashed = !p->host->up && instance_newest(i);
		if (p->host->up && p->injected && instance_newest(i))
			instance_killed(i, "killed");
		else if (p->host->up && !p->injected && WIFSIGNALED(p->status) &&
			 instance_newest(i) && !instance_expendable(i))
			sim_broken("the vmrun of %s was killed by one of ours (signal %d)",
				   i->guest->name, p->status & 0x7f);
		if (i->running)
			i->guest->newest++;      /* what it had done last is gone */
		i->running = false;
		instance_ends(i);
	}
}

/* It has ended before its VM was there at all. */
void world_gone(struct proc *p)
{
	struct instance *i = p->tag;
	struct guest    *g = p->role == ROLE_VMRUN && !(i && i->incoming)
			     ? guest_named(strrchr(p->name, ' ') ? strrchr(p->name, ' ') + 1 : "")
			     : NULL;

	if (g && g->newest == 1 && !guest_running(g) && !g->lost) {
		g->lost = true;
		snprintf(g->lost_why, sizeof(g->lost_why), "its first vmrun has not come far");
	}
}

/* A vmrun that cannot record OWNED does not start its VM. */
void world_disk_failed(struct proc *p)
{
	struct instance *i = p->tag;

	if (p->role == ROLE_VMRUN && i && i->incoming && !i->ran && i->guest)
		i->guest->unstartable_at = i->guest->newest;
}

/* ---- faults that strike in the middle of a call ---- */

/* May one of that role be killed now? Then one fewer may. */
static bool may_kill(enum proc_role role)
{
	unsigned *left = role == ROLE_VMRUN ? &plan.vm_kills : &plan.kills;

	if (!*left || role == ROLE_OTHER)
		return false;
	--*left;
	return true;
}

static void fault_kill(struct proc *p, const char *what)
{
	sim_trace("-- killed at %s", what);
	sim_stats.kills++;
	p->injected = true;
	proc_end(p, SIGKILL, false);
}

void world_fault(const char *what)
{
	struct proc *p = sim_task->proc;

	if (plan.calm || !sim_oddity)
		return;
	if (sim_chance(sim_oddity) && may_kill(p->role)) {
		fault_kill(p, what);
		return;
	}
	if (plan.stalls && sim_chance((uint64_t)sim_oddity * 2)) {
		static const uint64_t most[] = {
			SIM_SECOND / 10, 3 * SIM_SECOND, 30 * SIM_SECOND, 80 * SIM_SECOND
		};

		plan.stalls--;
		p->stopped_until = sim_now + sim_below(most[sim_below(4)]);
		sim_trace("-- stalls at %s until %.3f", what,
			  (double)(p->stopped_until - 1000 * SIM_SECOND) / 1e9);
	}
}

static void do_crash(struct sim_host *h);
static void do_partition(int a, int b);
static void do_human(void);
static void do_move(void);

static void human_soon(void *arg)
{
	(void)arg;
	if (!plan.calm)
		do_human();
}

static void move_soon(void *arg)
{
	(void)arg;
	if (!plan.calm)
		do_move();
}

/* A step that matters has just been done: whatever may happen in this run happens best here. */
static void fault_here(const char *point)
{
	struct proc *p = sim_task->proc;

	switch (sim_below(plan.humans && plan.partitions ? 10 : 8)) {
	case 8:
	case 9:
		/* Cut off and left alone, with a human who does not want to wait. */
		for (unsigned k = 0; k < plan.hosts; k++)
			do_partition((int)(p->host - sim_hosts), (int)k);
		for (int i = 0; i < 3; i++)
			sim_at(sim_now + sim_below(20 * SIM_SECOND), human_soon, NULL);
		/* fall through */
	case 0:
	case 1:
		if (may_kill(p->role))
			fault_kill(p, point);
		return;
	case 2:
		if (plan.stalls) {
			plan.stalls--;
			p->stopped_until =
				sim_now + sim_below(sim_chance(2) ? 80 * SIM_SECOND : SIM_SECOND);
			sim_trace("-- stalls until %.3f",
				  (double)(p->stopped_until - 1000 * SIM_SECOND) / 1e9);
		}
		return;
	case 3:
		if (plan.partitions)
			do_partition((int)(p->host - sim_hosts), (int)sim_below(plan.hosts));
		return;
	case 4:
		if (plan.crashes)
			do_crash(p->host);
		return;
	case 5:
	case 6: {
		struct end *e = plan.cuts ? sock_any_connection() : NULL;

		if (e)
			net_cut(e);
		return;
	}
	default:
		if (plan.humans)
			sim_at(sim_now + sim_below(SIM_SECOND), human_soon, NULL);
		sim_at(sim_now + sim_below(SIM_SECOND), move_soon, NULL);
		return;
	}
}

/* fault_point: where the tools' authors know a step to matter. */
void fault_point(const char *point);
void fault_point(const char *point)
{
	if (!sim_task)
		return;
	if (sim_tracing)
		sim_trace("at %s", point);
	sim_step(point);
	/* From READY to the end of the hand-over, more than elsewhere. */
	bool late = strstr(point, "ready") || strstr(point, "released") || strstr(point, "go-") ||
		    strstr(point, "owned") || strstr(point, "reta");

	if (plan.focus)
		late = strstr(point, plan.focus);
	if (!plan.calm && (late || !plan.focus) &&
	    sim_chance(late ? plan.points / 3 + 1 : plan.points))
		fault_here(point);
	sim_step("point");
}

bool fault_hit(const char *point);
bool fault_hit(const char *point)
{
	(void)point;
	return false;
}

/* ---- processes ---- */

void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void note(const char *fmt, ...)
{
	va_list ap;
	char    text[500];

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	sim_trace("> %s", text);
}

static struct options *options_new(enum verb verb)
{
	struct options *o = calloc(1, sizeof(*o));

	if (!o)
		abort();
	o->verb                = verb;
	o->insecure            = true;
	o->max_downtime_ns     = 300 * SIM_MS;
	o->max_rounds          = 3;
	o->pause_deadline_ns   = sim_chance(4) ? sim_between(100 * SIM_MS, 5 * SIM_SECOND)
					       : 30 * SIM_SECOND;
	o->handover_timeout_ns = sim_chance(3) ? sim_between(SIM_SECOND, 20 * SIM_SECOND)
					       : 60 * SIM_SECOND;
	snprintf(o->ask.port, sizeof(o->ask.port), "%d", WORLD_PORT);
	return o;
}

static void host_address(const struct sim_host *h, struct address *a)
{
	struct in_addr in = { .s_addr = htonl(h->ip) };

	inet_ntop(AF_INET, &in, a->host, sizeof(a->host));
	snprintf(a->port, sizeof(a->port), "%d", WORLD_PORT);
}

static int stop_fd(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int said(int rc, const struct fail *why)
{
	char text[500];

	if (rc >= 0)
		return rc;
	sim_trace("> %s", fail_text(why, text, sizeof(text)));
	return fail_status(why->kind);
}

static int mover_main(void *arg)
{
	struct source_result *r   = calloc(1, sizeof(*r));
	struct fail           why = { 0 };
	struct progress       progress;
	int                   fd = stop_fd(), rc;

	if (!r)
		abort();
	progress_open(&progress, PROGRESS_NONE, NULL, "sim");
	rc = source_move(arg, fd, &progress, r, &why);
	if (rc == 0) {
		sim_stats.moved++;
		sim_trace("> moved%s%s", r->alive ? "" : ", and has ended there since", r->note);
	} else if (why.kind == FAIL_OWNER) {
		sim_stats.doubts++;
	}
	return said(rc, &why);
}

static int listener_main(void *arg)
{
	struct fail why = { 0 };

	signal(SIGPIPE, SIG_IGN);
	return said(listen_run(arg, &why), &why);
}

static int resume_main(void *arg)
{
	struct fail why = { 0 };

	return said(resume_run(arg, stop_fd(), &why), &why);
}

static int resolve_main(void *arg)
{
	struct fail why = { 0 };

	return said(resolve_run(arg, &why), &why);
}

static int status_main(void *arg)
{
	struct fail why = { 0 };

	return said(status_run(arg, &why), &why);
}

/* Nobody else has the VM or can get it to run any more: no connection on which GO or an answer may
 * be in flight, and nobody on the other host who has received one. (A copy that only waits is
 * harmless: it will be notified.) */
static bool human_may_vouch(const struct guest *g, const struct sim_host *h)
{
	const struct instance *mine = guest_on(g, h);

	/* It has run on elsewhere since: what is here is old. */
	if (mine && !instance_newest(mine))
		return false;
	for (struct instance *i = sim_instances; i; i = i->next) {
		struct seen there = record_of(g, i->proc->host);

		if (i->guest == g && i->vm && i->proc->alive && i->proc->host != h &&
		    (i->running || record_is(&there, "owned")))
			return false;
	}
	for (struct proc *p = sim_procs; p; p = p->next)
		if (p->alive &&
		    (p->role == ROLE_CHILD || p->role == ROLE_MOVER ||
		     (p->role == ROLE_HUMAN && p != sim_proc())))
			return false;
	for (unsigned k = 0; k < plan.hosts; k++) {
		struct seen there = record_of(g, &sim_hosts[k]);

		if (&sim_hosts[k] != h && record_is(&there, "owned released retaking moving"))
			return false;
	}
	return !sock_any_connection();
}

/* The one at the keyboard reads, thinks, and types. */
bool world_human(char *line, size_t capacity)
{
	struct options *o   = sim_proc()->arg;
	bool            yes = !sim_chance(6);

	sim_sleep(sim_chance(3) ? sim_below(60 * SIM_SECOND) : sim_below(3 * SIM_SECOND));
	/* Who vouches for another host has been there and looked. */
	if (o->peer_is_dead)
		yes = yes && human_may_vouch(guest_named(o->vm), sim_here());
	snprintf(line, capacity, "%s\n", yes ? o->vm : "no");
	sim_trace("the human types: %s", line);
	return true;
}

static int word_count(char *const v[])
{
	int n = 0;

	while (v[n])
		n++;
	return n;
}

/* exec, of vmrun or of a shell that execs it by and by. */
void world_exec(struct proc *p, char *const argv[])
{
	struct vmrun_args *a = calloc(1, sizeof(*a));
	int                n = word_count(argv), from = 0;

	if (!a)
		abort();
	if (!strcmp(argv[0], "/bin/sh")) {
		from = 4;
		sim_sleep(sim_below(2 * SIM_SECOND));
	}
	for (int i = from; i < n && i - from < 63; i++)
		a->argv[i - from] = strdup(argv[i]);
	p->role = ROLE_VMRUN;
	proc_become(p, sim_vmrun, a);
}

static void vmrun_boot(struct sim_host *h, struct guest *g)
{
	static char *const fixed[] = { (char *)(uintptr_t)"vmrun", (char *)(uintptr_t)"--name" };
	struct vmrun_args *a = calloc(1, sizeof(*a));
	char               path[64];

	if (!a)
		abort();
	a->argv[0] = fixed[0];
	a->argv[1] = fixed[1];
	a->argv[2] = g->name;
	if (plan.own_sockets) {
		snprintf(path, sizeof(path), "/run/own/%s.sock", g->name);
		a->argv[3] = strdup("--control");
		a->argv[4] = strdup(path);
	}
	proc_spawn(h, ROLE_VMRUN, sim_vmrun, a, "vmrun %s", g->name);
}

static void listener_start(struct sim_host *h, int port)
{
	struct options *o = options_new(VERB_LISTEN);

	snprintf(o->to.port, sizeof(o->to.port), "%d", port);
	if (plan.own_sockets) {
		static char *own[] = {
			(char *)(uintptr_t)"--control",
			(char *)(uintptr_t)"/run/own/arrived.sock",
			NULL
		};

		o->overrides = own;
	}
	if (plan.spawn)
		o->spawn = "slow-start";
	proc_spawn(h, ROLE_LISTENER, listener_main, o, "listener%s",
		   port == WORLD_PORT ? "" : " for answers");
}

static struct proc *listener_of(const struct sim_host *h, int port)
{
	for (struct proc *p = sim_procs; p; p = p->next)
		if (p->alive && p->role == ROLE_LISTENER && p->host == h &&
		    atoi(((struct options *)p->arg)->to.port) == port)
			return p;
	return NULL;
}

static bool any_alive(enum proc_role role, const struct sim_host *h)
{
	for (struct proc *p = sim_procs; p; p = p->next)
		if (p->alive && p->role == role && (!h || p->host == h))
			return true;
	return false;
}

/* Where a VM is looked for by who calls it: its name, or the socket's path. */
static char *operand(const struct guest *g, const struct sim_host *h)
{
	const struct instance *i = guest_on(g, h);

	if (i && i->vm->control && strncmp(i->vm->control->path, "/run/vmferry/", 13))
		return strdup(i->vm->control->path);
	return strdup(g->name);
}

/* ---- what people and the world do ---- */

static struct sim_host *some_host(void)
{
	return &sim_hosts[sim_below(plan.hosts)];
}

static struct guest *some_guest(void)
{
	struct guest *g = sim_guests;

	for (uint64_t n = sim_below(plan.guests); n; n--)
		g = g->next;
	return g;
}

static void do_move(void)
{
	struct guest    *g = some_guest();
	struct instance *i = guest_running(g);
	struct options  *o;
	struct sim_host *to = some_host();

	if (!i)
		return;
	while (to == i->proc->host)
		to = some_host();
	o     = options_new(VERB_MOVE);
	o->vm = operand(g, i->proc->host);
	host_address(to, &o->to);
	if (plan.answers && sim_chance(2)) {
		o->answer = true;
		host_address(i->proc->host, &o->answer_at);
		snprintf(o->answer_at.port, sizeof(o->answer_at.port), "%d", WORLD_ANSWERS);
	}
	sim_stats.moves++;
	proc_spawn(i->proc->host, ROLE_MOVER, mover_main, o, "move %s %s>%s", g->name,
		   i->proc->host->name, to->name);
}

static void do_resume(struct sim_host *h, struct guest *g)
{
	struct options *o = options_new(VERB_RESUME);

	o->vm = strdup(g->name);
	proc_spawn(h, ROLE_HUMAN, resume_main, o, "resume %s", g->name);
}

/* To disown is to throw a copy away: a human does it who knows that the other side has one which
 * runs, or waits only for GO. Without that knowledge the confirmation itself would lose the VM. */
static bool human_may_disown(const struct guest *g, const struct sim_host *h)
{
	struct seen s = record_of(g, h);

	for (struct instance *i = sim_instances; i; i = i->next) {
		struct seen there = record_of(g, i->proc->host);

		if (i->guest == g && i->vm && i->proc->alive && i->proc->host != h &&
		    instance_newest(i))
			return i->running ||
			       (record_is(&s, "released") && record_is(&there, "ready"));
	}
	return false;
}

static void do_human(void)
{
	struct sim_host *h = some_host();
	struct guest    *g = some_guest();
	struct seen      s = record_of(g, h);
	struct options  *o;

	/* People look at moves that are unresolved. */
	for (int i = 0; i < 4 && !(h->up && record_is(&s, "released retaking ready")); i++) {
		h = some_host();
		g = some_guest();
		s = record_of(g, h);
	}
	if (!h->up || !s.found)
		return;
	switch (sim_below(4)) {
	case 0:
		if (record_is(&s, "released retaking"))
			do_resume(h, g);
		return;
	case 1:
		o     = options_new(VERB_STATUS);
		o->vm = sim_chance(2) ? strdup(g->name) : NULL;
		proc_spawn(h, ROLE_HUMAN, status_main, o, "status");
		return;
	default:
		if (!record_is(&s, "released retaking ready"))
			return;
		o         = options_new(VERB_RESOLVE);
		o->vm     = strdup(g->name);
		o->own    = !human_may_disown(g, h) || sim_chance(2);
		o->disown = !o->own;
		o->peer_is_dead = o->own && sim_chance(2);
		o->yes    = !o->peer_is_dead && sim_chance(2);
		g->disowned |= o->disown;
		proc_spawn(h, ROLE_HUMAN, resolve_main, o, "resolve %s %s", g->name,
			   o->own ? "--own" : "--disown");
		return;
	}
}

static void do_kill(void)
{
	struct proc *found = NULL;
	uint64_t     n     = 0;

	for (struct proc *p = sim_procs; p; p = p->next)
		if (p->alive && sim_below(++n) == 0)
			found = p;
	if (!found || !may_kill(found->role))
		return;
	sim_trace_host(found->host, "-- %s[%d] is killed", found->name, (int)found->pid);
	sim_stats.kills++;
	found->injected = true;
	proc_end(found, SIGKILL, false);
}

static void do_term(void)
{
	for (struct proc *p = sim_procs; p; p = p->next)
		if (p->alive && (p->role == ROLE_MOVER || p->role == ROLE_LISTENER) &&
		    sim_chance(3)) {
			sim_trace_host(p->host, "-- %s[%d] is told to end", p->name, (int)p->pid);
			proc_signal(p, sim_chance(2) ? SIGTERM : SIGINT);
			return;
		}
}

static void host_up(void *arg)
{
	struct sim_host *h = arg;

	h->up = true;
	h->boots++;
	sim_trace_host(h, "-- boots");
	fs_create(h->fs, "/run", true);
	fs_create(h->fs, "/run/own", true);
	if (!fs_find(h->fs, "/state"))
		fs_create(h->fs, "/state", true);
	listener_start(h, WORLD_PORT);
}

static void do_crash(struct sim_host *h)
{
	if (!h->up || !plan.vm_kills)
		return;
	plan.vm_kills--;
	sim_stats.crashes++;
	sim_trace_host(h, "-- crashes");
	h->up = false;
	for (struct proc *p = sim_procs; p; p = p->next)
		if (p->alive && p->host == h)
			proc_end(p, SIGKILL, true);
	for (struct proc *p = sim_procs; p; p = p->next)
		if (p->host == h)
			p->reaped = true;
	for (struct guest *g = sim_guests; g; g = g->next) {
		struct seen s = record_of(g, h);

		g->released_here = record_is(&s, "released retaking");
	}
	fs_crash(h->fs);
	for (struct guest *g = sim_guests; g; g = g->next) {
		struct seen s = record_of(g, h);

		/* Its vmrun was killed before the release was durable, and then its host
		 * crashed. */
		if (g->released_here && !record_is(&s, "released retaking") &&
		    g->killed_at == g->newest)
			g->lost = true;
	}
	for (struct instance *i = sim_instances; i; i = i->next)
		if (i->crashed) {
			i->crashed = false;
			instance_killed(i, "on a host that crashed");
		}
	sim_at(sim_now + sim_between(SIM_SECOND, 60 * SIM_SECOND), host_up, h);
}

static void do_partition(int a, int b)
{
	uint64_t until = sim_now + sim_below(sim_chance(3) ? 120 * SIM_SECOND : 10 * SIM_SECOND);

	if (a == b)
		return;
	sim_stats.partitions++;
	sim_trace_host(NULL, "-- %s and %s can't reach each other until %.1f", sim_hosts[a].name,
		       sim_hosts[b].name, (double)(until - 1000 * SIM_SECOND) / 1e9);
	sim_net.parted_until[a][b] = sim_net.parted_until[b][a] = until;
}

static void do_disk(void)
{
	struct sim_host *h = some_host();

	h->disk_broken_until = sim_now + sim_below(20 * SIM_SECOND);
	h->disk_faults       = (unsigned)sim_between(1, 4);
	sim_trace_host(h, "-- its disk fails until %.3f",
		       (double)(h->disk_broken_until - 1000 * SIM_SECOND) / 1e9);
}

/* Somebody who has listened on the wire says it all again. */
static int replay_main(void *arg)
{
	struct record_stream *r  = arg;
	struct sockaddr_in    in = {
		.sin_family      = AF_INET,
		.sin_port        = htons(r->port),
		.sin_addr.s_addr = htonl(r->ip)
	};
	int                   fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct pollfd         p  = { .fd = fd, .events = POLLOUT };
	char                  buf[4096];

	fd_get(fd)->end->replay = true;
	connect(fd, (struct sockaddr *)&in, sizeof(in));
	if (poll(&p, 1, 10000) <= 0)
		return 1;
	for (size_t at = 0; at < r->len;) {
		size_t  n = r->len - at < 4096 ? r->len - at : 4096;
		ssize_t sent = send(fd, r->data + at, n, MSG_NOSIGNAL);

		if (sent < 0)
			return 1;
		at += (size_t)sent;
		sim_sleep(sim_below(20 * SIM_MS));
	}
	for (;;) {
		p.events = POLLIN;
		if (poll(&p, 1, 20000) <= 0 || recv(fd, buf, sizeof(buf), 0) <= 0)
			return 0;
	}
}

static void do_replay(void)
{
	struct record_stream *found = NULL;
	uint64_t              n     = 0;

	for (struct record_stream *r = sock_recorded; r; r = r->next)
		if (r->len > 200 && sim_below(++n) == 0)
			found = r;
	if (found)
		proc_spawn(some_host(), ROLE_OTHER, replay_main, found, "replay");
}

static void replay_soon(void *arg)
{
	(void)arg;
	do_replay();
}

static void listeners_restart(void)
{
	for (unsigned i = 0; i < plan.hosts; i++)
		if (sim_hosts[i].up && !listener_of(&sim_hosts[i], WORLD_PORT))
			listener_start(&sim_hosts[i], WORLD_PORT);
}

static void act(void *arg)
{
	(void)arg;
	if (plan.calm)
		return;
	switch (sim_below(12)) {
	case 0: case 1: case 2: case 3:
		do_move();
		break;
	case 4:
		if (plan.humans)
			do_human();
		break;
	case 5:
		do_kill();
		break;
	case 6:
		if (plan.terms)
			do_term();
		break;
	case 7:
		if (plan.crashes)
			do_crash(some_host());
		break;
	case 8:
		if (plan.partitions)
			do_partition((int)sim_below(plan.hosts), (int)sim_below(plan.hosts));
		break;
	case 9:
		if (plan.disks)
			do_disk();
		break;
	case 10:
		if (plan.replays)
			do_replay();
		break;
	default: {
		struct end *e = plan.cuts ? sock_any_connection() : NULL;

		if (e)
			net_cut(e);
		break;
	}
	}
	if (sim_chance(2))
		listeners_restart();
	if (plan.humans && sim_chance(3))
		do_human();
}

/* ---- rest ---- */

static bool host_has(const struct sim_host *h, const char *states)
{
	for (struct guest *g = sim_guests; g; g = g->next) {
		struct seen s = record_of(g, h);

		if (record_is(&s, states))
			return true;
	}
	return false;
}

/* Somebody who looks after a host: goes on with what was released. */
static void keep(void *arg)
{
	struct sim_host *h = arg;

	for (struct guest *g = sim_guests; g && h->up; g = g->next) {
		struct seen s = record_of(g, h);

		if (record_is(&s, "released retaking") && !any_alive(ROLE_MOVER, h) &&
		    !any_alive(ROLE_HUMAN, h)) {
			do_resume(h, g);
			break;
		}
	}
	if (h->up && !listener_of(h, WORLD_PORT))
		listener_start(h, WORLD_PORT);
	/* Targets ask there for ever; who answered there may be dead. */
	if (h->up && plan.answers && !any_alive(ROLE_MOVER, h) && !listener_of(h, WORLD_ANSWERS))
		listener_start(h, WORLD_ANSWERS);
	sim_at(sim_now + 5 * SIM_SECOND, keep, h);
}

static void become_calm(void *arg)
{
	(void)arg;
	plan.calm       = true;
	plan.calm_since = sim_now;
	sim_trace_host(NULL, "-- all is calm from here on");
	memset(sim_net.parted_until, 0, sizeof(sim_net.parted_until));
	sim_net.cut_one_in = 0;
	sim_odd_board      = 0;
	for (unsigned i = 0; i < plan.hosts; i++) {
		sim_hosts[i].disk_broken_until = 0;
		sim_at(sim_now + sim_below(SIM_SECOND), keep, &sim_hosts[i]);
	}
	for (struct proc *p = sim_procs; p; p = p->next)
		p->stopped_until = 0;
}

static bool at_rest_now(void)
{
	if (!plan.calm || sim_now < plan.calm_since + 2 * SIM_SECOND)
		return false;
	for (unsigned i = 0; i < plan.hosts; i++)
		if (!sim_hosts[i].up || !listener_of(&sim_hosts[i], WORLD_PORT) ||
		    host_has(&sim_hosts[i], "released retaking ready"))
			return false;
	for (struct proc *p = sim_procs; p; p = p->next)
		if (p->alive &&
		    (p->role == ROLE_MOVER || p->role == ROLE_HUMAN || p->role == ROLE_CHILD ||
		     p->role == ROLE_OTHER))
			return false;
	for (struct instance *i = sim_instances; i; i = i->next)
		if (i->vm && i->proc->alive &&
		    (i->vm->run.holders || i->vm->run.ended || !i->vm->run.started))
			return false;
	return true;
}

static bool at_rest(void)
{
	static uint64_t next;

	/* Not at every step: it reads every record. */
	if (!plan.calm)
		next = 0;
	if (!plan.calm || sim_now < next)
		return false;
	next = sim_now + SIM_SECOND;
	return at_rest_now();
}

static void look_at_guest(const struct guest *g)
{
	struct instance *run = guest_running(g);
	unsigned         live = 0;

	for (struct instance *i = sim_instances; i; i = i->next)
		if (i->guest == g && i->vm && i->proc->alive)
			live++;
	if (!run && live)
		sim_broken("%s stands still at the end", g->name);
	/* One copy was killed or disowned, and the other could not be started because of a fault of
	 * its host. */
	bool unlucky = (g->killed_at == g->newest || g->disowned) && g->unstartable_at == g->newest;

	if (!run && !g->lost && !unlucky)
		sim_broken("%s is lost: nobody runs it, and no crash explains it", g->name);
	if (live > 1)
		sim_broken("%u vmruns of %s at the end", live, g->name);
	for (unsigned k = 0; k < plan.hosts; k++) {
		struct sim_host *h = &sim_hosts[k];
		struct seen      s = record_of(g, h);

		if (s.damaged)
			sim_broken("the record of %s on %s is damaged", g->name, h->name);
		if (!run || !s.found || h->disk_ever_failed)
			continue;
		if (run->proc->host == h && record_is(&s, HELD_BACK))
			sim_broken("%s runs on %s, where its record says %s", g->name, h->name,
				   s.state);
		if (run->proc->host != h && record_is(&s, "owned moving aborted retaken"))
			sim_broken("%s runs on %s; its record on %s says %s, "
				   "by which it could be started there too",
				   g->name, run->proc->host->name, h->name, s.state);
	}
}

static void tell_unrest(void)
{
	char   text[600];
	size_t at = 0;

	text[0] = '\0';
	for (unsigned k = 0; k < plan.hosts; k++)
		for (struct guest *g = sim_guests; g; g = g->next) {
			struct seen s = record_of(g, &sim_hosts[k]);

			if (s.found && at < sizeof(text))
				at += (size_t)snprintf(text + at, sizeof(text) - at,
						       " %s on %s: %s;", g->name, sim_hosts[k].name,
						       s.state);
		}
	for (struct proc *p = sim_procs; p && at < sizeof(text); p = p->next)
		if (p->alive && p->role != ROLE_LISTENER)
			at += (size_t)snprintf(text + at, sizeof(text) - at, " %s: %s[%d];",
					       p->host->name, p->name, (int)p->pid);
	sim_broken("it does not come to rest:%s", text);
}

/* ---- a run ---- */

/* What a planted fault needs to show, oftener. A whole program's faults are found without. */
static void plan_for_plant(bool *odd)
{
	if (plant_asked("judgement")) {
		plan.humans = plan.partitions = true;
		plan.points = 5;
		plan.kills  = 8;
	}
	if (!sim_plant || plant_asked("judgement"))
		return;
	plan.points  = 4;
	plan.kills   = 8;
	plan.vm_kills = 0;
	plan.actions = 16;
	plan.crashes = plan.disks = false;
	if (plant_asked("evidence") || plant_asked("absence") || plant_asked("retaken"))
		plan.humans = plan.partitions = true;
	if (plant_asked("doubts"))
		plan.guests = plan.hosts = 2;
	/* A VM that moves back and forth, with people who do not wait. */
	if (plant_asked("retaken")) {
		plan.guests  = 1;
		plan.hosts   = 2;
		plan.cuts    = false;
		plan.focus   = "source.released";
	}
	if (plant_asked("replay"))
		plan.replays = true;
	if (plant_asked("claim"))
		plan.spawn = true;
	if (plant_asked("final"))
		plan.cuts = true;
	*odd = plant_asked("replay") || plant_asked("retaken") || plant_asked("final");
}

static void plan_make(void)
{
	bool odd = false;

	memset(&plan, 0, sizeof(plan));
	plan.guests     = 1 + (unsigned)sim_chance(3);
	plan.hosts      = 2 + (unsigned)sim_chance(2);
	plan.actions    = (unsigned)sim_between(2, 24);
	plan.partitions = sim_chance(2);
	plan.cuts       = sim_chance(2);
	plan.crashes    = sim_chance(4);
	plan.humans     = sim_chance(3);
	plan.disks      = sim_chance(6);
	plan.replays    = sim_chance(6);
	plan.answers    = sim_chance(3);
	plan.terms      = sim_chance(3);
	plan.spawn      = sim_chance(4);
	plan.kills      = (unsigned)sim_below(9);
	plan.vm_kills   = plan.crashes || sim_chance(3) ? (unsigned)sim_below(4) : 0;
	plan.stalls     = (unsigned)sim_below(5);
	plan.points     = (unsigned)sim_between(4, 60);
	plan_for_plant(&odd);
	plan.own_sockets = plan.guests == 1 && (plant_asked("sockets") || sim_chance(6));
	sim_oddity         = (unsigned)sim_between(100, 4000);
	sim_slow_disks     = plant_asked("final") ? 4 : (unsigned)sim_between(5, 100);
	sim_odd_board      = odd || sim_chance(3) ? 3 : 0;
	sim_net.delay_low  = sim_between(50000, SIM_MS);
	sim_net.delay_high = sim_net.delay_low + (sim_chance(4) ? sim_below(2 * SIM_SECOND)
								: sim_below(20 * SIM_MS));
	sim_net.cut_one_in = plan.cuts ? (unsigned)sim_between(20, 400) : 0;
}

static void world_make(void)
{
	static const char *const names[] = { "A", "B", "C" };

	memset(&sim_net, 0, sizeof(sim_net));
	memset(sim_hosts, 0, sizeof(sim_hosts));
	sim_guests = NULL;
	plan_make();
	for (unsigned i = 0; i < SIM_HOSTS; i++) {
		struct sim_host *h = &sim_hosts[i];

		snprintf(h->name, sizeof(h->name), "%s", names[i]);
		h->ip = 0x0a000001u + i;
		h->fs = fs_new();
		if (i < plan.hosts)
			host_up(h);
	}
	for (unsigned i = 0; i < plan.guests; i++) {
		struct guest *g = calloc(1, sizeof(*g));

		if (!g)
			abort();
		snprintf(g->name, sizeof(g->name), "%s", i ? "db" : "web");
		memset(g->uuid.b, (int)(0x11 * (i + 1)), sizeof(g->uuid.b));
		g->next    = sim_guests;
		g->newest  = 1;
		sim_guests = g;
		vmrun_boot(&sim_hosts[sim_below(plan.hosts)], g);
	}
	uint64_t at = sim_now + 5 * SIM_SECOND, span = sim_between(20 * SIM_SECOND, WORLD_TURMOIL);

	for (unsigned i = 0; i < plan.actions; i++)
		sim_at(at + sim_below(span), act, NULL);
	sim_at(at + sim_below(SIM_SECOND), act, NULL);
	for (unsigned i = 0; i < 12 && plant_asked("replay"); i++)
		sim_at(at + sim_below(span), replay_soon, NULL);
	sim_at(at + span, become_calm, NULL);
}

void world_run(uint64_t seed)
{
	sim_reset(seed);
	sock_reset();
	calls_reset();
	sim_instances_reset();
	json_object_seed(1);
	sim_stats.runs++;
	world_make();
	sim_run(at_rest, sim_now + 2 * WORLD_TURMOIL + WORLD_CALM);
	if (!sim_failure[0] && !at_rest_now())
		tell_unrest();
	for (struct guest *g = sim_guests; g && !sim_failure[0]; g = g->next)
		look_at_guest(g);
	for (struct guest *g = sim_guests; g; g = g->next)
		sim_stats.lost_explained += g->lost;
	calls_free_all();
}
