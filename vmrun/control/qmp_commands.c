/* SPDX-License-Identifier: MIT */
#include "vmrun/control/qmp_commands.h"

#include "vmrun/control/control_server.h"
#include "vmrun/control/lease_session.h"
#include "vmrun/control/lease_handover.h"
#include "vmrun/control/server.h"
#include "vmrun/boot/set_boot.h"
#include "vmrun/vm.h"

#include <string.h>

enum phase command_phase(const struct control_server *s)
{
	if (s->vm->run.ended)
		return PHASE_ENDED;
	if (runstate_held_by(s->vm, HOLD_RELEASED))
		return PHASE_RELEASED;
	if (runstate_held_by(s->vm, HOLD_INCOMING))
		return lease_handover_unresolved(s) ? PHASE_UNRESOLVED : PHASE_INCOMING;
	if (runstate_held_by(s->vm, HOLD_RESTORE))
		return PHASE_RESTORE;
	return runstate_held_by(s->vm, HOLD_LEASE) ? PHASE_LEASED : PHASE_FREE;
}

int command_refuse(const struct control_server *s, const char *what, struct fail *why)
{
	const char *vm = s->vm->cfg.name;
	char        move[UUID_TEXT];

	uuid_text(&s->move.move, move);
	switch (command_phase(s)) {
	case PHASE_ENDED:
		return fail_set(why, FAIL_ENDED, "%s: the VM has ended", what);
	case PHASE_RELEASED:
		return fail_set(why, FAIL_OWNER,
				"%s: the VM was released to %s (move %s) and may run there; see "
				"vmmigrate status %s", what, s->move.peer, move, vm);
	case PHASE_UNRESOLVED:
		return fail_set(why, FAIL_OWNER,
			"%s: ownership of the VM is unresolved: READY for move %s from %s; "
			"see vmmigrate resolve %s",
			what, move, s->move.peer, vm);
	case PHASE_INCOMING:
		return fail_set(why, FAIL_REFUSED,
				"%s: VM incoming and not yet complete: in use by %s", what,
				sessions_holder(s, LEASE_KIND_INCOMING, "an incoming move"));
	case PHASE_RESTORE:
		return fail_set(why, FAIL_REFUSED,
				"%s: VM restore in progress; see query-status, or use quit", what);
	case PHASE_LEASED:
		return fail_set(why, FAIL_REFUSED, "%s: VM paused by %s until that lease ends",
				what, sessions_holder(s, LEASE_KIND_LOG, "a lease"));
	case PHASE_FREE:
		break;
	}
	return fail_set(why, FAIL_REFUSED,
		"%s: not valid for a VM that is neither paused by a lease, incoming nor released",
		what);
}

static int command_capabilities(struct command_call *call, struct fail *why)
{
	(void)why;
	*call->negotiated = true;
	return 0;
}

/* A move that has the state knows whether the user had stopped the VM: a later stop would not reach
 * the target. */
static int command_stop(struct command_call *call, struct fail *why)
{
	if (command_phase(call->server) == PHASE_LEASED && sessions_state_moving(call->server))
		return fail_set(why, FAIL_REFUSED,
				"stop: VM paused, its state is being sent by %s: "
				"use stop on the target, or here if the move fails",
				sessions_holder(call->server, LEASE_KIND_LOG, "a lease"));
	return runstate_hold(call->vm, HOLD_USER, why);
}

/* A VM whose memory was lost never runs again. */
static int command_memory(struct command_call *call, const char *what, struct fail *why)
{
	if (!memory_lost(&call->vm->memory) || vm_memory_check(call->vm, why) == 0)
		return 0;
	return fail_prefix(why, "%s: ", what);
}

static int command_cont(struct command_call *call, struct fail *why)
{
	if (command_memory(call, "cont", why))
		return -1;
	if (vm_reset_pending(call->vm, why))
		return -1;
	return runstate_drop(call->vm, (enum holder)(HOLD_USER | HOLD_IO), why);
}

/* A holder of the logging lease has read the configuration, or will: the state that it saves must
 * match it. */
static int command_set_boot(struct command_call *call, struct fail *why)
{
	const struct boot_given given = {
		.kernel = json_string_value(json_object_get(call->args, "kernel")),
		.initrd = json_string_value(json_object_get(call->args, "initrd")),
		.append = json_string_value(json_object_get(call->args, "append")),
	};
	const char *holder;

	if (!given.kernel && !given.initrd && !given.append)
		return fail_set(why, FAIL_USAGE, "set-boot: missing kernel, initrd or append");
	sessions_drop_ended(call->server);
	holder = sessions_holder(call->server, LEASE_KIND_LOG, NULL);
	if (holder)
		return fail_set(why, FAIL_REFUSED,
			"set-boot: configuration in use by %s: retry after it has ended",
			holder);
	if (set_boot(call->vm, &given, why))
		return -1;
	call->ret = query_boot(call->vm);
	return 0;
}

