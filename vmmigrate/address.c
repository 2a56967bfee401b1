/* SPDX-License-Identifier: MIT */
#include "vmmigrate/address.h"

#include "libcommon/fault.h"
#include "libcommon/io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* For port 0: the kernel's choice at the first address may be in use at another one. */
#define ADDRESS_TRIES 32u
/* A listener that was killed leaves its port to children that are about to close it. */
#define ADDRESS_PATIENCE_NS 1500000000u
#define ADDRESS_AGAIN_MS    50

struct address_listener {
	char     name[ADDRESS_TEXT_MAX];
	bool     insecure, refused;
	int     *fds;
	unsigned n;
};

static int address_port(struct address *a, const char *port, const char *text, struct fail *why)
{
	char         *end;
	unsigned long n = strtoul(port, &end, 10);

	if (port[0] < '0' || port[0] > '9' || *end || n > 65535 || strlen(port) >= sizeof(a->port))
		return fail_set(why, FAIL_USAGE, "'%.200s': invalid port (valid: 0 to 65535)",
				text);
	snprintf(a->port, sizeof(a->port), "%lu", n);
	return 0;
}

int address_parse(struct address *a, const char *text, bool host_optional, struct fail *why)
{
	const char *host = text, *colon = strrchr(text, ':'), *port = NULL;
	size_t      len;

	if (text[0] == '[') {
		const char *close = strchr(text, ']');

		if (!close || (close[1] != '\0' && close[1] != ':'))
			return fail_set(why, FAIL_USAGE,
					"'%.200s': invalid address (expected [ADDRESS]:PORT)",
					text);
		host = text + 1;
		len  = (size_t)(close - host);
		port = close[1] ? close + 2 : NULL;
	} else if (colon && strchr(text, ':') == colon) {
		len  = (size_t)(colon - text);
		port = colon + 1;
	} else {
		len = strlen(text);      /* a name, or a v6 address without brackets */
	}
	if (len >= sizeof(a->host) || (len == 0 && !host_optional))
		return fail_set(why, FAIL_USAGE, "'%.200s': invalid address (expected HOST[:PORT])",
				text);
	memcpy(a->host, host, len);
	a->host[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)a->host[i] <= ' ' || (unsigned char)a->host[i] >= 0x7f)
			return fail_set(why, FAIL_USAGE, "'%.200s': invalid host name", text);
	return address_port(a, port ? port : ADDRESS_PORT, text, why);
}

void address_text(const struct address *a, char out[ADDRESS_TEXT_MAX])
{
	snprintf(out, ADDRESS_TEXT_MAX, strchr(a->host, ':') ? "[%s]:%s" : "%s:%s", a->host,
		 a->port);
}

static int address_of(struct address *a, const struct sockaddr *sa, socklen_t len, struct fail *why)
{
	int rc = getnameinfo(sa, len, a->host, sizeof(a->host), a->port, sizeof(a->port),
			     NI_NUMERICHOST | NI_NUMERICSERV);

	return rc ? fail_set(why, FAIL_SYSTEM, "address: %s", gai_strerror(rc)) : 0;
}

int address_of_socket(struct address *a, int fd, bool peer, struct fail *why)
{
	struct sockaddr_storage ss;
	socklen_t               len = sizeof(ss);

	if (peer ? getpeername(fd, (struct sockaddr *)&ss, &len) :
	    getsockname(fd, (struct sockaddr *)&ss, &len))
		return fail_sys(why, "socket address");
	return address_of(a, (struct sockaddr *)&ss, len, why);
}

bool address_is_loopback(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		return ntohl(in.sin_addr.s_addr) >> 24 == 127;
	}
	if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
			return in6.sin6_addr.s6_addr[12] == 127;
		return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
	}
	return false;
}

static int address_resolve(const struct address *a, bool passive, struct addrinfo **out,
			   struct fail *why)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0,
	};
	int             rc    = getaddrinfo(a->host[0] ? a->host : NULL, a->port, &hints, out);

	if (rc == 0)
		return 0;
	if (rc == EAI_SYSTEM)
		return fail_sys(why, "%s", a->host);
	return fail_set(why, FAIL_PEER, "%s: %s", a->host, gai_strerror(rc));
}

static int address_try(const struct addrinfo *ai, const char *name, uint64_t deadline_ns,
		       struct fail *why)
{
	int           fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int           err = 0, one = 1;
	socklen_t     len = sizeof(err);
	struct pollfd p;

	if (fd < 0)
		return fail_sys(why, "%s: socket", name);
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) && errno != EINPROGRESS) {
		err = errno;
		goto refused;
	}
	p = (struct pollfd){ .fd = fd, .events = POLLOUT };
	for (;;) {
		uint64_t now  = io_now_ns();
		uint64_t left = now < deadline_ns ? (deadline_ns - now) / 1000000 + 1 : 0;
		int      n    = poll(&p, 1, (int)left);

		if (n > 0)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		err = n < 0 ? errno : ETIMEDOUT;
		goto refused;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) || err)
		goto refused;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
