/* SPDX-License-Identifier: MIT */
/*
 * handover.pml: the hand-over of docs/protocol.md as a Spin model. `make model` checks it.
 *
 * One VM, HOSTS hosts, at most MOVES moves between them. A move is a number from 1; from[m] is its
 * source, to[m] its target. Names are those of docs/protocol.md: states of a record in capitals, S1
 * to S5 for what the source's vmmigrate does, answers to QUERY in small letters. There is one
 * process type for each real process. Each is one loop, and a row of the tables of sections 5, 7
 * and 8 is one of its options; resolve alone is a sequence. An option is atomic: vmrun does what it
 * is asked under the lock of its hand-over, and a record is on disk or it is not. Between any two
 * options a fault may happen, or a human may act.
 *
 * The network: what was said of a move stays said. It can be heard at any later moment, by any
 * connection, any number of times, or never. That covers lost, delayed, reordered and repeated
 * messages. HELLO, pages and STATE need a connection of their own, wire[m]; GO, ABORT, QUERY and
 * the answers do not.
 *
 * The properties:
 *   - Never two: when vCPUs begin to run, none runs elsewhere (enter_running), and a target goes on
 *     from the latest state of the VM (START in vmrun_of).
 *   - Never none: no vmrun that has the latest state discards it while no other vmrun has it,
 *     unless the vmrun that owned the VM has died or a human has said so (discard).
 *   - Every doubt ends: when nothing fails any more and no human acts, everything comes to rest.
 *     Then no record is READY, RELEASED or RETAKING, none is MOVING with a live vmrun, and the VM
 *     runs, unless its owner has died or a human has discarded it (monitor). `spin -DNP` shows that
 *     everything does come to rest: there is no endless loop.
 *
 * FAULT_1 to FAULT_9 plant faults that the program had once, FAULT_VOUCH and FAULT_START rules that
 * drafts of docs/protocol.md had; Spin must find each of them.
 */

#ifndef HOSTS
#define HOSTS 3
#endif
#ifndef MOVES
#define MOVES 2
#endif
#ifndef FAULTS
#define FAULTS 2        /* deaths, power cuts, lost connections, late or failed steps, replays */
#endif
#ifndef WORDS
#define WORDS 1         /* times a human uses resolve, or ends a VM in doubt */
#endif
#ifndef RESTARTS
#define RESTARTS 1      /* times a human starts the VM again where it has ended */
#endif

#define A       0       /* where the VM runs at first */
#define NOBODY  255

mtype:record = { NONE, MOVING, RELEASED, RETAKING, READY,
		 OWNED, RETURNED, ABORTED, RETAKEN, MOVED };
mtype:vmrun  = { absent, incoming, in_doubt, starting, started, running, paused, given_away };
mtype:lock   = { unlocked, by_vmrun, by_listener, by_resolve };
mtype:source = { S0, S1, S2, S3, S4, S5, ended };
mtype:target = { no_hello, spawning, filling, over, stray };
mtype:answer = { silent, unknown, undecided, ready, owned, returned, superseded,
		 released, aborted };

/* On disk: one record a VM and host, and the outcomes of earlier moves. */
mtype:record state[HOSTS];
byte         move[HOSTS];
byte         generation[HOSTS];
mtype:record outcomes[HOSTS * (MOVES + 1)];
#define outcome(h, m)   outcomes[(h) * (MOVES + 1) + (m)]

/* What lives on a host. */
bool         up[HOSTS];
bool         listening[HOSTS];
mtype:lock   lock[HOSTS];       /* VMUUID.lock */
mtype:vmrun  vmrun[HOSTS];
byte         vm_move[HOSTS];    /* an incoming vmrun: the move that fills it */
byte         lease[HOSTS];      /* the logging lease: 0, the move whose vmmigrate holds it, or: */
#define RESOLVE (MOVES + 1)
bool         resolving[HOSTS];  /* a vmmigrate resolve lives */

/* A move. */
byte         begun;             /* moves 1 to `begun` have begun */
byte         from[MOVES + 1], to[MOVES + 1];
byte         offered[MOVES + 1];        /* generation of its HELLO, QUERY, GO */
byte         owned_as[MOVES + 1];       /* generation of its OWNED */
mtype:source source[MOVES + 1];         /* its vmmigrate */
mtype:target target[MOVES + 1];         /* its connection at the target's listener, until READY */
bool         wire[MOVES + 1];           /* that connection is whole */
/* it is not the source's: somebody sends a recorded stream again */
bool         replayed[MOVES + 1];

/* What has been said of a move. */
bool state_said[MOVES + 1], ready_said[MOVES + 1], go_said[MOVES + 1], abort_said[MOVES + 1];
bool running_said[MOVES + 1], returned_said[MOVES + 1], superseded_said[MOVES + 1];

