/* SPDX-License-Identifier: MIT */
/* leasectl VM KIND HOLDER: takes a lease and does what stdin says, a verb a line; prints
 * "ok VERB ..." or "error VERB KIND: TEXT" each.
 *
 *   regions                              config | state [FILE]
 *   log-start | sync | flush             clear|fill REGION FIRST COUNT
 *   throttle PERCENT                     pause MS [UUID] | renew MS | resume | quit
 *   finish 0|1 | commit UUID             moving UUID PEER | release UUID | done UUID
 *                                        retaking UUID 0|1 | retake UUID
 *   take DIR                             RAM and state (paused) into DIR/ram, DIR/tree
 *   put DIR                              the same back, by an incoming lease: written, load
 *   ready UUID PEER GENERATION           start UUID | abort UUID
 *   lost                                 waits for the loss of the lease and says why
 *   end                                  closes the lease
 *   flood N                              N syncs sent without reading an answer
 */
#include "libcommon/client/control.h"
#include "libcommon/io.h"
#include "libcommon/populated.h"
#include "libcommon/client/lease.h"
#include "libcommon/pages.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct lease *lease;

static uint64_t number(const char *text)
{
	return text ? strtoull(text, NULL, 0) : 0;
}

static struct uuid id(const char *text)
{
	struct uuid u = { { 0 } };

	if (text && !uuid_parse(&u, text))
		fprintf(stderr, "leasectl: '%s' is no uuid\n", text);
	return u;
}

static int file_write(const char *dir, const char *name, const void *data, size_t len,
		      struct fail *why)
{
	char path[4096];
	int  fd, rc;

