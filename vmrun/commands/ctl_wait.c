/* SPDX-License-Identifier: MIT */
#include "vmrun/commands/ctl.h"

#include "libcommon/io.h"
#include "libcommon/paths.h"
#include "vmrun/control/server.h"

#include <string.h>
#include <strings.h>

#define WAIT_ANSWER_MS 30000u
/* A VM that ends tells its clients first and then writes its epitaph. */
#define WAIT_EPITAPH_MS 3000u

static bool wait_is(const json_t *event, const char *name)
{
	const char *is = json_string_value(json_object_get(event, "event"));

	return is && !strcasecmp(is, name);
}

/* The event of that name among remembered ones ({"events": [...]}): a new reference, NULL for
 * none. */
static json_t *wait_find(const json_t *remembered, const char *name)
{
	json_t *e;
	size_t  i;

	json_array_foreach(json_object_get(remembered, "events"), i, e)
		if (wait_is(e, name))
			return json_incref(e);
	return NULL;
}

/* The VM has ended: did the event happen before? *why is kept when there is no epitaph and was_here
 * does not tell that the VM was running. */
static int wait_late(const char *vm, const char *name, bool was_here, json_t **out,
		     struct fail *why)
{
	struct fail ignored;
	char        path[PATHS_MAX];
	json_t     *epitaph = NULL;

	if (paths_socket(path, vm, false, &ignored) == 0)
		epitaph = socket_epitaph(path, WAIT_EPITAPH_MS);
	*out = wait_find(epitaph, name);
	if (!*out && (epitaph || was_here)) {
		const char *status = json_string_value(json_object_get(epitaph, "status"));

		fail_set(why, FAIL_ENDED, "%s: the VM has ended (%s) without %s", vm,
			 status ? status : "killed", name);
	}
	json_decref(epitaph);
	return *out ? 0 : -1;
}

static int wait_next(struct control *c, const char *vm, const char *name, uint64_t until_ns,
		     json_t **out, struct fail *why)
{
	for (;;) {
		uint64_t now = io_now_ns();
		unsigned ms  = 0;

		if (until_ns)
			ms = now >= until_ns ? 1 : (unsigned)((until_ns - now) / 1000000u) + 1;
		if (control_event(c, out, ms, why)) {
			if (why->kind == FAIL_PEER && until_ns && io_now_ns() >= until_ns)
				return fail_set(why, FAIL_PEER, "%s: timed out waiting for %s", vm,
						name);
			return why->kind == FAIL_ENDED ? wait_late(vm, name, true, out, why) : -1;
		}
		if (wait_is(*out, name))
			return 0;
		json_decref(*out);
	}
}

int ctl_wait(const char *vm, const char *event, unsigned timeout_ms, json_t **out, struct fail *why)
{
	uint64_t        until = timeout_ms ? io_now_ns() + (uint64_t)timeout_ms * 1000000u : 0;
	struct control *c     = NULL;
	json_t         *past  = NULL;
	int             rc    = -1;

	*out = NULL;
	if (control_open(&c, vm, why)) {
		if (why->kind != FAIL_PEER && why->kind != FAIL_ENDED)
			return -1;
		return wait_late(vm, event, why->kind == FAIL_ENDED, out, why);
	}
	/* From now on events come by themselves; earlier ones are asked for. In this order none is
	 * missed. */
	if (control_execute(c, "vmferry-events", NULL, &past, NULL, NULL, WAIT_ANSWER_MS, why)) {
		if (why->kind == FAIL_ENDED)
			rc = wait_late(vm, event, true, out, why);
		goto out;
	}
	*out = wait_find(past, event);
	rc   = *out ? 0 : wait_next(c, vm, event, until, out, why);
out:
	json_decref(past);
	control_close(c);
	return rc;
}