byte faults = FAULTS, words = WORDS, restarts = RESTARTS;
bool calm;                      /* from now on nothing fails and no human acts */

/* For the properties only: no process looks at these. */
bool current[HOSTS];            /* the vmrun here holds the VM's latest state, and can run it */
bool fresh[MOVES + 1];          /* nobody has run since this move's STATE */
byte owner = A;                 /* whose death is the VM's death; NOBODY from RELEASED to OWNED */
bool explained;                 /* that death, or a human's word, has lost the VM */
bool copy_lost;                 /* a copy that was current has died since the VM last ran */
bool promised[HOSTS];           /* a human has promised not to start it here */

#define is(h, s, m)     (state[h] == s && move[h] == m)
#define says(h, s, m)   (is(h, s, m) || outcome(h, m) == s)
#define knows(h, m)     (move[h] == m || outcome(h, m) != NONE)
#define final(s)        (s == OWNED || s == RETURNED || s == ABORTED || s == RETAKEN || s == MOVED)
#define serves(h)       (up[h] && listening[h])
#define asked(m)        (go_said[m] || abort_said[m])

/* "No vmrun of the VM lives" means that its lock is free. FAULT_6: it means that no vmrun of
 * that name answers, and a VM at --control PATH has none. */
#ifdef FAULT_6
#define no_vmrun(h)     (lock[h] == unlocked || lock[h] == by_vmrun)
#else
#define no_vmrun(h)     (lock[h] == unlocked)
#endif

/* The judged record: a vmrun that is about to run is asked, and answers when it has. FAULT_9:
 * the file is believed. */
#ifdef FAULT_9
#define decided(h)      true
#else
#define decided(h)      (vmrun[h] != starting && vmrun[h] != started)
#endif

/* The record of h becomes state s of move m. A new move puts the outcome of the one before into
 * the outcomes. */
inline write(h, s, m)
{
#ifndef FAULT_2         /* outcomes are forgotten when the VM moves onward */
	if
	:: move[h] != m && final(state[h]) -> outcome(h, move[h]) = state[h]
	:: else
	fi;
#endif
	state[h] = s;
	move[h] = m
}

/* The vmrun of h lets its vCPUs run. */
inline enter_running(h)
{
	d_step {
		for (_i : 0 .. HOSTS - 1) {
			assert(vmrun[_i] != running);   /* never two */
			current[_i] = (_i == h)
		}
		for (_i : 1 .. MOVES) {
			fresh[_i] = false
		}
		_i = 0
	}
	vmrun[h] = running;
	owner = h;
	explained = false;
	copy_lost = false;
	promised[h] = false
}

#define a_copy_is_left       (current[0] || current[1] || current[HOSTS - 1])
hidden byte _i;

/* The vmrun of h ends, and the lock is free. */
inline leave(h)
{
	vmrun[h] = absent;
	vm_move[h] = 0;
	lease[h] = 0;
	lock[h] = unlocked
}

/* The vmrun of h ends because the protocol says that it may. */
inline discard(h)
{
	if
	:: current[h] ->
		current[h] = false;
		assert(a_copy_is_left || explained)          /* never none */
	:: else
	fi;
	leave(h)
}

/* The vmrun of h ends, and has an excuse: a human has said so, or it can't start the VM while the
 * other copy is lost (copy_lost). */
inline discard_excused(h)
{
	if
	:: current[h] ->
		current[h] = false;
		explained = explained || !a_copy_is_left
	:: else
	fi;
	leave(h)
}

/* It is killed. */
inline die(h)
{
	if
	:: current[h] ->
		current[h] = false;
		copy_lost = true;
		explained = explained || owner == h || !a_copy_is_left;
		owner = (owner == h -> NOBODY : owner)
	:: else
	fi;
	leave(h)
}

/* A vmrun on h gives its failed or refused move up and runs on: the record says so under that
 * move's id. FAULT_7: a VM that has moved before gets its OWNED back, under the failed move's
 * id. */
inline run_on(h, s, m)
{
#ifdef FAULT_7
	if
	:: generation[h] > 0 -> write(h, OWNED, m)
	:: else -> write(h, s, m)
	fi;
#else
	write(h, s, m);
#endif
	enter_running(h)
}

/* The lease of h's vmrun is held by a process that has ended. */
#define lease_ended(h)  ((lease[h] == RESOLVE && !resolving[h]) || (lease[h] > 0 && \
		lease[h] < RESOLVE && source[lease[h]] == ended))

/* ---- vmrun ----------------------------------------------------------------------------------- */

