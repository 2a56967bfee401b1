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
	const char        *vm;                  /* operand; NULL for all of status, and for listen */
	struct address     to;                  /* move: the target; listen: where */
	bool               insecure;
	/* move */
	bool               audit;
	int                level;               /* of compression, 0 none */
	uint64_t           max_downtime_ns;     /* 300 ms */
	uint64_t           max_rounds;          /* 30 */
	uint64_t           pause_deadline_ns;   /* 30 s */
	uint64_t           handover_timeout_ns; /* 60 s */
	uint64_t           bandwidth;           /* bytes a second, 0 unlimited */
	uint64_t           image_cache;         /* bytes of kernels and initrds that a listener keeps, 0 none */
	bool               answer;              /* answer the target's questions by ourselves, at answer_at */
	struct address     answer_at;
	struct address     ask;                 /* else where a listener of this host answers; port ADDRESS_PORT */
	enum progress_mode progress;
	/* listen */
	bool               once;
	const char        *spawn;               /* shell words before vmrun's, NULL: run it ourselves */
	char             **overrides;           /* for vmrun, NULL at the end */
	/* resolve */
	bool               own, disown, yes;
	bool               peer_is_dead;        /* the user vouches that the other host will never run it */
};

/* Parses and checks all of it before anything is opened. Prints usage or help and exits by itself. */
void options_parse(struct options *o, int argc, char **argv);

#endif
