/* SPDX-License-Identifier: MIT */
#include "tests/sim/sim.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_host       sim_hosts[SIM_HOSTS];
struct net            sim_net;
struct record_stream *sock_recorded;

static struct end *ends;

static void nothing(void *arg)
{
	(void)arg;
}

void sock_reset(void)
{
	ends          = NULL;
	sock_recorded = NULL;
}

struct end *end_new(struct sim_host *h, bool net, bool packet)
{
	struct end *e = calloc(1, sizeof(*e));

	if (!e)
		abort();
	e->host   = h;
	e->net    = net;
	e->packet = packet;
	e->rx_tail = &e->rx;
	e->eof_at = e->reset_at = SIM_NEVER;
	e->ip     = h->ip;
	e->all    = ends;
	ends      = e;
	return e;
}

void end_pair(struct end *a, struct end *b)
{
	a->peer = b;
	b->peer = a;
	a->connected = b->connected = true;
}

static int host_index(const struct sim_host *h)
{
	return (int)(h - sim_hosts);
}

/* When a packet that is sent now arrives: retransmitted behind a partition. */
static uint64_t net_arrival(const struct end *from, const struct end *to)
{
	uint64_t at = sim_now;

	if (from->net && from->host != to->host) {
		uint64_t parted =
			sim_net.parted_until[host_index(from->host)][host_index(to->host)];

		if (parted > at)
			at = parted + sim_below(2 * SIM_SECOND);
		at += sim_between(sim_net.delay_low, sim_net.delay_high);
	} else if (from->net) {
		at += sim_below(50000);
	}
	return at;
}

static void end_wake(uint64_t at)
{
	if (at > sim_now && at != SIM_NEVER)
		sim_at(at, nothing, NULL);
}

static void end_reset(struct end *e, uint64_t at)
{
	if (at < e->reset_at)
		e->reset_at = at;
	end_wake(at);
}

static void end_drop_rx(struct end *e)
{
	for (struct seg *s = e->rx; s; s = s->next)
		while (s->nfds)
			ofd_put(s->fds[--s->nfds], false);
	e->rx      = NULL;
	e->rx_tail = &e->rx;
}

/* Both ends break, each when the reset arrives; what is in flight may be lost, or arrive late at
 * one side. */
void net_cut(struct end *e)
{
	struct end *both[2] = { e, e->peer };

	sim_trace("-- connection %u:%u to %u:%u breaks", e->ip & 0xff, e->port, e->peer_ip & 0xff,
		  e->peer_port);
	sim_stats.cuts++;
	for (int i = 0; i < 2; i++) {
		struct end *x = both[i];

		if (!x || !x->ofd)
			continue;
		uint64_t at = sim_now + (sim_chance(2) ? sim_below(2 * SIM_MS)
						       : sim_below(20 * SIM_SECOND));

		/* What comes later than that is lost. */
		for (struct seg **s = &x->rx; *s; s = &(*s)->next)
			if ((*s)->at > at) {
				*s         = NULL;
				x->rx_tail = s;
				break;
			}
		end_reset(x, at);
	}
}

struct end *sock_any_connection(void)
{
	struct end *found = NULL;
	uint64_t    n     = 0;

	for (struct end *e = ends; e; e = e->all)
		if (e->net && e->connected && e->ofd && e->peer && e->peer->ofd &&
		    e->host != e->peer->host && e->reset_at == SIM_NEVER && sim_below(++n) == 0)
			found = e;
	return found;
}

void end_close(struct end *e, bool silent)
{
	struct end *p = e->peer;
	bool        unread = e->rx != NULL;

	e->ofd = NULL;
	while (e->listening && e->backlog) {
		struct end *c = e->backlog;

		e->backlog = c->backlog_next;
		if (c->peer)
			end_reset(c->peer, sim_now);
	}
	e->listening = false;
	end_drop_rx(e);
	if (!p || (!p->ofd && !p->backlog_at))
		return;
	if (silent && e->net) {
		/* Nothing answers what the peer sends: it notices when the host is up again, or by
		 * its own timeout. */
		end_reset(p, sim_now + sim_between(SIM_SECOND, 60 * SIM_SECOND));
	} else if (unread) {
		if (e->net && sim_chance(2))
			end_drop_rx(p);
		end_reset(p, net_arrival(e, p));
	} else {
		uint64_t at = net_arrival(e, p);

		p->eof_at = at > p->rx_last ? at : p->rx_last;
		end_wake(p->eof_at);
	}
}

struct seg *end_ready(struct end *e)
{
	return e->rx && e->rx->at <= sim_now ? e->rx : NULL;
}

static bool backlog_ready(const struct end *e)
{
	for (const struct end *c = e->backlog; c; c = c->backlog_next)
		if (c->backlog_at <= sim_now)
			return true;
	return false;
}

short end_events(struct end *e)
{
	short ev = 0;

	if (e->listening)
		return backlog_ready(e) ? POLLIN : 0;
	if (e->connecting)
		return 0;
	if (e->err)
		ev |= POLLERR | POLLIN | POLLOUT;
	if (end_ready(e))
		ev |= POLLIN;
	if (e->eof_at <= sim_now || e->shut_rd)
		ev |= POLLIN | POLLRDHUP | (e->shut_wr || !e->net ? POLLHUP : 0);
	if (e->reset_at <= sim_now)
		ev |= POLLIN | POLLERR | POLLHUP;
	if (e->connected)
		ev |= POLLOUT;
	else
		ev |= POLLHUP;
	return ev;
}