proctype vmrun_of(byte h)
{
end:	do
	/* An incoming vmrun ends with its lease, or with the process that started it. */
	:: atomic { vmrun[h] == incoming && target[vm_move[h]] != filling -> discard(h) }

	/* START: disks are locked, OWNED is recorded, vCPUs run. Until they do it can fail; then
	 * it is RETURNED. */
	:: atomic { vmrun[h] == starting ->
		generation[h] = generation[h] + 1;
		owned_as[vm_move[h]] = generation[h];
		write(h, OWNED, vm_move[h]);
		owner = h;
		vmrun[h] = started }
	:: atomic { vmrun[h] == started ->
		assert(current[h]);                     /* never an old state */
		enter_running(h) }
	:: atomic { (vmrun[h] == starting || vmrun[h] == started) && faults > 0 ->
		faults--;
		write(h, RETURNED, vm_move[h]);
		generation[h] = offered[vm_move[h]];
		owner = (owner == h -> NOBODY : owner);
		if
		:: copy_lost -> discard_excused(h)
		:: else -> discard(h)
		fi }

	/* The lease that began the move is the only one that can release it: lost in any other
	 * way, the VM runs on. */
	:: atomic { (vmrun[h] == running || vmrun[h] == paused) && lease_ended(h) ->
		if
		:: vmrun[h] == paused -> run_on(h, ABORTED, lease[h])
		:: vmrun[h] == running && is(h, MOVING, lease[h]) ->
			vmrun[h] = paused;
			run_on(h, ABORTED, lease[h])
		:: else                                 /* S1: nothing was recorded */
		fi;
		lease[h] = 0 }
	/* The deadline of the pause has passed: the lease is revoked. */
	:: atomic { vmrun[h] == paused && faults > 0 ->
		faults--;
		run_on(h, ABORTED, lease[h]);
		lease[h] = 0 }
	/* RELEASE: nothing but RETAKE lets it run from here on. */
	:: atomic { vmrun[h] == paused && lease[h] > 0 && source[lease[h]] == S4 ->
		write(h, RELEASED, lease[h]);
		owner = NOBODY;
		vmrun[h] = given_away }
	:: atomic { vmrun[h] == given_away && lease_ended(h) ->
		lease[h] = 0;
		if
		:: state[h] == RETAKING -> state[h] = RELEASED
		:: else
		fi }
	od
}

/* ---- The source ------------------------------------------------------------------------------ */

/* The target has it: the vmrun here ends, its record says MOVED. Without a vmrun, that is
 * written under the lock. */
inline done(h, m)
{
	write(h, MOVED, m);
	generation[h] = (running_said[m] -> owned_as[m] : generation[h]);
	if
	:: vmrun[h] == given_away -> discard(h)
	:: else
	fi
}

/* The target will never run it: it is ours again, and runs if its vmrun lives. */
inline retake(h, m)
{
	if
	:: vmrun[h] == given_away -> run_on(h, RETAKEN, m); lease[h] = 0
	:: else -> write(h, RETAKEN, m)
	fi
}

/* vmmigrate VM HOST, one for each move. */
proctype vmmigrate(byte m)
{
end:	do
	/* S1: AGREE is heard: record MOVING. */
	:: atomic { source[m] == S1 && wire[m] && target[m] == filling && lease[from[m]] == m ->
		write(from[m], MOVING, m);
		source[m] = S2 }

	/* S2: pause, last pages, STATE. */
	:: atomic { source[m] == S2 && wire[m] && lease[from[m]] == m ->
		vmrun[from[m]] = paused;
		source[m] = S3;
		fresh[m] = true;
		state_said[m] = true }

	:: atomic { source[m] == S3 && wire[m] && ready_said[m] -> source[m] = S4 }

	/* Lost, refused, or the lease is gone: gives up. After STATE the target may be READY,
	 * and is told. */
	:: atomic { (source[m] == S1 || source[m] == S2 || source[m] == S3) &&
		    (!wire[m] || lease[from[m]] != m) ->
		abort_said[m] = (source[m] == S3 -> true : abort_said[m]);
		wire[m] = false;
		source[m] = ended }

	/* S4: RELEASE has been asked for. Only a trace of ABORTED lets ABORT be said. */
	:: atomic { source[m] == S4 && is(from[m], MOVING, m) && no_vmrun(from[m]) ->
		write(from[m], ABORTED, m) }
	:: atomic { source[m] == S4 && says(from[m], ABORTED, m) ->
		abort_said[m] = true;
		source[m] = ended }
	:: atomic { source[m] == S4 && is(from[m], RELEASED, m) -> source[m] = S5 }
	:: atomic { source[m] == S4 && !is(from[m], RELEASED, m) && !is(from[m], MOVING, m) &&
		    !says(from[m], ABORTED, m) ->
		source[m] = ended }     /* a human has settled it, or does: nothing is said */

	/* S5: says GO until it is answered. */
	:: atomic { source[m] == S5 && !go_said[m] -> go_said[m] = true }
	:: atomic { source[m] == S5 && is(from[m], RELEASED, m) &&
		    (running_said[m] || superseded_said[m]) &&
		    (lease[from[m]] == m || no_vmrun(from[m])) ->
		done(from[m], m);                       /* S6 */
		source[m] = ended }
	:: atomic { source[m] == S5 && is(from[m], RELEASED, m) && returned_said[m] &&
		    (lease[from[m]] == m || no_vmrun(from[m])) ->
		retake(from[m], m);                     /* S7 */
		source[m] = ended }
	/* --handover-timeout, or settled by another */
	:: atomic { source[m] == S5 -> source[m] = ended }
	od
}