refused:
	close(fd);
	fail_set(why, FAIL_PEER, "%s: cannot connect", name);
	why->sys = err;
	return -1;
}

int address_connect(const struct address *a, bool insecure, uint64_t deadline_ns, int *fd,
		    struct fail *why)
{
	struct addrinfo *all;
	char             name[ADDRESS_TEXT_MAX];

	*fd = -1;
	address_text(a, name);
	if (address_resolve(a, false, &all, why))
		return -1;
	fail_set(why, FAIL_PEER, "%s: no usable address", name);
	for (const struct addrinfo *ai = all; ai && *fd < 0; ai = ai->ai_next) {
		if (!insecure && !address_is_loopback(ai->ai_addr)) {
			fail_set(why, FAIL_USAGE,
				 "%s: connection to another host is neither encrypted nor "
				 "authenticated; use --insecure to accept this", name);
			continue;
		}
		*fd = address_try(ai, name, deadline_ns, why);
	}
	freeaddrinfo(all);
	return *fd < 0 ? -1 : 0;
}

static void address_set_port(struct sockaddr *sa, uint16_t port)
{
	if (sa->sa_family == AF_INET6)
		((struct sockaddr_in6 *)(void *)sa)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)(void *)sa)->sin_port = htons(port);
}

static uint16_t address_port_of(int fd)
{
	struct sockaddr_storage ss;
	socklen_t               len = sizeof(ss);

	if (getsockname(fd, (struct sockaddr *)&ss, &len))
		return 0;
	return ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&ss)->sin6_port
					      : ((struct sockaddr_in *)(void *)&ss)->sin_port);
}

static int address_bind(const struct addrinfo *ai, const char *name, struct fail *why)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;

	if (fd < 0)
		return fail_sys(why, "%s: socket", name);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* IPv4 has a socket of its own. */
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, 64) == 0)
		return fd;
	fail_sys(why, "%s: cannot listen", name);
	close(fd);
	return -1;
}

/* A hosts file can list an address twice; the second bind() would fail. */
static bool address_repeated(const struct addrinfo *all, const struct addrinfo *ai)
{
	for (const struct addrinfo *o = all; o != ai; o = o->ai_next)
		if (o->ai_addrlen == ai->ai_addrlen &&
		    !memcmp(o->ai_addr, ai->ai_addr, ai->ai_addrlen))
			return true;
	return false;
}

/* One address after the other. With any_port the first one's port is the kernel's choice, and
 * all the others take it as well. taken: the port is in use at one of them. */
static void address_bind_all(struct address_listener *l, const struct addrinfo *all, bool any_port,
			     bool *taken, struct fail *why)
{
	uint16_t port = 0;

	*taken = false;
	for (const struct addrinfo *ai = all; ai && !*taken; ai = ai->ai_next) {
		if (l->n == ADDRESS_LISTEN)
			break;
		if (any_port)
			address_set_port(ai->ai_addr, port);
		if (address_repeated(all, ai))
			continue;
		if (!l->insecure && !address_is_loopback(ai->ai_addr)) {
			l->refused = true;
			continue;
		}
		int fd = address_bind(ai, l->name, why);

		if (fd >= 0) {
			l->fds[l->n++] = fd;
			port           = address_port_of(fd);
		} else {
			*taken = why->sys == EADDRINUSE;
		}
	}
}

int address_listen(const struct address *a, bool insecure, int fds[ADDRESS_LISTEN], unsigned *n,
		   struct fail *why)
{
	struct address_listener l        = { .insecure = insecure, .fds = fds };
	bool                    any_port = !strcmp(a->port, "0"), taken;
	uint64_t                until    = io_now_ns() + ADDRESS_PATIENCE_NS;
	struct addrinfo        *all;

	*n = 0;
	address_text(a, l.name);
	/* Without a host AI_PASSIVE gives every address, its absence the loopback ones. */
	if (address_resolve(a, insecure, &all, why))
		return -1;
	for (unsigned i = 1;; i++) {
		address_bind_all(&l, all, any_port, &taken, why);
		if (!taken)
			break;
		/* At all of them or at none: a peer that comes by another address of this host must
		 * not reach another program. */
		while (l.n)
			close(fds[--l.n]);
		if (any_port ? i == ADDRESS_TRIES : io_now_ns() >= until)
			break;
		if (!any_port) {
			poll(NULL, 0, ADDRESS_AGAIN_MS);
			fault_point("vmmigrate.listen.in-use");
		}
	}
	freeaddrinfo(all);
	*n = l.n;
	if (l.n)
		return 0;
	if (l.refused)
		return fail_set(why, FAIL_USAGE,
				"%s: reachable from other hosts, neither encrypted nor "
				"authenticated; use --insecure to accept this", l.name);
	return -1;
}
