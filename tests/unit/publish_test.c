/* SPDX-License-Identifier: MIT */
/* What a published file may replace, what it never replaces, and with which mode it appears. */
#include "libcommon/io.h"
#include "libcommon/publish.h"
#include "tests/unit/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[] = "/tmp/vf.publish.XXXXXX";

static const char *at(const char *name)
{
	static char paths[4][4200];
	static int  n;

	n = (n + 1) % 4;
	snprintf(paths[n], sizeof(paths[n]), "%s/%s", dir, name);
	return paths[n];
}

static void make(const char *name, const char *text, mode_t mode)
{
	int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || fchmod(fd, mode))
		abort();
	close(fd);
}

static bool holds(const char *name, const char *text)
{
	char    buf[64] = "";
	int     fd = open(at(name), O_RDONLY | O_NOFOLLOW);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (fd >= 0)
		close(fd);
	return n >= 0 && !strcmp(buf, text);
}

static mode_t mode_of(const char *name)
{
	struct stat st;

	return lstat(at(name), &st) ? (mode_t)-1 : st.st_mode & 07777;
}

/* All of it; 0 when the name holds "new" afterwards. between (may be NULL): what happens while it
 * is written. */
static int publish(const char *path, mode_t mode, bool force, void (*between)(struct publish *p),
		   struct fail *why)
{
	struct publish p;
	int            rc;

	*why = (struct fail){ 0 };
	if (publish_open(&p, path, mode, force, why))
		return -1;
	rc = io_write(p.fd, "new", 3, path, why);
	if (rc == 0 && between)
		between(&p);
	if (rc == 0)
		rc = publish_finish(&p, why);
	publish_abandon(&p);
	publish_close(&p);
	return rc;
}

static bool refused(const char *path, bool force, const char *word)
{
	struct fail why;
	int         rc = publish(path, 0400, force, NULL, &why);

	if (rc == -1 && why.kind == FAIL_SYSTEM && strstr(why.what, word))
		return true;
	note("%s: %d: %s", path, rc, why.what);
	return false;
}

static void turns_into_link(struct publish *p)
{
	(void)p;
	unlink(at("o"));
	if (symlink(at("victim"), at("o")))
		abort();
}

static void turns_into_another(struct publish *p)
{
	(void)p;
	make("o2", "theirs", 0600);
	if (rename(at("o2"), at("o")))
		abort();
}

static void goes(struct publish *p)
{
	(void)p;
	unlink(at("o"));
}

static void comes(struct publish *p)
{
	(void)p;
	make("o", "theirs", 0600);
}

static void is_narrowed(struct publish *p)
{
	(void)p;
	chmod(at("o"), 0600);
}

static void specials(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int                s = socket(AF_UNIX, SOCK_STREAM, 0);
	bool               good = true;

	make("victim", "precious", 0600);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/socket", dir);
	if (symlink(at("victim"), at("link")) || symlink(at("nowhere"), at("dangling")) ||
	    symlink("/dev/stdout", at("out")) || mkfifo(at("fifo"), 0600) ||
	    mkdir(at("folder"), 0700) || bind(s, (struct sockaddr *)&a, sizeof(a)))
		abort();
	static const char *const links[] = { "link", "dangling", "out" }, *const others[] = {
		"fifo", "folder", "socket"
	};

	for (int force = 0; force < 2; force++) {
		for (size_t i = 0; i < 3; i++)
			good = refused(at(links[i]), force, "symbolic link") &&
			       refused(at(others[i]), force, "not a regular file") && good;
		good = refused("/dev/null", force, "not a regular file") && good;
	}
	ok(good, "symbolic links, FIFOs, folders, sockets and devices are refused, with force too");
	ok(holds("victim", "precious") && access(at("nowhere"), F_OK) == -1,
	   "and nothing is written through a link");
	close(s);
}

static void races(void)
{
	struct fail why;

	make("o", "old", 0600);
	ok(publish(at("o"), 0400, true, turns_into_link, &why) == -1 &&
		   strstr(why.what, "in the meantime") && holds("victim", "precious") &&
		   readlink(at("o"), (char[8]){ 0 }, 8) > 0,
	   "a link that takes the name meanwhile stays, with force too");
	unlink(at("o"));
	make("o", "old", 0600);
	ok(publish(at("o"), 0400, true, turns_into_another, &why) == -1 &&
		   strstr(why.what, "in the meantime") && holds("o", "theirs"),
	   "and so does another program's file");
	ok(publish(at("o"), 0400, true, goes, &why) == 0 && holds("o", "new"),
	   "a file that goes meanwhile is not missed");
	unlink(at("o"));
	for (int force = 0; force < 2; force++) {
		ok(publish(at("o"), 0400, force, comes, &why) == -1 && strstr(why.what, "exists") &&
			   holds("o", "theirs"),
		   force ? "a file that comes meanwhile was not judged: it stays, with force"
			 : "a file that comes meanwhile stays");
		unlink(at("o"));
	}
}