/* vmmigrate resume: somebody runs it sooner or later, whenever a record says RELEASED. It holds
 * the VM's lease or lock. */
#define settles(h)      ((vmrun[h] == given_away && lease[h] == 0) || \
			 (vmrun[h] == absent && lock[h] == unlocked))
proctype resume(byte h)
{
end:	do
	/* RETAKING, and whoever wrote it has gone. */
	:: atomic { up[h] && state[h] == RETAKING && settles(h) -> state[h] = RELEASED }
	:: atomic { up[h] && state[h] == RELEASED && settles(h) && !go_said[move[h]] ->
		go_said[move[h]] = true }
	:: atomic { up[h] && state[h] == RELEASED && settles(h) &&
		    (running_said[move[h]] || superseded_said[move[h]]) ->
		done(h, move[h]) }
	:: atomic { up[h] && state[h] == RELEASED && settles(h) && returned_said[move[h]] ->
		retake(h, move[h]) }
	od
}

/* ---- The target ------------------------------------------------------------------------------ */

/* What a record forbids, looked at with the claim in hand. */
#ifdef FAULT_8          /* a move's id is accepted again after RETURNED */
#define used(h, m)      false
#else
#define used(h, m)      knows(h, m)
#endif
#define older(h, m)     (offered[m] < generation[h])
#define given(h)        (state[h] == RELEASED || state[h] == RETAKING)
#define refuses(h, m)   (lock[h] != unlocked || used(h, m) || older(h, m) || state[h] == READY || \
			 (given(h) && generation[h] >= offered[m]))

inline claim(h)
{
	lock[h] = by_listener;
	if
	/* RELEASED of a lower generation: the VM has moved on since, and comes back. */
	:: given(h) -> state[h] = MOVED
	:: state[h] == MOVING -> state[h] = ABORTED     /* nobody can release it any more */
	:: else
	fi
}

/* vmmigrate --listen on the target, for one move: the connection that fills, and those that
 * bring GO and ABORT afterwards. */