static int command_reset(struct command_call *call, struct fail *why)
{
	if (command_memory(call, "system_reset", why))
		return -1;
	return vm_reset(call->vm, why);
}

static int command_powerdown(struct command_call *call, struct fail *why)
{
	if (board_button(call->vm->board)) {
		control_server_event(call->vm, "POWERDOWN", NULL);
		return 0;
	}
	return fail_set(why, FAIL_REFUSED,
		"system_powerdown not supported by machine %s: run poweroff in the guest, or quit",
		machine_type_name(call->vm->cfg.type));
}

static int command_quit(struct command_call *call, struct fail *why)
{
	(void)why;
	vm_end(call->vm, RUN_SHUTDOWN, 0, CAUSE_HOST_QMP_QUIT);
	return 0;
}

static int command_pulse(struct command_call *call, struct fail *why)
{
	if (command_memory(call, "vmferry-pulse", why))
		return -1;
	return vm_pulse(call->vm, why);
}

static int command_events(struct command_call *call, struct fail *why)
{
	(void)why;
	call->ret = events_remembered(call->server);
	return 0;
}

static int command_lease(struct command_call *call, struct fail *why)
{
	const char *name   = json_string_value(json_object_get(call->args, "kind"));
	const char *holder = json_string_value(json_object_get(call->args, "holder"));
	const char *token  = json_string_value(json_object_get(call->args, "token"));

	enum lease_kind kind;

	if (!lease_kind_parse(&kind, name))
		return fail_set(why, FAIL_USAGE,
				"Parameter 'kind' expects 'read', 'log' or 'incoming'");
	if (session_open(call->server, kind, holder, token ? token : "", &call->fd, why))
		return -1;
	call->ret = json_pack("{s:s, s:s}", "kind", name, "holder", holder);
	return 0;
}

static int command_moves(struct command_call *call, struct fail *why)
{
	const struct control_server *s = call->server;
	json_t *record = s->have_move ? moves_json(&s->move) : json_null();

	if (!record)
		return fail_set(why, FAIL_SYSTEM, "vmferry-moves: out of memory");
	call->ret = json_pack("{s:o, s:I, s:b}", "record", record,
			      "generation", (json_int_t)lease_handover_generation(s),
			      "stale", (int)s->stale);
	return 0;
}

static int command_resolve(struct command_call *call, struct fail *why)
{
	const char *move  = json_string_value(json_object_get(call->args, "move"));
	const char *disks = json_string_value(json_object_get(call->args, "disk-changed"));
	bool        own   = json_is_true(json_object_get(call->args, "own"));
	bool        dead  = json_is_true(json_object_get(call->args, "peer-is-dead"));
	struct uuid id;

	if (move && !uuid_parse(&id, move))
		return fail_set(why, FAIL_USAGE, "Parameter 'move' expects a uuid");
	if (disks && strcmp(disks, "accept"))
		return fail_set(why, FAIL_USAGE, "Parameter 'disk-changed' expects 'accept'");
	call->vm->disk_changed_ok = disks != NULL;
	int rc = lease_handover_resolve(call->server, own, dead, move ? &id : NULL, why);

	call->vm->disk_changed_ok = false;
	return rc;
}

static const struct command_arg args_capabilities[] = { { "enable", 'a', true }, { 0 } };
static const struct command_arg args_lease[]        = { { "kind", 's', false },
							{ "holder", 's', false },
							{ "token", 's', true }, { 0 } };
static const struct command_arg args_set_boot[]     = { { "kernel", 's', true },
							{ "initrd", 's', true },
							{ "append", 's', true }, { 0 } };
static const struct command_arg args_inspect[]      = { { "path", 's', true }, { 0 } };
static const struct command_arg args_resolve[]      = { { "own", 'b', false },
							{ "move", 's', true },
							{ "peer-is-dead", 'b', true },
							{ "disk-changed", 's', true }, { 0 } };

#define WHOLE (PHASE_ANY & ~(unsigned)(PHASE_ENDED | PHASE_RESTORE))

