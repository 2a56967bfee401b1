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

/* sim [--seed N] [--runs N] [--trace] [--calls] [--plant NAME] [--jobs N]: runs seeds N, N + 1, ...; TAP on standard output. A seed that
 * fails is run again with its trace, which is the same at every run of the same program. */

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

static void usage(void)
{
	fputs("usage: sim [--seed N] [--runs N] [--jobs N] [--plant NAME] [--keep-going] [--trace] [--calls]\n", stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "seed", 1, NULL, 's' },  { "runs", 1, NULL, 'r' },  { "jobs", 1, NULL, 'j' }, { "plant", 1, NULL, 'p' },
						 { "trace", 0, NULL, 't' }, { "calls", 0, NULL, 'c' }, { "keep-going", 0, NULL, 'k' }, { 0 } };
	struct sim_stats all = { 0 };
	struct shared   *s;
	time_t           begin = time(NULL);
	int              o;
	uint64_t         failed = 0;
	const char      *what   = NULL;
	bool             show   = false;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (o) {
		case 's': first = strtoull(optarg, NULL, 0); break;
		case 'r': runs = strtoull(optarg, NULL, 0); break;
		case 'j': jobs = (unsigned)strtoul(optarg, NULL, 0); break;
		case 'p': sim_plant = optarg; break;
		case 't': show = true; break;
		case 'c': show = trace = true; break;
		case 'k': keep_going = true; break;
		default: usage();
		}
	if (optind != argc || jobs < 1 || jobs > MAIN_JOBS)
		usage();
	json_set_alloc_funcs(malloc, free);
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 512 << 20);
	if (show) {
		replay(first);
		return 0;
	}
	s = mmap(NULL, sizeof(*s) * jobs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		return 1;
	for (unsigned j = 0; j < jobs; j++) {
		fflush(stdout);
		if (fork() == 0)
			worker(s, &s[j], first + j);
	}
	while (wait(NULL) > 0)
		;
	for (unsigned j = 0; j < jobs; j++) {
		add(&all, &s[j].stats);
		if (!s[j].failed && s[j].ended)
			continue;
		if (!failed || s[j].seed < failed) {
			failed = s[j].seed;
			what   = s[j].failed ? s[j].failure : "it crashed";
		}
	}
	if (failed)
		replay(failed);
	printf("%sok 1 - of %llu schedules none runs a VM twice, loses one, or ends in doubt%s\n", failed ? "not " : "", (unsigned long long)runs,
	       sim_plant ? ", with an old fault planted" : "");
	if (failed)
		printf("# seed %llu: %s\n# again: make sim SEED=%llu RUNS=1%s%s\n", (unsigned long long)failed, what, (unsigned long long)failed,
		       sim_plant ? " PLANT=" : "", sim_plant ? sim_plant : "");
	printf("# %llu schedules in %ld s: %llu calls, %llu moves (%llu at once complete, %llu left in doubt), %llu kills, %llu host crashes, "
	       "%llu cuts, %llu partitions, %llu records, %llu VMs lost with the vmrun that had them\n",
	       (unsigned long long)all.runs, (long)(time(NULL) - begin), (unsigned long long)all.steps, (unsigned long long)all.moves,
	       (unsigned long long)all.moved, (unsigned long long)all.doubts, (unsigned long long)all.kills, (unsigned long long)all.crashes,
	       (unsigned long long)all.cuts, (unsigned long long)all.partitions, (unsigned long long)all.records,
	       (unsigned long long)all.lost_explained);
	puts("1..1");
	return failed ? 1 : 0;
}