proctype listener(byte m)
{
end:	do
	/* HELLO: claims the VM, starts vmrun --incoming. */
	:: atomic { source[m] == S1 && wire[m] && target[m] == no_hello && serves(to[m]) ->
		if
		:: refuses(to[m], m) -> wire[m] = false; target[m] = over
		:: else -> claim(to[m]); target[m] = spawning
		fi }
	/* A recorded stream is sent to the same host again. */
	:: atomic { state_said[m] && target[m] == over && serves(to[m]) && faults > 0 &&
		    !refuses(to[m], m) ->
		faults--;
		claim(to[m]);
		replayed[m] = true;
		target[m] = spawning }
	/* The vmrun that was started, and no other, gives its lease and takes the claim: AGREE. */
	:: atomic { target[m] == spawning && (wire[m] || replayed[m]) ->
		lock[to[m]] = by_vmrun;
		vmrun[to[m]] = incoming;
		vm_move[to[m]] = m;
		target[m] = filling }
	/* Lost meanwhile: starting stops. FAULT_1: it waits for whatever vmrun has that UUID, to
	 * end it. */
	:: atomic { target[m] == spawning && !wire[m] && !replayed[m] ->
		lock[to[m]] = unlocked;
#ifdef FAULT_1
		target[m] = stray }
	:: atomic { target[m] == stray && vmrun[to[m]] != absent ->
		discard(to[m]);
#endif
		target[m] = over }
	/* T1, lost: the lease is dropped. */
	:: atomic { target[m] == filling && !wire[m] && !replayed[m] -> target[m] = over }
	/* T1, STATE has come: loaded, READY is recorded and said. */
	:: atomic { target[m] == filling && state_said[m] && vmrun[to[m]] == incoming &&
		    vm_move[to[m]] == m ->
		vmrun[to[m]] = in_doubt;
		current[to[m]] = fresh[m];
		write(to[m], READY, m);
		generation[to[m]] = offered[m];
		replayed[m] = false;
		target[m] = over;
		ready_said[m] = true }
	/* T1, and its vmrun has died. */
	:: atomic { target[m] == filling && vm_move[to[m]] != m ->
		wire[m] = false;
		replayed[m] = false;
		target[m] = over }

	/* GO and ABORT. READY, vmrun lives: */
	:: atomic { go_said[m] && serves(to[m]) && vmrun[to[m]] == in_doubt &&
		    vm_move[to[m]] == m ->
		vmrun[to[m]] = starting }
	:: atomic { abort_said[m] && serves(to[m]) && vmrun[to[m]] == in_doubt &&
		    vm_move[to[m]] == m ->
		write(to[m], RETURNED, m);
		discard(to[m]) }
	/* READY, no vmrun: */
	:: atomic { asked(m) && serves(to[m]) && is(to[m], READY, m) && no_vmrun(to[m]) ->
		write(to[m], RETURNED, m) }
	/* OWNED, RETURNED, now or as an outcome: */
	:: atomic { asked(m) && serves(to[m]) && says(to[m], OWNED, m) && decided(to[m]) &&
		    !running_said[m] ->
		running_said[m] = true }
	:: atomic { asked(m) && serves(to[m]) && says(to[m], RETURNED, m) && !returned_said[m] ->
		returned_said[m] = true }
	/* Not known: */
#ifndef FAULT_2
	:: atomic { asked(m) && serves(to[m]) && !knows(to[m], m) &&
		    offered[m] < generation[to[m]] && !superseded_said[m] ->
		superseded_said[m] = true }
#endif
	od
}

/* ---- Asking ---------------------------------------------------------------------------------- */

/* The listener of the target asks, that of the source answers: `released` is as good as GO,
 * `aborted` as ABORT. What decides nothing is asked again, and is not shown. A QUERY may arrive
 * late, when nobody is in doubt any more. */
#define gave(h, m)      (is(h, RELEASED, m) || (is(h, RETAKING, m) && lock[h] == unlocked))
/* FAULT_5: the listener asks about one VM until it is answered. Here that is another VM, whose
 * source is gone. */
#ifdef FAULT_5
#define can_ask(m)      false
#else
#define can_ask(m)      (ready_said[m] || is(to[m], READY, m))
#endif

proctype asker(byte m)
{
end:	do
	:: atomic { can_ask(m) && serves(from[m]) && !go_said[m] &&
		    (gave(from[m], m) || says(from[m], MOVED, m)) ->
		go_said[m] = true }
	:: atomic { can_ask(m) && serves(from[m]) && !abort_said[m] &&
		    (says(from[m], ABORTED, m) || says(from[m], RETAKEN, m)) ->
		abort_said[m] = true }
	:: atomic { can_ask(m) && serves(from[m]) && is(from[m], MOVING, m) && no_vmrun(from[m]) ->
		write(from[m], ABORTED, m);
		abort_said[m] = true }
#ifdef FAULT_4          /* no record of the move means that it was aborted */
	:: atomic { can_ask(m) && serves(from[m]) && !abort_said[m] && !knows(from[m], m) ->
		abort_said[m] = true }
#endif
	od
}

/* QUERY of a source to the target, and its answer. */
inline ask_target(m, answer)
{
	if
	:: !calm || !serves(to[m]) -> answer = silent
	:: serves(to[m]) ->
		if
		:: lock[to[m]] == by_resolve || !decided(to[m]) -> answer = undecided
		:: else ->
			if
			:: is(to[m], READY, m) -> answer = ready
			:: says(to[m], OWNED, m) -> answer = owned
			:: says(to[m], RETURNED, m) -> answer = returned
#ifndef FAULT_2
			:: !knows(to[m], m) && offered[m] < generation[to[m]] -> answer = superseded
			:: !knows(to[m], m) && offered[m] >= generation[to[m]] -> answer = unknown
#else
			:: !knows(to[m], m) -> answer = unknown
#endif
			:: else -> answer = undecided
			fi
		fi
	fi
}

/* QUERY of a target to the source. */
inline ask_source(m, answer)
{
	if
	:: !calm || !serves(from[m]) -> answer = silent
	:: serves(from[m]) ->
		if
		:: lock[from[m]] == by_resolve -> answer = undecided
		:: else ->
			if
			:: gave(from[m], m) || says(from[m], MOVED, m) -> answer = released
			:: says(from[m], ABORTED, m) || says(from[m], RETAKEN, m) ->
				answer = aborted
			:: is(from[m], MOVING, m) && no_vmrun(from[m]) ->
				write(from[m], ABORTED, m);
				answer = aborted
			:: !knows(from[m], m) -> answer = unknown
			:: else -> answer = undecided
			fi
		fi
	fi
}