const struct command commands[] = {
	{ .name = "qmp_capabilities", .run = command_capabilities, .allowed = PHASE_ANY,
	  .lockless = true, .early = true, .args = args_capabilities },
	{ .name = "query-status", .run = query_status, .allowed = PHASE_ANY },
	{ .name = "stop", .run = command_stop, .allowed = WHOLE },
	{ .name = "cont", .run = command_cont, .allowed = PHASE_FREE },
	{ .name = "system_reset", .run = command_reset, .allowed = PHASE_FREE },
	{ .name = "system_powerdown", .run = command_powerdown, .allowed = PHASE_FREE },
	{ .name = "quit", .run = command_quit, .allowed = PHASE_ANY },
	{ .name = "query-version", .run = query_version, .allowed = PHASE_ANY, .lockless = true },
	{ .name = "query-commands", .run = query_commands, .allowed = PHASE_ANY, .lockless = true },
	{ .name = "query-qmp-schema", .run = query_schema, .allowed = PHASE_ANY, .lockless = true },
	{ .name = "query-name", .run = query_name, .allowed = PHASE_ANY, .lockless = true },
	{ .name = "query-uuid", .run = query_uuid, .allowed = PHASE_ANY, .lockless = true },
	{ .name = "query-cpus-fast", .run = query_cpus, .allowed = PHASE_ANY, .lockless = true },
	{ .name = "query-block", .run = query_block, .allowed = PHASE_ANY },
	{ .name = "query-memory-size-summary", .run = query_memory, .allowed = PHASE_ANY,
	  .lockless = true },
	{ .name = "vmferry-info", .run = query_info, .allowed = PHASE_ANY, .lockless = true },
	{ .name = "vmferry-events", .run = command_events, .allowed = PHASE_ANY, .lockless = true },
	{ .name = "vmferry-lease", .run = command_lease, .allowed = WHOLE, .args = args_lease },
	{ .name = "vmferry-set-boot", .run = command_set_boot, .allowed = PHASE_FREE,
	  .args = args_set_boot },
	{ .name = "vmferry-pulse", .run = command_pulse, .allowed = PHASE_FREE },
	{ .name = "vmferry-inspect", .run = inspect_command, .allowed = WHOLE,
	  .args = args_inspect },
	{ .name = "vmferry-moves", .run = command_moves, .allowed = PHASE_ANY },
	{ .name = "vmferry-resolve", .run = command_resolve,
	  .allowed = PHASE_RELEASED | PHASE_UNRESOLVED, .args = args_resolve },
	{ 0 },
};

static const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

static bool command_arg_fits(const struct command_arg *a, const json_t *value,
			     const char **expected)
{
	switch (a->type) {
	case 's':
		*expected = "string";
		return json_is_string(value);
	case 'b':
		*expected = "boolean";
		return json_is_boolean(value);
	case 'a':
		*expected = "array";
		return json_is_array(value);
	default:
		*expected = "integer";
		return json_is_integer(value);
	}
}

static int command_check_args(const struct command *c, json_t *args, struct fail *why)
{
	static const struct command_arg none[] = { { 0 } };
	const struct command_arg *rows = c->args ? c->args : none;
	const char *key, *expected;
	json_t     *value;

	for (const struct command_arg *a = rows; a->name; a++) {
		value = json_object_get(args, a->name);
		if (!value && !a->optional)
			return fail_set(why, FAIL_USAGE, "Parameter '%s' is missing", a->name);
		if (value && !command_arg_fits(a, value, &expected))
			return fail_set(why, FAIL_USAGE,
					"Invalid parameter type for '%s', expected: %s", a->name,
					expected);
	}
	json_object_foreach(args, key, value) {
		const struct command_arg *a = rows;

		while (a->name && strcmp(a->name, key))
			a++;
		if (!a->name)
			return fail_set(why, FAIL_USAGE, "Parameter '%.60s' is unexpected", key);
	}
	return 0;
}

static int command_run(const struct command *c, struct command_call *call, struct fail *why)
{
	int rc;

	if (c->lockless)
		return c->run(call, why);
	pthread_mutex_lock(&call->vm->control_lock);
	if (c->allowed & command_phase(call->server))
		rc = c->run(call, why);
	else
		rc = command_refuse(call->server, c->name, why);
	pthread_mutex_unlock(&call->vm->control_lock);
	return rc;
}

int command_execute(struct command_call *call, const struct qmp_request *r, struct fail *why)
{
	const struct command *c = command_find(r->command);
	int rc;

	if (*call->negotiated == (c && c->early)) {
		call->class = "CommandNotFound";
		if (*call->negotiated)
			return fail_set(why, FAIL_USAGE,
					"Capabilities negotiation is already complete, "
					"command '%.60s' ignored", r->command);
		return fail_set(why, FAIL_USAGE,
				"Expecting capabilities negotiation with 'qmp_capabilities', "
				"not '%.60s'", r->command);
	}
	if (!c) {
		call->class = "CommandNotFound";
		return fail_set(why, FAIL_USAGE, "The command %.80s has not been found",
				r->command);
	}
	call->args = r->args ? json_incref(r->args) : json_object();
	rc = command_check_args(c, call->args, why);
	if (rc == 0)
		rc = command_run(c, call, why);
	json_decref(call->args);
	call->args = NULL;
	return rc;
}