static void modes(void)
{
	static const struct {
		mode_t old, mode, want;
	} rows[] = {
		{ 0600, 0400, 0400 },  { 0644, 0400, 0400 }, { 0644, 0444, 0444 },
		{ 0600, 0444, 0400 },  { 0640, 0666, 0640 }, { 0, 0444, 0400 },
		{ 04755, 0444, 0444 },
	};
	struct fail why;
	bool        good = true;

	for (int mask = 0; mask <= 077; mask += 077) {
		umask((mode_t)mask);
		good = publish(at("m"), 0444, false, NULL, &why) == 0 && mode_of("m") == 0444 &&
		       good;
		unlink(at("m"));
		good = publish(at("m"), 0400, false, NULL, &why) == 0 && mode_of("m") == 0400 &&
		       good;
		unlink(at("m"));
	}
	ok(good, "a new file has the mode that was asked for, whatever the umask");
	good = true;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		make("m", "old", rows[i].old);
		if (publish(at("m"), rows[i].mode, true, NULL, &why) ||
		    mode_of("m") != rows[i].want) {
			note("%o, %o: %o: %s", rows[i].old, rows[i].mode, mode_of("m"), why.what);
			good = false;
		}
		unlink(at("m"));
	}
	ok(good, "one that replaces another is no wider than that, but for its owner");
	make("o", "old", 0644);
	ok(publish(at("o"), 0444, true, is_narrowed, &why) == 0 && mode_of("o") == 0400,
	   "as wide as that is at the end");
	make("m", "old", 0640);
	if (geteuid() || chown(at("m"), (uid_t)-1, 4711)) {
		skip("the members of another group are others", "not root");
		return;
	}
	ok(publish(at("m"), 0444, true, NULL, &why) == 0 && mode_of("m") == 0400,
	   "the members of another group are others");
}

static void inputs(void)
{
	struct publish p;
	struct stat    st, other;
	struct fail    why;

	make("in", "input", 0600);
	if (link(at("in"), at("in2")) || stat(at("in"), &st) || stat(at("victim"), &other))
		abort();
	bool good = publish_open(&p, at("in2"), 0400, true, &why) == 0 &&
		    publish_keep(&p, &other, "the victim", &why) == 0 &&
		    publish_keep(&p, &st, "the input", &why) == -1 && why.kind == FAIL_USAGE &&
		    strstr(why.what, "is the input");

	publish_abandon(&p);
	publish_close(&p);
	ok(good && holds("in2", "input"),
	   "an input is not replaced, by whatever name it is called");
	unlink(at("fresh"));
	good = publish_open(&p, at("fresh"), 0400, true, &why) == 0 &&
	       publish_keep(&p, &st, "the input", &why) == 0;
	publish_abandon(&p);
	publish_close(&p);
	ok(good, "a name that nobody has is no input's");
}

int main(void)
{
	struct fail why;

	if (!mkdtemp(dir))
		abort();
	ok(publish_standard("-") && publish_standard("/dev/stdout") &&
		   publish_standard("/dev/fd/1") && !publish_standard("/dev/null") &&
		   !publish_standard("./-") && !publish_standard("/dev/fd/2"),
	   "-, /dev/stdout and its other names are standard output");
	ok(publish(at("new"), 0400, false, NULL, &why) == 0 && holds("new", "new"),
	   "a file appears under its name");
	ok(refused(at("new"), false, "already exists") && holds("new", "new"),
	   "one that is there is refused without force");
	ok(publish(at("none/new"), 0400, false, NULL, &why) == -1 && why.sys == ENOENT,
	   "a folder that is not there is said");
	specials();
	races();
	modes();
	inputs();

	char clean[sizeof(dir) + 40];

	snprintf(clean, sizeof(clean), "ls -A %s | grep -c '^\\.'", dir);
	ok(system(clean) != 0, "no hidden file is left");
	snprintf(clean, sizeof(clean), "rm -rf %s", dir);
	return system(clean) || done_testing();
}
