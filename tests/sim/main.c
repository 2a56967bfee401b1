/* SPDX-License-Identifier: MIT */
#include "tests/sim/plant.h"
#include "tests/sim/sim.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Runs seeds; TAP on standard output. A seed that fails is run again with its trace, which is the
 * same at every run of one program. --plants: finds each of plant.c's old faults. */

#define MAIN_JOBS 16

struct shared {
	volatile uint64_t seed;              /* that runs now */
	volatile bool     failed, ended;
	struct sim_stats  stats;
	char              failure[1024];
};

static uint64_t first = 1, runs = 2000;
static unsigned jobs  = 2;
static bool     trace, keep_going;

/* Has one failed that comes before this? */
static bool is_over(const struct shared *all, uint64_t seed)
{
	for (unsigned j = 0; j < jobs; j++)
		if (all[j].failed && all[j].seed < seed)
			return true;
	return false;
}

/* Every jobs-th seed, until one fails, here or elsewhere. */
static void worker(const struct shared *all, struct shared *s, uint64_t from)
{
	for (uint64_t seed = from; seed < first + runs && !is_over(all, seed); seed += jobs) {
		s->seed = seed;
		world_run(seed);
		s->stats = sim_stats;
		if (!sim_failure[0])
			continue;
		if (keep_going) {
			printf("# seed %llu: %s\n", (unsigned long long)seed, sim_failure);
			fflush(stdout);
			continue;
		}
		snprintf(s->failure, sizeof(s->failure), "%s", sim_failure);
		s->failed = true;
		break;
	}
	s->ended = true;
	fflush(stdout);
	_exit(0);
}

/* The same again, seen. Its own process: it may end in a signal. */
static void replay(uint64_t seed)
{
	pid_t pid;
	int   status = 0;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		sim_tracing = trace ? 2 : 1;
		world_run(seed);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		printf("# it ends with signal %d\n", WTERMSIG(status));
}

static void add(struct sim_stats *to, const struct sim_stats *s)
{
	uint64_t       *a = (uint64_t *)to;
	const uint64_t *b = (const uint64_t *)s;

	for (size_t i = 0; i < sizeof(*to) / sizeof(*a); i++)
		a[i] += b[i];
}

/* The first seed that fails, 0 for none; stats of all runs. */
static uint64_t hunt(struct sim_stats *stats, char what[1024])
{
	struct shared *s = mmap(NULL, sizeof(*s) * jobs, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t       failed = 0;

	if (s == MAP_FAILED)
		exit(1);
	*stats = (struct sim_stats){ 0 };
	for (unsigned j = 0; j < jobs; j++) {
		fflush(stdout);
		if (fork() == 0)
			worker(s, &s[j], first + j);
	}
	while (wait(NULL) > 0)
		;
	for (unsigned j = 0; j < jobs; j++) {
		add(stats, &s[j].stats);
		if (!s[j].failed && s[j].ended)
			continue;
		if (!failed || s[j].seed < failed) {
			failed = s[j].seed;
			snprintf(what, 1024, "%s", s[j].failed ? s[j].failure : "it crashed");
		}
	}
	munmap(s, sizeof(*s) * jobs);
	return failed;
}

static int check(void)
{
	struct sim_stats n;
	time_t           begin = time(NULL);
	char             what[1024];
	uint64_t         failed = hunt(&n, what);

	if (failed)
		replay(failed);
	printf("%sok 1 - %llu schedules: no VM runs twice, none is lost, every doubt ends%s%s\n",
	       failed ? "not " : "", (unsigned long long)runs, sim_plant ? "; planted: " : "",
	       sim_plant ? sim_plant : "");
	if (failed)
		printf("# seed %llu: %s\n# again: make sim SEED=%llu RUNS=1%s%s\n",
		       (unsigned long long)failed, what, (unsigned long long)failed,
		       sim_plant ? " PLANT=" : "", sim_plant ? sim_plant : "");
	printf("# %llu schedules in %ld s: %llu calls, %llu moves "
	       "(%llu complete, %llu in doubt at their ends), %llu kills, %llu host crashes, "
	       "%llu cuts, %llu partitions, %llu records; "
	       "%llu VMs ended with the vmrun that had them\n",
	       (unsigned long long)n.runs, (long)(time(NULL) - begin),
	       (unsigned long long)n.steps, (unsigned long long)n.moves,
	       (unsigned long long)n.moved, (unsigned long long)n.doubts,
	       (unsigned long long)n.kills, (unsigned long long)n.crashes,
	       (unsigned long long)n.cuts, (unsigned long long)n.partitions,
	       (unsigned long long)n.records, (unsigned long long)n.lost_explained);
	puts("1..1");
	return failed ? 1 : 0;
}

/* Each old fault is found, by a seed that fails with it alone. */
static int check_plants(void)
{
	struct sim_stats n;
	char             what[1024], ignored[1024];
	uint64_t         begin = first, many = runs;
	int              bad = 0, count = 0;

	for (const struct plant *p = plants; p->name; p++) {
		uint64_t found = 0;

		if (p->rare)
			continue;
		sim_plant = p->name;
		for (first = begin; first < begin + many; first = found + 1) {
			runs  = begin + many - first;
			found = hunt(&n, what);
			if (!found)
				break;
			/* The same seed without it. */
			first          = found;
			runs           = 1;
			sim_plant_off  = true;
			uint64_t other = hunt(&n, ignored);

			sim_plant_off = false;
			if (!other)
				break;
			printf("# seed %llu fails without it too: %s\n", (unsigned long long)found,
			       ignored);
		}
		bad += !found;
		printf("%sok %d - planted: %s (%s)\n", found ? "" : "not ", ++count, p->what,
		       p->name);
		if (found)
			printf("# seed %llu: %s\n", (unsigned long long)found, what);
		fflush(stdout);
	}
	printf("1..%d\n", count);
	return bad ? 1 : 0;
}

static void usage(void)
{
	fputs("usage: sim [--seed N] [--runs N] [--jobs N] [--plant NAME [--without] | --plants] "
	      "[--keep-going] [--trace | --calls]\n", stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", 1, NULL, 's' },
		{ "runs", 1, NULL, 'r' },
		{ "jobs", 1, NULL, 'j' },
		{ "plant", 1, NULL, 'p' },
		{ "plants", 0, NULL, 'P' },
		{ "without", 0, NULL, 'w' },
		{ "trace", 0, NULL, 't' },
		{ "keep-going", 0, NULL, 'k' },
		{ "calls", 0, NULL, 'c' },
		{ 0 }
	};
	bool show = false, all = false;
	int  o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (o) {
		case 's': first = strtoull(optarg, NULL, 0); break;
		case 'r': runs = strtoull(optarg, NULL, 0); break;
		case 'j': jobs = (unsigned)strtoul(optarg, NULL, 0); break;
		case 'p': sim_plant = optarg; break;
		case 'P': all = true; break;
		case 'w': sim_plant_off = true; break;
		case 'k': keep_going = true; break;
		case 't': show = true; break;
		case 'c': show = trace = true; break;
		default: usage();
		}
	if (optind != argc || first < 1 || runs < 1 || jobs < 1 || jobs > MAIN_JOBS)
		usage();
	json_set_alloc_funcs(malloc, free);
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 512 << 20);
	if (show) {
		replay(first);
		return 0;
	}
	return all ? check_plants() : check();
}
