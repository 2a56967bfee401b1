/* SPDX-License-Identifier: MIT */
/* Serial lines on the host: every kind of input and output, no busy loops, nothing lost that is
 * waited for, the terminal given back as it was. */
#include "tests/unit/tap.h"

#include "libcommon/io.h"
#include "vmrun/host/chardev.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static struct loop *loop;
static char         dir[] = "/tmp/chardev_test.XXXXXX";

/* The guest's end: takes `room` bytes, then no more until asked again. */
struct guest {
	uint8_t  got[1 << 16];
	size_t   n, capacity;
	unsigned quits, writable;
};

static size_t guest_receive(void *arg, const uint8_t *data, size_t len)
{
	struct guest *g = arg;
	size_t        n = len < g->capacity ? len : g->capacity;

	memcpy(g->got + g->n, data, n);
	g->n    += n;
	g->capacity -= n;
	if (n)
		loop_stop(loop);
	return n;
}

static void guest_quit(void *arg)
{
	((struct guest *)arg)->quits++;
	loop_stop(loop);
}

static void guest_writable(void *arg)
{
	((struct guest *)arg)->writable++;
	loop_stop(loop);
}

static void stop(void *arg, uint32_t events)
{
	(void)events;
	*(bool *)arg = true;
	loop_stop(loop);
}

/* Runs until something happens, at most ms; false when nothing did. */
static bool run(unsigned ms)
{
	bool               late = false;
	struct fail        why;
	struct loop_timer *t = loop_timer_add(loop, stop, &late, &why);

	loop_timer_set(t, io_now_ns() + (uint64_t)ms * 1000000);
	loop_run(loop, &why);
	loop_timer_remove(loop, t);
	return !late;
}

static uint64_t cpu_ms(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (uint64_t)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000 +
	       (uint64_t)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1000;
}

/* Nothing to do for 300 ms takes next to no time. */
static bool idle(void)
{
	uint64_t before = cpu_ms();

	while (run(300))
		;
	return cpu_ms() - before < 100;
}

static struct chardev *line(const char *spec, struct guest *g)
{
	struct chardev_ops ops = { .receive = guest_receive, .quit = guest_quit,
				   .writable = guest_writable, .arg = g };
	struct chardev    *c   = NULL;
	struct fail        why;
	char               text[512];

	*g = (struct guest){ .capacity = sizeof(g->got) };
	if (chardev_open(&c, spec, loop, &ops, &why))
		note("%s", fail_text(&why, text, sizeof(text)));
	return c;
}

static struct chardev *stdio_with(int in, int out, struct guest *g)
{
	if (in >= 0)
		dup2(in, 0);
	else
		close(0);
	dup2(out, 1);
	return line("stdio", g);
}

static void inputs(void)
{
	static struct guest g;
	struct chardev     *c;
	int                 null = open("/dev/null", O_RDWR | O_CLOEXEC), p[2], fd;
	char                path[64];
	uint8_t             data[3000];

	c = stdio_with(null, null, &g);
	ok(c && idle() && g.n == 0, "stdin at /dev/null: no input, no busy loop");
	chardev_close(c);
	c = stdio_with(-1, null, &g);
	ok(c && idle(), "stdin closed: the same");
	chardev_close(c);
	if (pipe2(p, O_CLOEXEC) || write(p[1], "hello\001x", 7) != 7)
		exit(1);
	close(p[1]);
	c = stdio_with(p[0], null, &g);
	ok(c && run(5000) && g.n == 7 && !memcmp(g.got, "hello\001x", 7) && !g.quits,
	   "a pipe's bytes come through, Ctrl-a is one of them");
	ok(idle(), "at its end no busy loop");
	chardev_close(c);
	close(p[0]);

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 13 + i / 256);
	snprintf(path, sizeof(path), "%s/in", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (write(fd, data, sizeof(data)) != sizeof(data))
		exit(1);
	lseek(fd, 0, SEEK_SET);
	c = stdio_with(fd, null, &g);
	g.capacity = 16;
	ok(run(5000) && g.n == 16, "a file as stdin waits for the guest");
	ok(idle() && g.n == 16, "without a busy loop");
	while (g.n < sizeof(data) && g.n % 16 == 0) {
		g.capacity = 16;
		chardev_ready(c);
		if (!run(5000))
			break;
	}
	ok(g.n == sizeof(data) && !memcmp(g.got, data, sizeof(data)), "all of it arrives in order");
	ok(idle(), "and its end is quiet");
	chardev_close(c);
	close(fd);
	unlink(path);
	close(null);
}

