#include "vminspect/source.h"

#include "libcommon/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* RFC 8878, 3.1.1: the magic of a zstd frame. */
static const uint8_t zstd_magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };
static const uint8_t snap_start[4] = { 0x89, 'V', 'M', 'S' };

static int source_what(struct source *s, size_t got, struct fail *why)
{
	if (got >= sizeof(zstd_magic) && memcmp(s->header, zstd_magic, sizeof(zstd_magic)) == 0)
		return fail_at(why, FAIL_CORRUPT, 0, "%s: compressed by zstd: pipe it through zstd -d first", s->what);
	if (got < sizeof(s->header)) {
		if (got >= sizeof(snap_start) && memcmp(s->header, snap_start, sizeof(snap_start)))
			return fail_at(why, FAIL_CORRUPT, 0, "%s: not a snapshot", s->what);
		return fail_at(why, FAIL_CORRUPT, got, "%s: the snapshot is cut off here", s->what);
	}
	if (snap_header_read(&s->h, s->header, why))
		return fail_prefix(why, "%s: ", s->what);
	return 0;
}

int source_open(struct source *s, const char *operand, struct fail *why)
{
	bool        standard = !operand || strcmp(operand, "-") == 0;
	struct stat st;
	size_t      got;

	*s = (struct source){ .fd = -1 };
	snprintf(s->what, sizeof(s->what), "%s", standard ? "standard input" : operand);
	if (standard && isatty(STDIN_FILENO))
		return fail_set(why, FAIL_USAGE, "standard input is a terminal: name a snapshot or pipe one in");
	s->fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(operand, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (s->fd < 0 || fstat(s->fd, &st)) {
		fail_sys(why, "%s", s->what);
		goto failed;
	}
	s->file = S_ISREG(st.st_mode) && lseek(s->fd, 0, SEEK_CUR) == 0;
	if (io_read_some(s->fd, s->header, sizeof(s->header), &got, s->what, why))
		goto failed;
	if (source_what(s, got, why)) {
		if (why->kind == FAIL_VERSION)
			return -1;
		goto failed;
	}
	return 0;
failed:
	source_close(s);
	return -1;
}

void source_close(struct source *s)
{
	io_close(&s->fd);
}
