/* SPDX-License-Identifier: MIT */
/*
 * damage flip COUNT SEED FILE COMMAND [ARG...]: COUNT times, one bit of a copy of the snapshot
 * FILE is flipped and `COMMAND ARG... COPY` is run: it must exit with 3 and say "(at byte N)", N
 * being the offset of the header or chunk in which the bit lies. In compressed data it may exit
 * with 0, too, for one flip in 50: another frame can hold the same pages, whose hashes decide.
 *
 * damage cut STEP FILE COMMAND [ARG...]: the same for copies cut at every STEP bytes; the offset
 * is not looked at.
 *
 * Prints a line a miss, then how many there were; exit 1 when there was one. With --status only
 * the exit status counts.
 */
#include "format/snapshot/snapshot.h"
#include "libcommon/bytes.h"
#include "libcommon/io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE_MAX_MIB 64

struct damage {
	uint8_t   *good;
	size_t     len;
	char       copy[4096];
	char     **argv;         /* command, args, copy, NULL */
	bool       status_only;
};

/* Offset of the file's header, or of the header of the chunk, that the byte is in: docs/format.md,
 * 3. */
static uint64_t damage_piece(const struct damage *d, uint64_t byte)
{
	uint64_t at = 0, next = SNAP_HEADER_BYTES;

	while (next <= byte && next + CHUNK_HEADER_BYTES <= d->len) {
		uint32_t len = get_le32(d->good + next + 20);

		at = next;
		next += CHUNK_HEADER_BYTES + len + chunk_padding(len);
	}
	return at;
}

/* Is the byte of the piece at `at` in the data of compressed pages? */
static bool damage_in_frame(const struct damage *d, uint64_t at, uint64_t byte)
{
	return at && get_le16(d->good + at + 8) == CHUNK_ZSTD &&
	       byte - at >= CHUNK_HEADER_BYTES + get_le32(d->good + at + 32) &&
	       byte - at < CHUNK_HEADER_BYTES + get_le32(d->good + at + 20);
}

/* Runs the command on the copy; its stderr into said. Returns its exit status, -1 for a signal. */
static int damage_run(const struct damage *d, char *said, size_t capacity)
{
	int     p[2], status;
	size_t  n = 0;
	ssize_t got;
	pid_t   pid;

	if (pipe2(p, O_CLOEXEC) || (pid = fork()) < 0) {
		perror("damage");
		exit(2);
	}
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(p[1], STDERR_FILENO);
		execvp(d->argv[0], d->argv);
		_exit(127);
	}
	close(p[1]);
	while ((got = read(p[0], said + n, capacity - 1 - n)) > 0 || (got < 0 && errno == EINTR))
		n += got > 0 ? (size_t)got : 0;
	said[n] = '\0';
	close(p[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void damage_copy(const struct damage *d, size_t len)
{
	struct fail why;
	int         fd = open(d->copy, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || io_write(fd, d->good, len, d->copy, &why)) {
		perror(d->copy);
		exit(2);
	}
	close(fd);
}

/* harmless: counts an exit with 0, and takes it; may be NULL. */
static bool damage_seen(const struct damage *d, uint64_t want, bool placed, unsigned *harmless)
{
	char        said[4096];
	const char *at;
	int         status = damage_run(d, said, sizeof(said));

	if (status == 3 && d->status_only)
		return true;
	at = strstr(said, "(at byte ");
	if (status == 3 && at && (!placed || strtoull(at + 9, NULL, 10) == want))
		return true;
	if (status == 0 && harmless) {
		++*harmless;
		return true;
	}
	printf("exit %d: %s", status, said[0] ? said : "(silent)\n");
	return false;
}

static unsigned damage_flip(struct damage *d, unsigned count, uint64_t seed)
{
	unsigned missed = 0, harmless = 0;
	uint64_t x      = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

	printf("seed %" PRIu64 "\n", seed);
	for (unsigned i = 0; i < count; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;

		uint64_t bit = (x >> 8) % (d->len * 8), place = damage_piece(d, bit / 8);

		d->good[bit / 8] ^= (uint8_t)(1u << bit % 8);
		damage_copy(d, d->len);
		if (!damage_seen(d, place, true,
				 damage_in_frame(d, place, bit / 8) ? &harmless : NULL)) {
			printf("  bit %" PRIu64 " of byte %" PRIu64 ", in the piece at %" PRIu64
			       "\n", bit % 8, bit / 8, place);
			missed++;
		}
		d->good[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	printf("%u bits flipped, %u missed, %u in a frame that holds the same pages\n", count,
	       missed, harmless);
	return missed + (harmless > 2 + count / 50 ? harmless : 0);
}

static unsigned damage_cut(struct damage *d, size_t step)
{
	unsigned missed = 0, count = 0;

	for (size_t len = 0; len < d->len; len += step, count++) {
		damage_copy(d, len);
		if (!damage_seen(d, 0, false, NULL)) {
			printf("  cut to %zu bytes\n", len);
			missed++;
		}
	}
	printf("%u cuts, %u missed\n", count, missed);
	return missed;
}

static int damage_usage(void)
{
	fprintf(stderr, "usage: damage [--status] flip COUNT SEED FILE COMMAND [ARG...]"
			" | cut STEP FILE COMMAND [ARG...]\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct damage d = { 0 };
	struct fail   why;
	unsigned      missed;
	bool          flip;
	int           fd, at = 1;

	if (at < argc && strcmp(argv[at], "--status") == 0) {
		d.status_only = true;
		at++;
	}
	flip = at < argc && strcmp(argv[at], "flip") == 0;
	if (argc - at < (flip ? 5 : 4) || (!flip && strcmp(argv[at], "cut")))
		return damage_usage();
	const char *file = argv[at + (flip ? 3 : 2)];

	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return perror(file), 2;
	if (io_slurp(fd, &d.good, &d.len, (size_t)SIZE_MAX_MIB << 20, file, &why))
		return fail_report("damage", &why);
	close(fd);
	snprintf(d.copy, sizeof(d.copy), "%s.damaged", file);

	int first = at + (flip ? 4 : 3), n = argc - first;

	d.argv = calloc((size_t)n + 2, sizeof(*d.argv));
	if (!d.argv || d.len == 0)
		return 2;
	memcpy(d.argv, argv + first, (size_t)n * sizeof(*d.argv));
	d.argv[n] = d.copy;
	missed = flip
		 ? damage_flip(&d, (unsigned)strtoul(argv[at + 1], NULL, 10),
			       strtoull(argv[at + 2], NULL, 10))
		      : damage_cut(&d, strtoul(argv[at + 1], NULL, 10));
	unlink(d.copy);
	free(d.argv);
	free(d.good);
	return missed != 0;
}
