/* SPDX-License-Identifier: MIT */
#include "vmrun/control/server.h"

#include "vmrun/vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Protects vm->control, which any thread with an event reads, and which the main thread clears at
 * the end. */
static pthread_mutex_t events_gate = PTHREAD_MUTEX_INITIALIZER;

void events_attach(struct vm *vm, struct control_server *s)
{
	pthread_mutex_lock(&events_gate);
	vm->control = s;
	pthread_mutex_unlock(&events_gate);
}

static void events_clear(struct server_event *e)
{
	free(e->name);
	json_decref(e->event);
	*e = (struct server_event){ 0 };
}

const struct event_kind events_kinds[] = {
	{ "STOP", "RESUME" },           { "RESUME", "STOP" },
	{ "RESET", NULL },              { "POWERDOWN", NULL },
	{ "SHUTDOWN", NULL },           { "SUSPEND_DISK", NULL },
	{ "GUEST_PANICKED", NULL },     { "GUEST_CRASHLOADED", NULL },
	{ "BLOCK_IO_ERROR", NULL },     { "VMFERRY_RESET_PENDING", NULL },
	{ "VMFERRY_MEMORY_LOST", NULL },
	{ NULL, NULL },
};

static const char *events_opposite(const char *name)
{
	for (const struct event_kind *k = events_kinds; k->name; k++)
		if (!strcmp(k->name, name))
			return k->opposite;
	return NULL;
}

/* Replaces the last event of its name or of its opposite; else uses a free slot, else the
 * oldest's. */
static void events_remember(struct control_server *s, const char *name, json_t *event)
{
	const char          *opposite = events_opposite(name);
	struct server_event *slot     = &s->remembered[0];

	for (size_t i = 0; i < SERVER_EVENTS_MAX; i++) {
		struct server_event *e = &s->remembered[i];

		if (e->name && (!strcmp(e->name, name) ||
				(opposite && !strcmp(e->name, opposite)))) {
			slot = e;
			break;
		}
		if (e->seq < slot->seq)
			slot = e;
	}
	events_clear(slot);
	slot->name  = strdup(name);
	slot->event = json_incref(event);
	slot->seq   = s->event_seq;
}

static void events_queue(struct control_server *s, json_t *event)
{
	char               *text = json_dumps(event, JSON_COMPACT);
	size_t              len  = text ? strlen(text) : 0;
	struct server_line *l    = text ? malloc(sizeof(*l) + len) : NULL;

	if (l) {
		*l = (struct server_line){ .fd = -1, .len = len };
		memcpy(l->text, text, len);
		*s->queued_tail = l;
		s->queued_tail  = &l->next;
	}
	free(text);
}

void control_server_event(struct vm *vm, const char *name, json_t *data)
{
	pthread_mutex_lock(&events_gate);
	struct control_server *s = vm->control;

	if (s) {
		pthread_mutex_lock(&s->events_lock);
		json_t *event = qmp_event(name, data, ++s->event_seq);

		if (event) {
			events_remember(s, name, event);
			events_queue(s, event);
			json_decref(event);
		}
		pthread_mutex_unlock(&s->events_lock);
		server_wake(s);
	} else {
		json_decref(data);
	}
	pthread_mutex_unlock(&events_gate);
}

void events_deliver(struct control_server *s)
{
	struct server_line *l, *next;

	pthread_mutex_lock(&s->events_lock);
	l = s->queued;
	s->queued      = NULL;
	s->queued_tail = &s->queued;
	pthread_mutex_unlock(&s->events_lock);
	for (; l; l = next) {
		next = l->next;
		for (struct server_client *c = s->clients; c; c = c->next)
			if (c->negotiated && !c->doomed)
				client_send(c, l->text, l->len, -1);
		free(l);
	}
}

json_t *events_remembered(struct control_server *s)
{
	json_t  *list = json_array(), *m;
	uint64_t after = 0;

	pthread_mutex_lock(&s->events_lock);
	for (;;) {
		struct server_event *e = NULL;

		for (size_t i = 0; i < SERVER_EVENTS_MAX; i++)
			if (s->remembered[i].seq > after && (!e || s->remembered[i].seq < e->seq))
				e = &s->remembered[i];
		if (!e)
			break;
		after = e->seq;
		/* A copy: the remembered one is used under the lock only. */
		json_array_append_new(list, json_deep_copy(e->event));
	}
	m = json_pack("{s:I, s:o}", "seq", (json_int_t)s->event_seq, "events", list);
	pthread_mutex_unlock(&s->events_lock);
	return m;
}

void events_end_reason(struct control_server *s, char *out, size_t capacity)
{
	const char *reason = NULL;

	pthread_mutex_lock(&s->events_lock);
	for (size_t i = 0; i < SERVER_EVENTS_MAX; i++)
		if (s->remembered[i].name && !strcmp(s->remembered[i].name, "SHUTDOWN"))
			json_unpack(s->remembered[i].event, "{s:{s:s}}", "data", "reason",
				    &reason);
	snprintf(out, capacity, "%s", reason ? reason : "vmrun exiting");
	pthread_mutex_unlock(&s->events_lock);
}

void events_forget(struct control_server *s)
{
	struct server_line *next;

	for (struct server_line *l = s->queued; l; l = next) {
		next = l->next;
		free(l);
	}
	s->queued      = NULL;
	s->queued_tail = &s->queued;
	for (size_t i = 0; i < SERVER_EVENTS_MAX; i++)
		events_clear(&s->remembered[i]);
}