static void outputs(void)
{
	static struct guest g, g2;
	static uint8_t      chunk[4096], back[1 << 20];
	struct chardev     *c, *second;
	int                 p[2], null = open("/dev/null", O_RDWR | O_CLOEXEC), fd;
	size_t              sent = 0, got = 0;
	uint64_t            written, lost;
	char                path[64], spec[80];

	if (pipe2(p, O_CLOEXEC))
		exit(1);
	c = stdio_with(null, p[1], &g);
	ok(!(fcntl(1, F_GETFL) & O_NONBLOCK),
	   "stdout stays as blocking as it was: others share it");
	second = line("stdio", &g2);
	ok(!second, "stdio is one line's alone");
	while (chardev_capacity(c) && sent < sizeof(back)) {
		memset(chunk, (int)(sent / 4096), sizeof(chunk));
		chardev_write(c, chunk, sizeof(chunk));
		sent += sizeof(chunk);
	}
	ok(sent >= 65536 + 65536 && sent < 262144, "a full pipe: soon there is no room");
	ok(!run(100), "nor while nobody reads");
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	while (!g.writable) {
		ssize_t n = read(p[0], back + got, sizeof(back) - got);

		got += n > 0 ? (size_t)n : 0;
		run(20);
	}
	ok(chardev_capacity(c), "once somebody reads there is room, and the guest is told");
	fcntl(p[0], F_SETFL, 0);
	/* What is left goes at close, which waits for a reader: half of it is taken by a child. */
	while (got < sent) {
		ssize_t n;

		run(1);
		n = read(p[0], back + got, sizeof(back) - got);
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	bool same = got == sent;

	for (size_t i = 0; i < got; i++)
		same = same && back[i] == (uint8_t)(i / 4096);
	ok(same, "every byte comes, in order");
	close(p[0]);
	chardev_write(c, chunk, 100);
	chardev_write(c, chunk, 100);
	chardev_counts(c, &written, &lost);
	ok(written == sent + 200 && lost >= 100 && idle(),
	   "a dead reader: text is lost, nothing spins");
	chardev_close(c);
	close(p[1]);
	dup2(null, 1);

	snprintf(path, sizeof(path), "%s/log", dir);
	snprintf(spec, sizeof(spec), "file:%s", path);
	for (int i = 0; i < 2; i++) {
		c = line(spec, &g);
		chardev_write(c, (const uint8_t *)"line\n", 5);
		chardev_close(c);
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ok(read(fd, chunk, sizeof(chunk)) == 10, "a file is appended to");
	close(fd);
	unlink(path);
	mkfifo(path, 0600);
	ok(!line(spec, &g), "a FIFO nobody reads is refused, not waited for");
	unlink(path);
	ok(!line("file:", &g) && !line("tcp:1", &g) && !line("unix:", &g),
	   "what is not known is refused");
	close(null);
}

static void pty(void)
{
	static struct guest g;
	static uint8_t      chunk[4096];
	struct chardev     *c = line("pty", &g);
	char                buf[64];
	int                 fd;
	uint64_t            written, lost;

	ok(c && !strncmp(chardev_where(c), "/dev/pts/", 9), "a pseudo-terminal says where it is");
	chardev_write(c, (const uint8_t *)"boot\n", 5);
	ok(idle() && g.n == 0, "the guest does not hear its own echo");
	fd = open(chardev_where(c), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ok(read(fd, buf, sizeof(buf)) == 5 && !memcmp(buf, "boot\n", 5),
	   "text waits for whoever opens it");
	ok(write(fd, "\001x\r", 3) == 3 && run(5000) && g.n == 3, "bytes go in as they are");
	close(fd);
	ok(idle(), "closed again, nothing spins");
	for (int i = 0; i < 400; i++)
		chardev_write(c, chunk, sizeof(chunk));
	chardev_counts(c, &written, &lost);
	ok(chardev_capacity(c) && lost > 0 && lost < written - (1u << 20) + 1,
	   "nobody reads: what is beyond 1 MiB is lost");
	chardev_close(c);
}

static int dial(const char *path)
{
	struct sockaddr_un a  = { .sun_family = AF_UNIX };
	int                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void sockets(void)
{
	static struct guest g, g2;
	struct chardev     *c;
	char                path[64], spec[80], buf[16];
	struct sockaddr_un  a = { .sun_family = AF_UNIX };
	struct stat         st;
	int                 fd, fd2, stale;

	snprintf(path, sizeof(path), "%s/line", dir);
	snprintf(spec, sizeof(spec), "unix:%s", path);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(stale, (struct sockaddr *)&a, sizeof(a)))
		exit(1);
	close(stale);
	c = line(spec, &g);
	ok(c && stat(path, &st) == 0 && (st.st_mode & 0777) == 0600,
	   "a dead VM's socket is taken over, mode 0600");
	ok(!line(spec, &g2), "a live one's is not");
	fd = dial(path);
	run(50);
	fd2 = dial(path);
	run(50);
	ok(read(fd2, buf, 1) == 0, "a second client is turned away");
	close(fd2);
	ok(write(fd, "abc", 3) == 3 && run(5000) && g.n == 3, "the first one's bytes arrive");
	g.capacity = 0;
	ok(write(fd, "held", 4) == 4 && idle(), "a guest that takes nothing: no busy loop");
	close(fd);
	fd = dial(path);
	run(50);
	chardev_write(c, (const uint8_t *)"x", 1);
	ok(read(fd, buf, 1) == 1,
	   "the next client comes in although the last one's input was never taken");
	g.capacity = sizeof(g.got) - g.n;
	chardev_ready(c);
	ok(write(fd, "next", 4) == 4 && run(5000) && g.n >= 7 &&
	   !memcmp(g.got + g.n - 4, "next", 4), "and is heard");
	close(fd);
	ok(idle(), "after it all is quiet");
	chardev_close(c);
	ok(stat(path, &st) != 0, "the socket is removed");
}

/* A child with a terminal: opens stdio, waits for a quit, leaves by `how`. */
static void terminal_child(const char *slave, const char *how)
{
	static struct guest             g;
	/* left open: what is tested is the way out without a close */
	static struct chardev *volatile c;
	int                             fd;

	setsid();
	fd = open(slave, O_RDWR);
	ioctl(fd, TIOCSCTTY, 0);
	dup2(fd, 0);
	dup2(fd, 1);
	c = line("stdio", &g);
	if (!c || write(1, "R", 1) != 1)
		_exit(9);
	while (!g.quits)
		run(10000);
	if (!strcmp(how, "signal")) {
		chardev_restore_terminal();
		raise(SIGKILL);
	}
	exit(g.n == 2 && g.got[0] == 1 && g.got[1] == 'q' ? 0 : 8);
}

static void terminal(const char *how)
{
	int            m = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), s, st;
	struct termios before, during, after;
	char           name[64], buf[512];
	size_t         n = 0;
	pid_t          pid;

	grantpt(m);
	unlockpt(m);
	ptsname_r(m, name, sizeof(name));
	s = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	tcgetattr(s, &before);
	pid = fork();
	if (pid == 0)
		terminal_child(name, how);
	while (read(m, buf, 1) == 1 && buf[0] != 'R')
		;
	tcgetattr(s, &during);
	ok(!(during.c_lflag & (ICANON | ECHO | ISIG)) && during.c_oflag == before.c_oflag,
	   "a terminal is made raw, its output as it was");
	if (write(m, "\001h\001\001q\001x", 7) != 7)
		exit(1);
	while (n < sizeof(buf) - 1 && !strstr((buf[n] = '\0', buf), "send Ctrl-a")) {
		if (read(m, buf + n, 1) != 1)
			break;
		n++;
	}
	ok(strstr(buf, "Ctrl-a x"), "Ctrl-a h shows the keys");
	waitpid(pid, &st, 0);
	tcgetattr(s, &after);
	ok(WIFSIGNALED(st) || (WIFEXITED(st) && WEXITSTATUS(st) == 0),
	   "Ctrl-a Ctrl-a sends one, Ctrl-a x quits");
	ok(before.c_lflag == after.c_lflag && before.c_iflag == after.c_iflag &&
	   before.c_oflag == after.c_oflag &&
	   before.c_cflag == after.c_cflag && !memcmp(before.c_cc, after.c_cc, sizeof(before.c_cc)),
	   "and the terminal is as it was");
	close(s);
	close(m);
}

/* What is typed while the guest takes nothing waits for it, but for our keys. */
static void typed_ahead(void)
{
	static struct guest g;
	int                 m, s, left;
	struct chardev     *c;
	char                name[64];
	size_t              n = 3;
	bool                same;

	dup2(2, 0);      /* both are replaced: neither may be the master */
	dup2(2, 1);
	m = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	grantpt(m);
	unlockpt(m);
	ptsname_r(m, name, sizeof(name));
	s = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	c = stdio_with(s, s, &g);
	g.capacity = 1;
	if (!c || write(m, "ab", 2) != 2)
		exit(1);
	ok(run(5000) && g.n == 1, "a guest that takes one byte of what was typed");
	if (write(m, "c\001x", 3) != 3)
		exit(1);
	ok(run(5000) && g.quits == 1, "Ctrl-a x quits while the rest waits");
	for (uint8_t b = (uint8_t)n; n < 40000; b = (uint8_t)++n) {
		if (b != 1 && write(m, &b, 1) != 1 && (run(20), write(m, &b, 1)) != 1)
			break;
	}
	ok(n > 16384 && idle() && ioctl(s, FIONREAD, &left) == 0 && left > 0,
	   "more is read, within bounds, without a busy loop");
	g.capacity = sizeof(g.got) - 1;
	chardev_ready(c);
	while (run(300))
		;
	same = !memcmp(g.got, "abc", 3);
	for (size_t i = 3, at = 3; same && i < n; i++)
		same = (uint8_t)i == 1 || g.got[at++] == (uint8_t)i;
	ok(same && g.n == n - (n + 254) / 256 + 1, "all of it comes in order");
	chardev_close(c);
	close(s);
	close(m);
}

int main(void)
{
	FILE       *tap = fdopen(fcntl(1, F_DUPFD_CLOEXEC, 10), "w");
	struct fail why;

	signal(SIGPIPE, SIG_IGN);
	if (!tap || !mkdtemp(dir) || loop_open(&loop, &why))
		return 1;
	tap_to(tap);
	inputs();
	outputs();
	pty();
	sockets();
	terminal("exit");
	terminal("signal");
	typed_ahead();      /* last: a process has one terminal */
	loop_close(loop);
	rmdir(dir);
	return done_testing();
}
