/* SPDX-License-Identifier: MIT */
#include "libcommon/client/moves.h"

#include <stdio.h>
#include <string.h>

const char *const move_state_names[MOVE_STATES] = {
	[MOVE_MOVING] = "moving",   [MOVE_READY] = "ready",       [MOVE_RELEASED] = "released",
	[MOVE_RETAKING] = "retaking", [MOVE_OWNED] = "owned",     [MOVE_RETURNED] = "returned",
	[MOVE_ABORTED] = "aborted", [MOVE_RETAKEN] = "retaken",   [MOVE_MOVED] = "moved",
};

bool moves_find(const struct move_record *r, const struct uuid *move, enum move_state *state,
		uint64_t *generation)
{
	if (uuid_equal(&r->move, move)) {
		*state      = r->state;
		*generation = r->generation;
		return true;
	}
	for (uint32_t i = r->noutcomes; i-- > 0;)
		if (uuid_equal(&r->outcomes[i].move, move)) {
			*state      = r->outcomes[i].state;
			*generation = r->outcomes[i].generation;
			return true;
		}
	return false;
}

static void moves_keep(struct move_record *r)
{
	if (r->noutcomes == MOVES_OUTCOMES)
		memmove(r->outcomes, r->outcomes + 1, --r->noutcomes * sizeof(r->outcomes[0]));
	r->outcomes[r->noutcomes++] =
		(struct move_outcome){ .move = r->move, .state = r->state,
				       .generation = r->generation };
}

void moves_step(struct move_record *r, enum move_state state, const struct uuid *move,
		uint64_t generation, const char *peer)
{
	if (!uuid_is_nil(&r->move) && !uuid_equal(&r->move, move) && moves_final(r->state))
		moves_keep(r);
	r->state      = state;
	r->move       = *move;
	r->generation = generation;
	if (peer != r->peer)
		snprintf(r->peer, sizeof(r->peer), "%s", peer);
}

/* ---- as JSON ---- */

static json_t *moves_outcomes_json(const struct move_record *r)
{
	json_t *list = json_array();
	char    move[UUID_TEXT];

	for (uint32_t i = 0; list && i < r->noutcomes; i++) {
		const struct move_outcome *o = &r->outcomes[i];

		uuid_text(&o->move, move);
		if (json_array_append_new(list,
					  json_pack("{s:s, s:s, s:I}", "move", move,
						    "outcome", move_state_names[o->state],
						    "generation", (json_int_t)o->generation))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

json_t *moves_json(const struct move_record *r)
{
	char    vm[UUID_TEXT], move[UUID_TEXT];
	json_t *outcomes = moves_outcomes_json(r);

	uuid_text(&r->vm, vm);
	uuid_text(&r->move, move);
	return outcomes ? json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:I, s:o}", "vm", vm,
				    "move", move, "state", move_state_names[r->state],
				    "generation", (json_int_t)r->generation, "name", r->name,
				    "peer", r->peer, "when_ns", (json_int_t)r->when_ns,
				    "outcomes", outcomes)
			: NULL;
}

static bool moves_text(const json_t *j, const char *key, char *out, size_t capacity)
{
	const char *s = json_string_value(json_object_get(j, key));

	if (!s || strlen(s) >= capacity)
		return false;
	memcpy(out, s, strlen(s) + 1);
	return true;
}

static bool moves_number(const json_t *j, const char *key, uint64_t *out)
{
	const json_t *n = json_object_get(j, key);

	if (!json_is_integer(n) || json_integer_value(n) < 0)
		return false;
	*out = (uint64_t)json_integer_value(n);
	return true;
}

static bool moves_uuid(const json_t *j, const char *key, struct uuid *out)
{
	char text[UUID_TEXT];

	return moves_text(j, key, text, sizeof(text)) && uuid_parse(out, text);
}

static bool moves_state(const json_t *j, const char *key, enum move_state *out)
{
	char text[16];

	if (!moves_text(j, key, text, sizeof(text)))
		return false;
	for (int i = 0; i < MOVE_STATES; i++)
		if (!strcmp(text, move_state_names[i])) {
			*out = (enum move_state)i;
			return true;
		}
	return false;
}

static bool moves_outcomes_parse(const json_t *list, struct move_record *r)
{
	size_t  i;
	json_t *j;

	r->noutcomes = 0;
	if (!json_is_array(list) || json_array_size(list) > MOVES_OUTCOMES)
		return false;
	json_array_foreach(list, i, j) {
		struct move_outcome *o = &r->outcomes[r->noutcomes++];

		if (!moves_uuid(j, "move", &o->move) || !moves_state(j, "outcome", &o->state) ||
		    !moves_final(o->state) || !moves_number(j, "generation", &o->generation))
			return false;
	}
	return true;
}

bool moves_parse(const json_t *j, struct move_record *r)
{
	return moves_uuid(j, "vm", &r->vm) && moves_uuid(j, "move", &r->move) &&
	       moves_state(j, "state", &r->state) &&
	       moves_number(j, "generation", &r->generation) &&
	       moves_text(j, "name", r->name, sizeof(r->name)) &&
	       moves_text(j, "peer", r->peer, sizeof(r->peer)) &&
	       moves_number(j, "when_ns", &r->when_ns) &&
	       moves_outcomes_parse(json_object_get(j, "outcomes"), r);
}
