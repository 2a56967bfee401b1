/* SPDX-License-Identifier: MIT */
#include "vmmigrate/unresolved.h"

#define UNRESOLVED_FIRST_NS 500000000u           /* 0.5 s, doubled */
#define UNRESOLVED_LAST_NS  30000000000u         /* up to 30 s */

struct unresolved_seen { struct unresolved *d; uint64_t now_ns; };

static int unresolved_each(void *arg, const struct move_record *r, struct fail *why)
{
	struct unresolved_seen *s = arg;
	struct unresolved      *d = s->d;
	unsigned                i = 0;

	(void)why;
	if (r->state != MOVE_READY)
		return 0;
	while (i < d->n && !(uuid_equal(&d->moves[i].vm, &r->vm) &&
			     uuid_equal(&d->moves[i].move, &r->move)))
		i++;
	/* New moves are refused at this number (target_check.c); this many may be left by listeners
	 * that ran at the same time. */
	if (i == UNRESOLVED_MAX) {
		d->more = true;
		return 0;
	}
	if (i == d->n)
		d->moves[d->n++] = (struct unresolved_move){
			.vm = r->vm, .move = r->move, .at_ns = s->now_ns,
			.pause_ns = UNRESOLVED_FIRST_NS,
		};
	d->moves[i].seen = true;
	return 0;
}

void unresolved_scan(struct unresolved *d, uint64_t now_ns)
{
	struct unresolved_seen s = { .d = d, .now_ns = now_ns };
	struct fail            ignored;

	d->more = false;
	for (unsigned i = 0; i < d->n; i++)
		d->moves[i].seen = false;
	/* A record that cannot be read is skipped here; `status` reports it. */
	moves_list(unresolved_each, &s, &ignored);
	for (unsigned i = 0; i < d->n;)
		if (!d->moves[i].seen && !d->moves[i].asker)
			d->moves[i] = d->moves[--d->n];
		else
			i++;
}

struct unresolved_move *unresolved_due(struct unresolved *d, uint64_t now_ns)
{
	for (unsigned i = 0; i < d->n; i++)
		if (!d->moves[i].asker && d->moves[i].at_ns <= now_ns)
			return &d->moves[i];
	return NULL;
}

int unresolved_wait(const struct unresolved *d, uint64_t now_ns)
{
	uint64_t first = UINT64_MAX;

	for (unsigned i = 0; i < d->n; i++)
		if (!d->moves[i].asker && d->moves[i].at_ns < first)
			first = d->moves[i].at_ns;
	if (first == UINT64_MAX)
		return -1;
	return first <= now_ns ? 0 : (int)((first - now_ns) / 1000000) + 1;
}

bool unresolved_asked(struct unresolved *d, pid_t asker, bool left, uint64_t now_ns)
{
	for (unsigned i = 0; i < d->n; i++) {
		struct unresolved_move *one = &d->moves[i];

		if (one->asker != asker)
			continue;
		one->asker = 0;
		if (left) {
			one->at_ns    = now_ns + one->pause_ns;
			one->pause_ns *= 2;
			if (one->pause_ns > UNRESOLVED_LAST_NS)
				one->pause_ns = UNRESOLVED_LAST_NS;
		} else {
			*one = d->moves[--d->n];
		}
		/* The same VM may have become READY again, by another move. */
		if (d->more || !left)
			unresolved_scan(d, now_ns);
		return true;
	}
	return false;
}

unsigned unresolved_askers(const struct unresolved *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < d->n; i++)
		n += d->moves[i].asker != 0;
	return n;
}
