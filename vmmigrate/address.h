/* SPDX-License-Identifier: MIT */
#ifndef VMMIGRATE_ADDRESS_H
#define VMMIGRATE_ADDRESS_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDRESS_PORT     "4649"
#define ADDRESS_TEXT_MAX 300      /* "[host]:port" */
#define ADDRESS_LISTEN   8

struct address {
	char host[256];      /* name or numeric address, without brackets; "" for none */
	char port[8];
};

/* "HOST", "HOST:PORT", "[v6]", "[v6]:PORT", a bare v6 address; with host_optional also ":PORT".
 * Port 0 only to listen. */
int address_parse(struct address *a, const char *text, bool host_optional, struct fail *why);
/* "host:port", a v6 host in brackets: what address_parse reads. */
void address_text(const struct address *a, char out[ADDRESS_TEXT_MAX]);

/* The numeric address of a socket's other end (peer) or own end. */
int address_of_socket(struct address *a, int fd, bool peer, struct fail *why);
bool address_is_loopback(const struct sockaddr *sa);

/* Connects by the deadline, trying each address of the host in turn. FAIL_USAGE: not on this
 * host, and without insecure. *fd is CLOEXEC and non-blocking. */
int address_connect(const struct address *a, bool insecure, uint64_t deadline_ns, int *fd,
		    struct fail *why);

/* Listens; without a host on the loopback addresses, with insecure on all. fds: ADDRESS_LISTEN
 * at most. Port 0: the kernel's choice, the same at all of them. A port that is in use is tried
 * again for 1.5 s. */
int address_listen(const struct address *a, bool insecure, int fds[ADDRESS_LISTEN], unsigned *n,
		   struct fail *why);

#endif