static void end_record(struct end *e, const void *p, size_t n)
{
	struct record_stream *r = e->recorded;

	if (!r)
		return;
	if (r->len + n > 65536) {
		e->recorded = NULL;
		return;
	}
	if (r->len + n > r->capacity) {
		r->capacity = (r->len + n) * 2;
		r->data = realloc(r->data, r->capacity);
		if (!r->data)
			abort();
	}
	memcpy(r->data + r->len, p, n);
	r->len += n;
}

int end_send(struct end *e, const void *p, size_t n, struct ofd **fds, int nfds)
{
	struct end *to = e->peer;
	struct seg *s;

	if (!e->connected || e->shut_wr)
		return EPIPE;
	if (e->reset_at <= sim_now) {
		bool told = e->reset_told;

		e->reset_told = true;
		return told ? EPIPE : ECONNRESET;
	}
	if (!e->net && !to->ofd && !to->backlog_at)
		return EPIPE;
	if (e->net && sim_chance(sim_net.cut_one_in) && e->host != to->host)
		net_cut(e);
	if (e->net)
		end_record(e, p, n);
	if (!to->ofd && !to->backlog_at) {
		end_reset(e, net_arrival(to, e));
		return 0;
	}
	s = malloc(sizeof(*s) + n);
	if (!s)
		abort();
	*s = (struct seg){ .at = net_arrival(e, to), .len = n, .nfds = nfds };
	memcpy(s->data, p, n);
	for (int i = 0; i < nfds; i++) {
		ofd_get(fds[i]);
		s->fds[i] = fds[i];
	}
	if (s->at < to->rx_last)
		s->at = to->rx_last;
	to->rx_last  = s->at;
	*to->rx_tail = s;
	to->rx_tail  = &s->next;
	end_wake(s->at);
	return 0;
}

/* ---- who listens ---- */

static struct end *net_listener(uint32_t ip, uint16_t port)
{
	for (struct end *e = ends; e; e = e->all)
		if (e->net && e->listening && e->ofd && e->host->up && e->host->ip == ip &&
		    e->port == port)
			return e;
	return NULL;
}

int end_listen_net(struct end *e, uint32_t ip, uint16_t port)
{
	if (port && net_listener(e->host->ip, port))
		return EADDRINUSE;
	e->ip   = ip ? ip : e->host->ip;
	e->port = port ? port : (uint16_t)(40000 + e->host->next_port++);
	return 0;
}

static void backlog_add(struct end *l, struct end *c, uint64_t at)
{
	struct end **p = &l->backlog;

	while (*p)
		p = &(*p)->backlog_next;
	*p            = c;
	c->backlog_at = at ? at : 1;
	end_wake(at);
}

static void net_connected(void *arg)
{
	struct end *e = arg, *l, *s;

	if (!e->ofd || !e->connecting)
		return;
	struct sim_host *to = NULL;

	for (int i = 0; i < SIM_HOSTS; i++)
		if (sim_hosts[i].ip == e->peer_ip)
			to = &sim_hosts[i];
	if (!to || !to->up ||
	    (to != e->host &&
	     sim_net.parted_until[host_index(e->host)][host_index(to)] > sim_now)) {
		sim_at(sim_now + SIM_SECOND, net_connected, e);      /* the SYN is sent again */
		return;
	}
	l             = net_listener(e->peer_ip, e->peer_port);
	e->connecting = false;
	if (!l) {
		e->err = ECONNREFUSED;
		return;
	}
	s          = end_new(to, true, false);
	s->ip      = e->peer_ip;
	s->port    = e->peer_port;
	s->peer_ip = e->ip;
	s->peer_port = e->port;
	end_pair(e, s);
	backlog_add(l, s, sim_now);
	if (!e->replay) {
		struct record_stream *r = calloc(1, sizeof(*r));

		if (!r)
			abort();
		r->ip         = e->peer_ip;
		r->port       = e->peer_port;
		r->next       = sock_recorded;
		sock_recorded = r;
		e->recorded   = r;
	}
}

int end_connect_net(struct end *e, uint32_t ip, uint16_t port)
{
	e->peer_ip    = ip;
	e->peer_port  = port;
	e->port       = (uint16_t)(50000 + e->host->next_port++);
	e->connecting = true;
	e->connect_at = sim_now + (ip == e->host->ip
				   ? sim_below(50000)
				   : sim_between(sim_net.delay_low, sim_net.delay_high));
	sim_at(e->connect_at, net_connected, e);
	return EINPROGRESS;
}

int end_connect_unix(struct end *e, const char *path)
{
	struct inode *i = fs_find(e->host->fs, path);
	struct end   *s;

	if (!i)
		return ENOENT;
	if (!i->socket || !i->listener || !i->listener->listening || !i->listener->ofd)
		return ECONNREFUSED;
	s = end_new(e->host, false, e->packet);
	end_pair(e, s);
	s->peer_pid = e->pid;
	s->pid      = i->listener->pid;
	backlog_add(i->listener, s, sim_now);
	return 0;
}
