/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_CONTROL_QMP_COMMANDS_H
#define VMRUN_CONTROL_QMP_COMMANDS_H

#include "libcommon/fail.h"
#include "vmrun/control/qmp.h"

#include <jansson.h>
#include <stdbool.h>

struct vm;
struct control_server;

/* One command being executed. Arguments have been checked against the command's row: those that are
 * there are of the row's type, and those that must be there are. */
struct command_call {
	struct control_server *server;
	struct vm             *vm;
	json_t                *args;         /* borrowed, never NULL */
	bool                  *negotiated;
	json_t                *ret;          /* out: NULL for {} */
	int                    fd;           /* out: goes with the answer; -1 for none */
	const char            *class;        /* of the error */
};

/* Who owns the VM and who has paused it decides what is allowed (docs/control.md 3). */
enum phase {
	PHASE_FREE       = 1 << 0,   /* ours, not paused by a lease (which may be logging) */
	PHASE_LEASED     = 1 << 1,   /* paused by a logging lease */
	PHASE_INCOMING   = 1 << 2,   /* being filled */
	PHASE_UNRESOLVED = 1 << 3,   /* filled and READY, without GO: ownership unresolved */
	PHASE_RELEASED   = 1 << 4,   /* given to a peer */
	PHASE_ENDED      = 1 << 5,
	PHASE_RESTORE    = 1 << 6,   /* being read from a snapshot */
};
#define PHASE_ANY 0x7fu

/* A list ends with a row whose name is NULL. */
struct command_arg {
	const char *name;
	char        type;            /* 's' string, 'b' bool, 'a' array, 'i' integer */
	bool        optional;
};

struct command {
	const char *name;
	int       (*run)(struct command_call *call, struct fail *why);
	unsigned    allowed;         /* phases; in others it is refused, naming who prevents it */
	bool        lockless;        /* reads nothing that changes: answered during a pause too */
	bool        early;           /* before negotiation; all others only after it */
	const struct command_arg *args;
};
extern const struct command commands[];     /* name NULL at the end */

/* Runs what a request asks for; takes control_lock by itself. */
int command_execute(struct command_call *call, const struct qmp_request *r, struct fail *why);

enum phase command_phase(const struct control_server *s);
/* Why `what` is refused in this phase; names who prevents it. Returns -1. */
int command_refuse(const struct control_server *s, const char *what, struct fail *why);

/* The rows' functions: query.c, schema.c, inspect.c; the others are in qmp_commands.c. */
int query_status(struct command_call *call, struct fail *why);
/* What the next reset would boot: "missing" and "reset-pending", a new reference. */
json_t *query_boot(const struct vm *vm);
int query_version(struct command_call *call, struct fail *why);
int query_commands(struct command_call *call, struct fail *why);
int query_schema(struct command_call *call, struct fail *why);
int query_name(struct command_call *call, struct fail *why);
int query_uuid(struct command_call *call, struct fail *why);
int query_cpus(struct command_call *call, struct fail *why);
int query_block(struct command_call *call, struct fail *why);
int query_memory(struct command_call *call, struct fail *why);
int query_info(struct command_call *call, struct fail *why);
int inspect_command(struct command_call *call, struct fail *why);

#endif