/* ---- Humans ---------------------------------------------------------------------------------- */

/* --peer-is-dead, said only when it is true: that host is down, the VM has not gone on from there
 * to a third one, and nobody will start it anywhere but here. FAULT_VOUCH: a human vouches for that
 * host alone. */
#define elsewhere(h)    (vmrun[(h + 1) % HOSTS] != absent || \
			 vmrun[(h + HOSTS - 1) % HOSTS] != absent)
#ifdef FAULT_VOUCH
#define peer_is_dead(h, peer)   (!up[peer])
#else
#define peer_is_dead(h, peer)   (!up[peer] && !elsewhere(h))
#endif
inline promise(h)
{
	d_step {
		for (_i : 0 .. HOSTS - 1) {
			promised[_i] = (_i != h)
		}
		_i = 0
	}
}

/* What lets `--own` go on after the peer was asked. FAULT_2: `unknown` does. FAULT_3: silence
 * does. */
#if defined(FAULT_2)
#define lets_own(answer)        (answer == returned || answer == unknown)
#elif defined(FAULT_3)
#define lets_own(answer)        (answer == returned || answer == silent)
#else
#define lets_own(answer)        (answer == returned)
#endif
#define source_may_own  (lets_own(heard) || \
			 (vouched && heard != ready && heard != owned && heard != superseded))
#define target_may_own  (heard == released || (vouched && heard != aborted))

/* It holds the vmrun's lease, or the lock; that of a vmrun which has died meanwhile can be
 * taken. What it found is looked at again. */
#define holds(h)        (lease[h] == RESOLVE || lock[h] == by_resolve || lock[h] == unlocked)
#ifdef FAULT_3
#define still(h, m)     (holds(h) && is(h, RELEASED, m))
#else
#define still(h, m)     (holds(h) && is(h, RETAKING, m))
#endif

inline killed(h) { !resolving[h] -> heard = silent; vouched = false; m = 0; goto idle }
inline give_back(h)
{
	resolving[h] = false;
	if
	:: lock[h] == by_resolve -> lock[h] = unlocked
	:: lease[h] == RESOLVE -> lease[h] = 0
	:: else
	fi;
	heard = silent;
	vouched = false;
	m = 0
}

