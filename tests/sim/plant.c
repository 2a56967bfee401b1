/* SPDX-License-Identifier: MIT */
#include "tests/sim/plant.h"

#include "libcommon/client/control.h"
#include "vmmigrate/unresolved.h"
#include "vmmigrate/find.h"
#include "vmmigrate/source_handover.h"
#include "vmmigrate/outcome.h"
#include "tests/sim/sim.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* Old faults, one at a time, put back where one file calls another (the linker's --wrap, as for the
 * C library; plant_*: two callers of one function told apart by a name given at compile time). A
 * simulator that does not find them proves nothing. */

const char *sim_plant;
bool        sim_plant_off;

const struct plant plants[] = {
	{ "claim",
	  "a VM is filled by whoever finds its socket: neither claim nor token",
	  false },
	{ "evidence",
	  "an onward move forgets what became of the one before, and what is unknown may be owned",
	  false },
	{ "judgement",
	  "resolve asks once, records nothing, then acts after its human",
	  false },
	{ "absence",
	  "no record is taken for aborted, and disown leaves none",
	  false },
	{ "doubts",
	  "of two VMs in doubt one is asked about",
	  false },
	{ "sockets",
	  "a vmrun at a socket of its own is not found",
	  false },
	{ "retaken",
	  "a VM that had come by a move is owned under the id of the move that failed",
	  false },
	{ "replay",
	  "a move's id is accepted again",
	  true },
	{ "final",
	  "a record is believed while the vmrun that decides lives",
	  false },
	{ 0 }
};

bool plant_asked(const char *name)
{
	return sim_plant && !strcmp(sim_plant, name);
}

bool plant(const char *name)
{
	return !sim_plant_off && plant_asked(name);
}

/* ---- claim ---- */

int __real_moves_lock(const struct uuid *vm, const char *socket, unsigned wait_ms, int *fd,
		      struct fail *why);
int __wrap_moves_lock(const struct uuid *vm, const char *socket, unsigned wait_ms, int *fd,
		      struct fail *why)
{
	int rc = __real_moves_lock(vm, socket, plant("claim") ? 0 : wait_ms, fd, why);

	if (rc == 0 || !plant("claim"))
		return rc;
	*fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return 0;
}

int __real_moves_lock_adopt(const struct uuid *vm, const char *socket, int fd, struct fail *why);
int __wrap_moves_lock_adopt(const struct uuid *vm, const char *socket, int fd, struct fail *why)
{
	return plant("claim") ? 0 : __real_moves_lock_adopt(vm, socket, fd, why);
}

int __real_lease_claim(struct lease *l, int lock_fd, struct fail *why);
int __wrap_lease_claim(struct lease *l, int lock_fd, struct fail *why)
{
	return plant("claim") ? 0 : __real_lease_claim(l, lock_fd, why);
}

int __real_lease_open_token(struct lease **out, struct control *c, enum lease_kind kind,
			    const char *holder, const char *token, struct fail *why);
int __wrap_lease_open_token(struct lease **out, struct control *c, enum lease_kind kind,
			    const char *holder, const char *token, struct fail *why)
{
	return __real_lease_open_token(out, c, kind, holder, plant("claim") ? "" : token, why);
}

/* ---- evidence, retaken ---- */

void __real_moves_step(struct move_record *r, enum move_state state, const struct uuid *move,
		       uint64_t generation, const char *peer);
void __wrap_moves_step(struct move_record *r, enum move_state state, const struct uuid *move,
		       uint64_t generation, const char *peer)
{
	if (plant("retaken") && state == MOVE_RETAKEN && generation)
		state = MOVE_OWNED;
	__real_moves_step(r, state, move, generation, peer);
	if (plant("evidence"))
		r->noutcomes = 0;
}

/* ---- absence ---- */

static void plant_answer(const struct message *query, struct message *m)
{
	if (m->type != MSG_ANSWER)
		return;
	if (plant("evidence") && m->state == ANSWER_SUPERSEDED)
		m->state = ANSWER_UNKNOWN;
	if (plant("absence") && query && query->from_target && m->state == ANSWER_UNKNOWN)
		m->state = ANSWER_ABORTED;
}

void __real_outcome_query(const struct message *query, struct message *out);
void __wrap_outcome_query(const struct message *query, struct message *out)
{
	__real_outcome_query(query, out);
	plant_answer(query, out);
}

void __real_outcome_act(const struct uuid *vm, const struct uuid *move, uint64_t generation,
			bool go, struct lease *lease, struct message *out);
