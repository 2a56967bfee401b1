/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_OPTIONS_H
#define VMMIGRATE_OPTIONS_H

#include "libcommon/client/progress.h"
#include "vmmigrate/address.h"

#include <stdbool.h>
#include <stdint.h>

enum verb { VERB_MOVE, VERB_LISTEN, VERB_STATUS, VERB_RESUME, VERB_RESOLVE };

struct options {
	enum verb          verb;
	const char        *vm;                  /* operand; NULL: all of status; listen */
	struct address     to;                  /* move: the target; listen: where */
	bool               insecure;
	/* move */
	bool               audit;
	int                level;               /* of compression, 0 none; SNAP_LEVEL_AUTO */
	uint32_t           threads;             /* that compress; 0: by CPUs */
	uint64_t           max_downtime_ns;     /* 300 ms */
	uint32_t           max_rounds;          /* 30 */
	uint64_t           pause_deadline_ns;   /* 30 s */
	uint64_t           handover_timeout_ns; /* 60 s */
	uint64_t           bandwidth;           /* bytes a second, 0 unlimited */
	uint64_t           image_cache;         /* bytes, of a listener; 0 none */
	bool               answer;              /* the target's queries, at answer_at */
	struct address     answer_at;
	struct address     ask;                 /* else a listener of this host */
	enum progress_mode progress;
	bool               quiet;               /* no report either */
	/* listen */
	bool               once;
	const char        *spawn;               /* shell words before vmrun's, or NULL */
	char             **overrides;           /* for vmrun, NULL at the end */
	/* resolve */
	bool               own, disown, yes;
	bool               peer_is_dead;        /* confirmed: it will never run it */
};

/* Parses and checks all of it before anything is opened. Exits by itself: 0 after --help and the
 * like, 2 when it is wrong. */
void options_parse(struct options *o, int argc, char **argv);

#endif