/* vmmigrate resolve: an impatient human's. */
proctype resolve(byte h)
{
	byte         m;
	mtype:answer heard = silent;
	bool         vouched;

end:
idle:	do
	/* A source that has released, --own: under the lease or the lock RETAKING is recorded,
	 * then the peer is asked. */
	:: atomic { words > 0 && up[h] && state[h] == RELEASED && settles(h) ->
		words--;
		m = move[h];
		resolving[h] = true;
		if
		:: vmrun[h] == given_away -> lease[h] = RESOLVE
		:: else -> lock[h] = by_resolve
		fi;
		if
		:: true
		:: peer_is_dead(h, to[m]) -> vouched = true; promise(h)
		fi;
#ifndef FAULT_3
		state[h] = RETAKING;
#endif
		goto own_first }
	/* The same, --disown. */
	:: atomic { words > 0 && up[h] && state[h] == RELEASED && settles(h) ->
		words--;
		m = move[h];
		resolving[h] = true;
		if
		:: vmrun[h] == given_away -> lease[h] = RESOLVE
		:: else -> lock[h] = by_resolve
		fi;
		goto disown }
	/* A target that is READY. */
	:: atomic { words > 0 && up[h] && state[h] == READY && vmrun[h] == in_doubt ->
		words--;
		m = move[h];
		resolving[h] = true;
		if
		:: true
		:: peer_is_dead(h, from[m]) -> vouched = true; promise(h)
		fi;
		goto ready_own_first }
	:: atomic { words > 0 && up[h] && state[h] == READY && vmrun[h] == in_doubt ->
		words--;
		m = move[h];
		resolving[h] = true;
		goto ready_disown }
	/* `quit`, or SIGTERM, of a VM in doubt. */
	:: atomic { words > 0 && vmrun[h] == in_doubt ->
		words--;
		write(h, RETURNED, vm_move[h]);
		discard_excused(h) }
	od;

own_first:
	if
	:: atomic { killed(h) }
	:: atomic { resolving[h] -> ask_target(m, heard) }
	fi;
	if
	:: atomic { killed(h) }
	:: atomic { resolving[h] && source_may_own }            /* the human: yes */
	:: atomic { resolving[h] -> goto own_refused }          /* refused, or the human: no */
	fi;
#ifndef FAULT_3
	if
	:: atomic { killed(h) }
	:: atomic { resolving[h] -> ask_target(m, heard) }
	fi;
#endif
	if
	:: atomic { killed(h) }
	:: atomic { resolving[h] && source_may_own && still(h, m) ->
		generation[h] = generation[h] + vouched;
		retake(h, m);
		give_back(h);
		goto idle }
	:: atomic { resolving[h] && !(source_may_own && still(h, m)) -> goto own_refused }
	fi;
own_refused:
	if
	:: atomic { killed(h) }
	:: atomic { resolving[h] ->
		if
		:: is(h, RETAKING, m) && holds(h) -> state[h] = RELEASED
		:: else
		fi;
		give_back(h);
		goto idle }
	fi;

disown:
	if
	:: atomic { killed(h) }
	:: atomic { resolving[h] -> ask_target(m, heard) }
	fi;
	if
	:: atomic { killed(h) }
#ifndef FAULT_4
	/* As resume: GO. */
	:: atomic { resolving[h] && (heard == ready || heard == owned || heard == superseded) ->
		go_said[m] = true;
		give_back(h);
		goto idle }
	:: atomic { resolving[h] && heard != ready && heard != owned && heard != superseded &&
		    heard != returned && holds(h) && is(h, RELEASED, m) ->     /* the human: yes */
		write(h, MOVED, m);
#else                   /* the record is deleted, whatever the target says */
	:: atomic { resolving[h] && heard != returned && holds(h) && is(h, RELEASED, m) ->
		state[h] = NONE;
		move[h] = 0;
#endif
		if
		:: vmrun[h] == given_away -> discard_excused(h); copy_lost = true
		:: else
		fi;
		give_back(h);
		goto idle }
	:: atomic { resolving[h] -> give_back(h); goto idle }   /* refused, or the human: no */
	fi;

ready_own_first:
	if
	:: atomic { killed(h) }
	:: atomic { resolving[h] -> ask_source(m, heard) }
	fi;
	if
	:: atomic { killed(h) }
	:: atomic { resolving[h] && target_may_own }
	:: atomic { resolving[h] -> give_back(h); goto idle }
	fi;
	if
	:: atomic { killed(h) }
	:: atomic { resolving[h] -> ask_source(m, heard) }
	fi;
	if
	:: atomic { killed(h) }
	:: atomic { resolving[h] ->
		if
		:: target_may_own && vmrun[h] == in_doubt && vm_move[h] == m ->
			vmrun[h] = starting;
			/* old or not, a human says that this is the VM */
			current[h] = current[h] || vouched
		:: else
		fi;
		give_back(h);
		goto idle }
	fi;

ready_disown:
	if
	:: atomic { killed(h) }
	:: atomic { resolving[h] -> ask_source(m, heard) }
	fi;
	if
	:: atomic { killed(h) }
	:: atomic { resolving[h] ->
		if
		:: heard != released && vmrun[h] == in_doubt && vm_move[h] == m ->
			write(h, RETURNED, m);
			copy_lost = copy_lost || current[h];
			discard_excused(h)
		:: true
		fi;
		give_back(h);
		goto idle }
	fi
}

/* Where the VM may be started: its record says that it is ours, or says nothing. A dead MOVING
 * becomes ABORTED first. FAULT_START: MOVED and RETURNED do not forbid it. */
#define is_ours(h)      (state[h] == OWNED || state[h] == ABORTED || state[h] == RETAKEN || \
			 state[h] == MOVING || (state[h] == NONE && h == A))
#ifdef FAULT_START
#define may_start(h)    (is_ours(h) || state[h] == MOVED || state[h] == RETURNED)
#else
#define may_start(h)    is_ours(h)
#endif

/* Who runs the VM: moves it, and starts it again where it has ended. */
proctype user(byte h)
{
end:	do
	:: atomic { begun < MOVES && vmrun[h] == running && lease[h] == 0 ->
		begun++;
		from[begun] = h;
		if
		:: to[begun] = (h + 1) % HOSTS
#if HOSTS > 2
		/* B and C differ in name only: the first move is to B */
		:: begun > 1 -> to[begun] = (h + 2) % HOSTS
#endif
		fi;
		offered[begun] = generation[h];
		lease[h] = begun;
		wire[begun] = true;
		source[begun] = S1 }
	:: atomic { restarts > 0 && up[h] && lock[h] == unlocked && vmrun[h] == absent &&
		    may_start(h) && !promised[h] ->
		restarts--;
		if
		:: state[h] == MOVING -> state[h] = ABORTED
		:: else
		fi;
		lock[h] = by_vmrun;
		enter_running(h) }
	od
}

