/* SPDX-License-Identifier: MIT */
#include "vmmigrate/slots.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum slot_stage {
	SLOT_FREE,         /* only the listener leaves this one */
	SLOT_SILENT,       /* waiting for its first message: may be evicted */
	SLOT_SHORT,        /* GO, ABORT, QUERY */
	SLOT_MOVE,
	SLOT_EVICTED,      /* its process is being killed; free once that has ended */
};

struct slot {
	_Atomic int stage;         /* enum slot_stage; both sides change it */
	pid_t       pid;           /* read and written by the listener alone */
	uint64_t    since_ns;
};

struct slots {
	struct slot slot[SLOTS];
};

int slots_open(struct slots **out, struct fail *why)
{
	void *p = mmap(NULL, sizeof(struct slots), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return fail_sys(why, "connections");
	*out = p;
	return 0;
}

void slots_close(struct slots *s)
{
	if (s)
		munmap(s, sizeof(*s));
}

/* Kills the oldest silent one. Its process may be in slots_enter() at this moment: whoever
 * changes the stage first wins, so that no process is killed after its first message. */
static void slots_evict(struct slots *s)
{
	struct slot *oldest = NULL;
	int          silent = SLOT_SILENT;

	for (unsigned i = 0; i < SLOTS; i++)
		if (atomic_load(&s->slot[i].stage) == SLOT_SILENT &&
		    (!oldest || s->slot[i].since_ns < oldest->since_ns))
			oldest = &s->slot[i];
	if (oldest && oldest->pid > 0 &&
	    atomic_compare_exchange_strong(&oldest->stage, &silent, SLOT_EVICTED))
		kill(oldest->pid, SIGKILL);
}

int slots_take(struct slots *s, uint64_t now_ns)
{
	unsigned free = SLOTS, spare = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		if (atomic_load(&s->slot[i].stage) == SLOT_FREE) {
			free = i;
			spare++;
		}
	/* One slot ahead of need: the process of an evicted one takes a moment to end. */
	if (spare <= 1)
		slots_evict(s);
	if (free == SLOTS)
		return -1;
	s->slot[free].pid      = -1;
	s->slot[free].since_ns = now_ns;
	atomic_store(&s->slot[free].stage, SLOT_SILENT);
	return (int)free;
}

void slots_set(struct slots *s, unsigned slot, pid_t pid)
{
	s->slot[slot].pid = pid;
	if (pid <= 0)
		atomic_store(&s->slot[slot].stage, SLOT_FREE);
}

bool slots_free(struct slots *s, pid_t pid)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (atomic_load(&s->slot[i].stage) != SLOT_FREE && s->slot[i].pid == pid) {
			slots_set(s, i, 0);
			return true;
		}
	return false;
}

unsigned slots_used(const struct slots *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		n += atomic_load(&s->slot[i].stage) != SLOT_FREE;
	return n;
}

void slots_kill(struct slots *s, int signal_number)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (atomic_load(&s->slot[i].stage) != SLOT_FREE && s->slot[i].pid > 0)
			kill(s->slot[i].pid, signal_number);
}

bool slots_enter(struct slots *s, unsigned slot, bool move)
{
	unsigned moves  = 0;
	int      silent = SLOT_SILENT;

	if (!atomic_compare_exchange_strong(&s->slot[slot].stage, &silent,
					    move ? SLOT_MOVE : SLOT_SHORT))
		return false;
	for (unsigned i = 0; i < SLOTS; i++)
		moves += atomic_load(&s->slot[i].stage) == SLOT_MOVE;
	return !move || moves <= SLOTS_MOVES;
}
