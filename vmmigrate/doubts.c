/* SPDX-License-Identifier: MIT */
#include "vmmigrate/doubts.h"

#define DOUBTS_FIRST_NS 500000000u
#define DOUBTS_LAST_NS  30000000000u

struct doubts_seen { struct doubts *d; uint64_t now_ns; };

static int doubts_each(void *arg, const struct move_record *r, struct fail *why)
{
	struct doubts_seen *s = arg;
	struct doubts      *d = s->d;
	unsigned            i = 0;

	(void)why;
	if (r->state != MOVE_READY)
		return 0;
	while (i < d->n && !(uuid_equal(&d->doubt[i].vm, &r->vm) && uuid_equal(&d->doubt[i].move, &r->move)))
		i++;
	if (i == DOUBTS) {
		d->more = true;
		return 0;
	}
	if (i == d->n)
		d->doubt[d->n++] = (struct doubt){ .vm = r->vm, .move = r->move, .at_ns = s->now_ns, .pause_ns = DOUBTS_FIRST_NS };
	d->doubt[i].seen = true;
	return 0;
}

void doubts_look(struct doubts *d, uint64_t now_ns)
{
	struct doubts_seen s = { .d = d, .now_ns = now_ns };
	struct fail        ignored;

	d->more = false;
	for (unsigned i = 0; i < d->n; i++)
		d->doubt[i].seen = false;
	/* A damaged record is passed over here; `status` names it. */
	moves_list(doubts_each, &s, &ignored);
	for (unsigned i = 0; i < d->n;)
		if (!d->doubt[i].seen && !d->doubt[i].asker)
			d->doubt[i] = d->doubt[--d->n];
		else
			i++;
}

struct doubt *doubts_due(struct doubts *d, uint64_t now_ns)
{
	for (unsigned i = 0; i < d->n; i++)
		if (!d->doubt[i].asker && d->doubt[i].at_ns <= now_ns)
			return &d->doubt[i];
	return NULL;
}

int doubts_wait(const struct doubts *d, uint64_t now_ns)
{
	uint64_t first = UINT64_MAX;

	for (unsigned i = 0; i < d->n; i++)
		if (!d->doubt[i].asker && d->doubt[i].at_ns < first)
			first = d->doubt[i].at_ns;
	if (first == UINT64_MAX)
		return -1;
	return first <= now_ns ? 0 : (int)((first - now_ns) / 1000000) + 1;
}

bool doubts_asked(struct doubts *d, pid_t asker, bool left, uint64_t now_ns)
{
	for (unsigned i = 0; i < d->n; i++) {
		struct doubt *one = &d->doubt[i];

		if (one->asker != asker)
			continue;
		one->asker = 0;
		if (left) {
			one->at_ns    = now_ns + one->pause_ns;
			one->pause_ns = one->pause_ns * 2 < DOUBTS_LAST_NS ? one->pause_ns * 2 : DOUBTS_LAST_NS;
		} else {
			*one = d->doubt[--d->n];
		}
		if (d->more || !left)
			doubts_look(d, now_ns);
		return true;
	}
	return false;
}

unsigned doubts_askers(const struct doubts *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < d->n; i++)
		n += d->doubt[i].asker != 0;
	return n;
}