/* ---- Faults ---------------------------------------------------------------------------------- */

#define is_from(h, m)   (m <= begun && from[m] == h)
#define is_to(h, m)     (m <= begun && to[m] == h)

inline listener_dies(h)
{
	listening[h] = false;
	for (_i : 1 .. MOVES) {
		if
		:: is_to(h, _i) && (target[_i] == spawning || target[_i] == filling ||
			    target[_i] == stray) ->
			target[_i] = over;
			wire[_i] = false;
			replayed[_i] = false
		:: else
		fi
	}
	_i = 0;
	lock[h] = (lock[h] == by_listener -> unlocked : lock[h])
}

inline resolve_dies(h)
{
	resolving[h] = false;
	lock[h] = (lock[h] == by_resolve -> unlocked : lock[h])
}

proctype faults_of_host(byte h)
{
end:	do
	/* A vmrun, a listener with its connections, a resolve is killed. */
	:: atomic { faults > 0 && vmrun[h] != absent -> faults--; die(h) }
	:: d_step { faults > 0 && listening[h] -> faults--; listener_dies(h) }
	:: atomic { faults > 0 && resolving[h] -> faults--; resolve_dies(h) }
	:: d_step { faults > 0 && up[h] ->                      /* power cut */
		faults--;
		up[h] = false;
		listener_dies(h);
		resolve_dies(h);
		for (_i : 1 .. MOVES) {
			if
			:: is_from(h, _i) && source[_i] != ended ->
				source[_i] = ended;
				wire[_i] = false
			:: else
			fi
		}
		_i = 0;
		if
		:: vmrun[h] != absent -> die(h)
		:: else
		fi }
	/* What has died is started again sooner or later. */
	:: atomic { !up[h] -> up[h] = true }
	:: atomic { up[h] && !listening[h] -> listening[h] = true }
	od
}

proctype faults_of_move(byte m)
{
end:	do
	/* The connection is cut, the source's vmmigrate is killed. */
	:: atomic { faults > 0 && wire[m] -> faults--; wire[m] = false }
	:: atomic { faults > 0 && source[m] != S0 && source[m] != ended ->
		faults--;
		wire[m] = false;
		source[m] = ended }
	od
}

/* From some moment on nothing fails and no human acts; what was on its way is lost. When all
 * processes have done what they do by themselves (timeout: nothing is left to do), no doubt is
 * left. */
proctype monitor()
{
	byte h;

	d_step { !calm ->
		calm = true;
		faults = 0;
		words = 0;
		restarts = 0;
		for (_i : 1 .. MOVES) {
			wire[_i] = false;
			ready_said[_i] = false;
			go_said[_i] = false;
			abort_said[_i] = false;
			running_said[_i] = false;
			returned_said[_i] = false;
			superseded_said[_i] = false;
			source[_i] = (source[_i] == S0 -> ended : source[_i])
		}
		_i = 0;
		begun = MOVES }
	atomic { timeout ->
		assert(explained || vmrun[0] == running || vmrun[1] == running ||
			    vmrun[HOSTS - 1] == running);
#ifndef FAULT_2         /* it leaves doubts as well; the worse that it does is two */
		for (h : 0 .. HOSTS - 1) {
			assert(state[h] != READY && state[h] != RELEASED && state[h] != RETAKING);
			assert(state[h] != MOVING || vmrun[h] == absent)
		}
#endif
		skip }
}

init {
	atomic {
		for (_i : 0 .. HOSTS - 1) {
			up[_i] = true;
			listening[_i] = true;
			state[_i] = NONE;
			vmrun[_i] = absent;
			lock[_i] = unlocked
		}
		for (_i : 0 .. HOSTS * (MOVES + 1) - 1) {
			outcomes[_i] = NONE
		}
		for (_i : 0 .. MOVES) {
			source[_i] = S0;
			target[_i] = no_hello
		}
		_i = 0;
		lock[A] = by_vmrun;
		vmrun[A] = running;
		current[A] = true;
		run vmrun_of(0); run resume(0); run resolve(0); run user(0); run faults_of_host(0);
		run vmrun_of(1); run resume(1); run resolve(1); run user(1); run faults_of_host(1);
#if HOSTS > 2
		run vmrun_of(2); run resume(2); run resolve(2); run user(2); run faults_of_host(2);
#endif
		run vmmigrate(1); run listener(1); run asker(1); run faults_of_move(1);
#if MOVES > 1
		run vmmigrate(2); run listener(2); run asker(2); run faults_of_move(2);
#endif
#if MOVES > 2
		run vmmigrate(3); run listener(3); run asker(3); run faults_of_move(3);
#endif
		run monitor()
	}
}