	snprintf(path, sizeof(path), "%s%s%s", dir, name[0] ? "/" : "", name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_sys(why, "%s", path);
	rc = io_write(fd, data, len, path, why);
	close(fd);
	return rc;
}

static int tree_out(int (*verb)(struct lease *, uint8_t **, size_t *, struct fail *),
		    const char *file, struct fail *why)
{
	uint8_t *fdt;
	size_t   len;

	if (verb(lease, &fdt, &len, why))
		return -1;
	int rc = file ? file_write(file, "", fdt, len, why) : 0;

	printf("ok tree %zu\n", len);
	free(fdt);
	return rc ? -1 : 1;
}

/* Holes stay holes. */
static int ram_copy(int from, int to, uint64_t size, struct fail *why)
{
	static uint8_t page[PAGE_SIZE_4K];
	uint64_t       first, end = 0;
	int            rc;

	while ((rc = populated_extent(from, size / PAGE_SIZE_4K, end, &first, &end, why)) > 0) {
		for (uint64_t at = first * PAGE_SIZE_4K; first < end; first++, at += sizeof(page)) {
			if (io_pread(from, page, sizeof(page), at, "ram", why))
				return -1;
			if (!page_is_zero(page, sizeof(page)) &&
			    io_pwrite(to, page, sizeof(page), at, "ram", why))
				return -1;
		}
	}
	return rc;
}

static int take(const char *dir, struct fail *why)
{
	char     path[4096];
	uint8_t *fdt;
	size_t   len;
	int      fd, rc;

	if (lease_state(lease, &fdt, &len, why))
		return -1;
	rc = file_write(dir, "tree", fdt, len, why);
	free(fdt);
	snprintf(path, sizeof(path), "%s/ram", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (rc || fd < 0 || ftruncate(fd, (off_t)lease->rams[0].r.size))
		return fail_sys(why, "%s", path);
	rc = ram_copy(lease->rams[0].fd, fd, lease->rams[0].r.size, why);
	close(fd);
	return rc;
}

static int put(const char *dir, struct fail *why)
{
	char     path[4096];
	uint8_t *fdt;
	size_t   len;
	int      fd, rc;

	snprintf(path, sizeof(path), "%s/ram", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_sys(why, "%s", path);
	rc = ram_copy(fd, lease->rams[0].fd, lease->rams[0].r.size, why);
	close(fd);
	if (rc || lease_written(lease, why))
		return -1;
	snprintf(path, sizeof(path), "%s/tree", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || io_slurp(fd, &fdt, &len, 8u << 20, path, why))
		return -1;
	close(fd);
	rc = lease_load(lease, fdt, len, why);
	free(fdt);
	return rc;
}

static int sync_print(struct fail *why)
{
	uint64_t fresh, ns;

	if (lease_sync(lease, &fresh, &ns, why))
		return -1;
	printf("ok sync %" PRIu64 "\n", fresh);
	return 1;
}

static int clear_one(uint32_t region, uint64_t first, uint64_t count, struct fail *why)
{
	return lease_clear_ranges(lease, region, &(struct lease_range){ first, count }, 1, why);
}

static int flood(uint64_t n, struct fail *why)
{
	struct lease_msg m = { .verb = LEASE_REGIONS };

	while (n--)
		if (io_packet_send(lease->fd, &m, sizeof(m), NULL, 0, "vmrun", why))
			return -1;
	return 0;
}

static int regions(void)
{
	for (uint32_t i = 0; i < lease->nrams; i++) {
		int  flags = fcntl(lease->rams[i].fd, F_GETFL);
		char c     = 0;

		printf("ok region %u %s %" PRIu64 " gpa %" PRIx64 " %s %s\n", lease->rams[i].r.id,
		       lease->rams[i].r.name, lease->rams[i].r.size,
		       lease->rams[i].r.gpa, (flags & O_ACCMODE) == O_RDONLY ? "ro" : "rw",
		       (flags & O_ACCMODE) != O_RDONLY || pwrite(lease->rams[i].fd, &c, 1, 0) == 1
		       ? "written" : "protected");
	}
	return 1;
}

/* 0: done, to be reported; 1: reported; -1: failed. */
static int execute(char **w, struct fail *why)
{
	struct uuid u = id(NULL);
	uint64_t    took, fixed;

	if (!strcmp(w[0], "regions"))   return regions();
	if (!strcmp(w[0], "config"))    return tree_out(lease_config, w[1], why);
	if (!strcmp(w[0], "state"))     return tree_out(lease_state, w[1], why);
	if (!strcmp(w[0], "log-start")) return lease_log_start(lease, why);
	if (!strcmp(w[0], "sync"))      return sync_print(why);
	if (!strcmp(w[0], "clear"))
		return clear_one((uint32_t)number(w[1]), number(w[2]), number(w[3]), why);
	if (!strcmp(w[0], "fill"))
		return lease_fill(lease, (uint32_t)number(w[1]), number(w[2]), number(w[3]), why);
	if (!strcmp(w[0], "throttle"))  return lease_throttle(lease, (unsigned)number(w[1]), why);
	if (!strcmp(w[0], "flush"))     return lease_flush(lease, NULL, NULL, &took, &fixed, why);
	if (!strcmp(w[0], "resume"))    return lease_resume(lease, why);
	if (!strcmp(w[0], "renew"))     return lease_renew(lease, (unsigned)number(w[1]), why);
	if (!strcmp(w[0], "quit"))      return lease_quit(lease, why);
	if (!strcmp(w[0], "finish"))    return lease_finish(lease, number(w[1]) == 0, why);
	if (!strcmp(w[0], "take"))      return take(w[1], why);
	if (!strcmp(w[0], "put"))       return put(w[1], why);
	if (!strcmp(w[0], "flood"))     return flood(number(w[1]), why);
	if (!strcmp(w[0], "pause")) {
		if (w[2])
			u = id(w[2]);
		else if (uuid_random(&u, why))
			return -1;
		return lease_pause(lease, (unsigned)number(w[1]), &u, why);
	}
	if (!strcmp(w[0], "lost")) {
		poll(&(struct pollfd){ .fd = lease->fd, .events = POLLIN }, 1, 60000);
		return lease_sync(lease, NULL, NULL, why) ? -1
		       : fail_set(why, FAIL_PEER, "not lost");
	}
	u = id(w[1]);
	if (!strcmp(w[0], "commit"))    return lease_commit(lease, &u, why);
	if (!strcmp(w[0], "moving"))    return lease_moving(lease, &u, w[2] ? w[2] : "", why);
	if (!strcmp(w[0], "release"))   return lease_release(lease, &u, why);
	if (!strcmp(w[0], "retaking"))  return lease_retaking(lease, &u, number(w[2]) != 0, why);
	if (!strcmp(w[0], "retake"))    return lease_retake(lease, &u, false, why);
	if (!strcmp(w[0], "done"))      return lease_done(lease, &u, 0, why);
	if (!strcmp(w[0], "ready"))
		return lease_ready(lease, &u, w[2] ? w[2] : "", number(w[2] ? w[3] : NULL), why);
	if (!strcmp(w[0], "start"))     return lease_start(lease, &u, why);
	if (!strcmp(w[0], "abort"))     return lease_abort(lease, &u, why);
	return fail_set(why, FAIL_USAGE, "leasectl knows no such verb");
}

int main(int argc, char **argv)
{
	struct fail     why = { 0 };
	struct control *c    = NULL;
	enum lease_kind kind;
	char            line[8192], text[512];

	if (argc != 4 || !lease_kind_parse(&kind, argv[2])) {
		fprintf(stderr, "usage: leasectl VM read|log|incoming HOLDER\n");
		return 2;
	}
	if (control_open(&c, argv[1], &why) ||
	    lease_open(&lease, c, kind, argv[3], &why)) {
		control_close(c);
		return fail_report("leasectl", &why);
	}
	control_close(c);     /* the lease lives on its own channel */
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ok lease\n");
	while (fgets(line, sizeof(line), stdin)) {
		char *w[6] = { NULL };
		int   n = 0, rc;

		for (char *t = strtok(line, " \n"); t && n < 5; t = strtok(NULL, " \n"))
			w[n++] = t;
		if (n == 0)
			continue;
		if (!strcmp(w[0], "end"))
			break;
		why = (struct fail){ 0 };
		rc  = execute(w, &why);
		if (rc < 0)
			printf("error %s %d: %s\n", w[0], fail_status(why.kind),
			       fail_text(&why, text, sizeof(text)));
		else if (rc == 0)
			printf("ok %s\n", w[0]);
	}
	lease_close(lease);
	return 0;
}