void __wrap_outcome_act(const struct uuid *vm, const struct uuid *move, uint64_t generation,
			bool go, struct lease *lease, struct message *out)
{
	__real_outcome_act(vm, move, generation, go, lease, out);
	plant_answer(NULL, out);
}

/* resolve.c's source_handover_done. */
int plant_resolve_done(struct source_handover *h, uint64_t generation, struct fail *why);
int plant_resolve_done(struct source_handover *h, uint64_t generation, struct fail *why)
{
	int rc = source_handover_done(h, generation, why);

	if (rc == 0 && plant("absence"))
		moves_remove(&h->vm, why);
	return rc;
}

/* ---- what resolve asks ---- */

static int plant_judge(struct message *m, int rc)
{
	enum answer_state s = rc ? ANSWER_UNKNOWN : m->state;

	/* Whatever does not say that the other side has it. */
	if (s == ANSWER_OWNED || s == ANSWER_READY || s == ANSWER_RELEASED || s == ANSWER_ABORTED)
		return rc;
	m->type  = MSG_ANSWER;
	m->state = ANSWER_RETURNED;
	return 0;
}

/* resolve.c's outcome_ask_peer. */
int plant_resolve_ask(const struct move_record *r, bool insecure, struct message *m,
		      struct fail *why);
int plant_resolve_ask(const struct move_record *r, bool insecure, struct message *m,
		      struct fail *why)
{
	struct proc *p = sim_proc();

	if (plant("judgement") && p->asked)      /* the second time: as it was the first time */
		return m->type = MSG_ANSWER, m->state = (enum answer_state)(p->asked - 1), 0;

	int rc = outcome_ask_peer(r, insecure, m, why);

	if ((plant("judgement") || plant("evidence")) && r->state != MOVE_READY)
		rc = plant_judge(m, rc);
	if (plant("absence") && rc == 0 && r->state != MOVE_READY && m->state == ANSWER_READY)
		m->state = ANSWER_UNKNOWN;
	if (rc == 0)
		p->asked = 1 + (int)m->state;
	return rc;
}

/* resolve.c's source_handover_retaking. */
int plant_resolve_retaking(struct source_handover *h, bool on, struct fail *why);
int plant_resolve_retaking(struct source_handover *h, bool on, struct fail *why)
{
	return plant("judgement") ? 0 : source_handover_retaking(h, on, why);
}

/* ---- doubts: unresolved moves ---- */

struct unresolved_move *__real_unresolved_due(struct unresolved *d, uint64_t now_ns);
struct unresolved_move *__wrap_unresolved_due(struct unresolved *d, uint64_t now_ns)
{
	struct unresolved_move *one = __real_unresolved_due(d, now_ns);
	struct proc  *p   = sim_proc();

	if (!one || !plant("doubts"))
		return one;
	if (!p->asked)
		p->asked = 1 + one->vm.b[0];
	if (p->asked == 1 + one->vm.b[0])
		return one;
	one->at_ns = now_ns + 30 * SIM_SECOND;
	return NULL;
}

/* ---- sockets ---- */

int __real_moves_held(const struct uuid *vm, bool *held, struct moves_holder *holder,
		      struct fail *why);
int __wrap_moves_held(const struct uuid *vm, bool *held, struct moves_holder *holder,
		      struct fail *why)
{
	int rc = __real_moves_held(vm, held, holder, why);

	/* The mover was given the path of the socket. */
	if (plant("sockets") && sim_proc()->role != ROLE_MOVER && rc == 0 && *held && holder &&
	    holder->socket[0] && strncmp(holder->socket, "/run/vmferry/", 13))
		*held = false;
	return rc;
}

/* ---- replay ---- */

/* moves_find of target_check.c and of lease_handover.c: was it here before? */
bool plant_target_find(const struct move_record *r, const struct uuid *move, enum move_state *state,
		       uint64_t *generation);
bool plant_target_find(const struct move_record *r, const struct uuid *move, enum move_state *state,
		       uint64_t *generation)
{
	return !plant("replay") && moves_find(r, move, state, generation);
}

/* ---- final ---- */

int __real_find_judged(const struct uuid *vm, bool ours, struct judged *j, struct fail *why);
int __wrap_find_judged(const struct uuid *vm, bool ours, struct judged *j, struct fail *why)
{
	if (!plant("final") || ours)
		return __real_find_judged(vm, ours, j, why);
	memset(j, 0, sizeof(*j));

	enum found f = find_vm(vm, &j->c, why);

	j->alive = f == FOUND_ALIVE;
	if (f == FOUND_UNRESOLVED)
		return -1;
	return moves_read(vm, &j->r, &j->found, why);
}
