/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <ucontext.h>

/* A simulator of hosts, processes, clock, network and files. The tools' own objects are linked into
 * one program with the C library's calls redirected here (wraps.list). A simulated process is a set
 * of coroutines with a table of descriptors of its own; every call is a point at which the seeded
 * scheduler may run another coroutine, delay, cut, kill or crash.
 *
 *   sched.c   coroutines, processes, fork, threads, signals, the clock, the random numbers
 *   file.c    files of a host: what is durable, what a crash leaves
 *   sock.c    sockets, the network between hosts, pipes of events
 *   calls.c   the C library's calls
 *   vmrun.c   a vmrun: the real control server, leases and records over a fake accelerator and
 *             board
 *   world.c   what happens: hosts, VMs, moves, humans, faults; and what must hold
 *   plant.c   old faults, to be found again
 *   main.c    seeds, workers, TAP */

#define SIM_HOSTS   3
#define SIM_FDS     96
#define SIM_SECOND  ((uint64_t)1000000000)
#define SIM_MS      ((uint64_t)1000000)
#define SIM_NEVER   UINT64_MAX

struct sim_host;
struct proc;
struct task;
struct ofd;
struct inode;

/* ---- sched.c ---- */

struct stack {
	struct stack *next;           /* in the pool */
	char         *base;
	int           refs;           /* coroutines on it: a fork's child shares its parent's */
	struct task  *resident;
};

struct task {
	struct task  *next;
	struct proc  *proc;
	ucontext_t    ctx;
	struct stack *stack;
	char         *sp;             /* the lowest byte in use while it does not run */
	char         *image;          /* those bytes while another coroutine has the stack */
	size_t        image_len;
	bool          started, done, dead;
	bool        (*ready)(void *arg);      /* NULL: it can run */
	void         *arg;
	uint64_t      until;
	void       *(*fn)(void *arg);
	void         *fn_arg, *ret;
	int           saved_errno;
	int           id;
};

enum proc_role { ROLE_MOVER, ROLE_LISTENER, ROLE_CHILD, ROLE_VMRUN, ROLE_HUMAN, ROLE_OTHER, ROLES };

struct proc {
	struct proc     *next;
	pid_t            pid, ppid;
	struct sim_host *host;
	enum proc_role   role;
	char             name[96];
	int            (*main)(void *arg);
	void            *arg;
	struct ofd      *fds[SIM_FDS];
	bool             cloexec[SIM_FDS];
	uint64_t         blocked, pending, ignored;      /* signals, by bit */
	int              death_signal;
	bool             alive, reaped;
	int              status;                         /* as waitpid has it */
	uint64_t         stopped_until;
	uint64_t         start_time;
	struct task     *main_task;
	uint64_t         steps;
	bool             injected;                       /* killed by an injected fault */
	void            *tag;                            /* world.c's */
	int              asked;                          /* plant.c's */
};

extern struct task *sim_task;        /* that runs; NULL in the scheduler */
extern uint64_t     sim_now;
extern struct proc *sim_procs;

void     sim_reset(uint64_t seed);
uint64_t sim_rand(void);
uint64_t sim_below(uint64_t n);                       /* 0 to n - 1; 0 for 0 */
bool     sim_chance(uint64_t one_in);                 /* never for 0 */
uint64_t sim_between(uint64_t low, uint64_t high);

struct proc *proc_spawn(struct sim_host *h, enum proc_role role, int (*main)(void *), void *arg,
			const char *fmt, ...) __attribute__((format(printf, 5, 6)));
struct task *task_spawn(struct proc *p, void *(*fn)(void *), void *arg);
pid_t        proc_fork(void);
void         proc_become(struct proc *p, int (*main)(void *), void *arg) __attribute__((noreturn));
/* silent: its host is gone, peers are not notified. */
void         proc_end(struct proc *p, int status, bool silent);
void         proc_exit(int code) __attribute__((noreturn));
void         proc_signal(struct proc *p, int sig);
struct proc *proc_find(pid_t pid);
struct proc *sim_proc(void);
struct sim_host *sim_here(void);

/* A call begins: time passes, somebody else may run, a fault may strike. */
void sim_step(const char *what);
/* Waits; false when `until` has come first. arg must not lie on the stack: a fork's child may have
 * it. */
bool sim_wait(bool (*ready)(void *arg), void *arg, uint64_t until);
void sim_sleep(uint64_t ns);

/* Runs in the scheduler at that time. */
void sim_at(uint64_t at, void (*fn)(void *arg), void *arg);
/* Until stop() says so, or nothing can happen any more (then false), or the time is over. */
bool sim_run(bool (*stop)(void), uint64_t until);
extern void (*sim_watch)(void);      /* called after every step of a coroutine */

void sim_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void sim_trace_host(const struct sim_host *h, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
extern int sim_tracing;              /* 0 nothing, 1 what matters, 2 every call */
/* An invariant is violated: this run is over. */
void sim_broken(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
extern char sim_failure[1024];

/* ---- descriptors ---- */

enum ofd_type {
	OFD_NULL,
	OFD_FILE,
	OFD_FOLDER,
	OFD_EVENT,
	OFD_TIMER,
	OFD_SIGNAL,
	OFD_EPOLL,
	OFD_SOCKET,
	OFD_PROCESS
};

struct ofd {
	enum ofd_type type;
	int           refs;
	bool          nonblock;
	struct inode *inode;             /* FILE, FOLDER */
	uint64_t      pos;
	bool          writable;
	uint64_t      count;             /* EVENT: the counter; TIMER: when it fires, 0 for never */
	uint64_t      mask;              /* SIGNAL */
	struct end   *end;               /* SOCKET */
	struct watch *watches;           /* EPOLL */
	struct proc  *proc;              /* PROCESS */
	char          path[192];
};

struct watch { struct watch *next; int fd; struct ofd *ofd; uint32_t events; void *data; };

struct ofd *ofd_new(enum ofd_type type);
void        ofd_get(struct ofd *o);
void        ofd_put(struct ofd *o, bool silent);
int         fd_install(struct proc *p, struct ofd *o, int lowest, bool cloexec);
struct ofd *fd_get(int fd);                           /* of the running process; NULL with EBADF */
short       ofd_events(struct proc *p, struct ofd *o);      /* POLLIN and so on, as they are now */

/* ---- file.c ---- */

struct lock { struct lock *next; struct ofd *owner; bool ofd_kind, exclusive; };

struct inode {
	struct inode *all;
	int           refs;              /* descriptors; the inode lives until the run ends */
	bool          folder, socket, mem;
	uint64_t      ino;
	mode_t        mode;
	char         *data;
	size_t        len, capacity;
	char         *disk;              /* content as it was fsynced */
	size_t        disk_len;
	bool          dirty;
	struct lock  *locks;
	struct end   *listener;          /* a socket's name */
};

struct fs;
struct fs    *fs_new(void);
struct inode *fs_find(struct fs *fs, const char *path);
struct inode *fs_create(struct fs *fs, const char *path, bool folder);
bool          fs_unlink(struct fs *fs, const char *path);
bool          fs_rename(struct fs *fs, const char *from, const char *to);
/* The next name in the folder, NULL at the end. */
const char   *fs_next(struct fs *fs, const char *folder, uint64_t *pos);
void          fs_sync_file(struct inode *i);
void          fs_sync_folder(struct fs *fs, const char *folder);
/* What was not durable may be lost; volatile folders are. */
void          fs_crash(struct fs *fs);
struct inode *inode_new(void);
void          inode_size(struct inode *i, size_t len);
void          inode_write(struct inode *i, const void *p, size_t n, uint64_t at);
bool          lock_take(struct inode *i, struct ofd *o, bool ofd_kind, bool exclusive);
void          lock_drop(struct inode *i, struct ofd *o, int ofd_kind);          /* -1: both */
bool          lock_free(struct inode *i, bool ofd_kind);      /* nobody has one */

/* ---- sock.c ---- */

struct sim_host {
	char          name[8];
	uint32_t      ip;                /* host order */
	bool          up;
	struct fs    *fs;
	uint64_t      boots;
	uint64_t      disk_broken_until; /* writes, fsyncs and renames of durable folders fail */
	unsigned      disk_faults;       /* one in so many of them fails; 0 none */
	bool          disk_ever_failed;
	unsigned      next_port;
};
extern struct sim_host sim_hosts[SIM_HOSTS];

struct seg {
	struct seg *next;
	uint64_t    at;
	size_t      len, used;
	int         nfds;
	struct ofd *fds[16];
	char        data[];
};

struct end {
	struct end      *all;
	struct sim_host *host;
	struct ofd      *ofd;            /* NULL: closed */
	struct end      *peer;
	bool             net, packet, listening, connected;
	bool             shut_rd, shut_wr;
	uint64_t         connect_at;
	int              err;            /* SO_ERROR, taken once */
	bool             connecting;
	struct seg      *rx, **rx_tail;
	uint64_t         rx_last;        /* arrival of the last one */
	uint64_t         eof_at, reset_at;
	bool             reset_told;
	struct end      *backlog;        /* listening: connections not yet accepted */
	struct end      *backlog_next;
	uint64_t         backlog_at;
	uint32_t         ip, peer_ip;
	uint16_t         port, peer_port;
	pid_t            pid, peer_pid;
	char             path[108];
	struct record_stream *recorded;  /* what the client's side has sent, for a replay */
	bool             replay;
};

struct record_stream {
	struct record_stream *next;
	uint32_t              ip;
	uint16_t              port;
	size_t                len, capacity;
	char                 *data;
};
extern struct record_stream *sock_recorded;

struct net {
	uint64_t delay_low, delay_high;  /* of one segment */
	unsigned cut_one_in;             /* sends after which the connection breaks */
	uint64_t parted_until[SIM_HOSTS][SIM_HOSTS];
};
extern struct net sim_net;

struct end *end_new(struct sim_host *h, bool net, bool packet);
void        end_pair(struct end *a, struct end *b);
void        end_close(struct end *e, bool silent);
short       end_events(struct end *e);
/* 0 or an errno value. */
int         end_send(struct end *e, const void *p, size_t n, struct ofd **fds, int nfds);
struct seg *end_ready(struct end *e);      /* the first segment that has arrived */
int         end_listen_net(struct end *e, uint32_t ip, uint16_t port);
int         end_connect_net(struct end *e, uint32_t ip, uint16_t port);
int         end_connect_unix(struct end *e, const char *path);
void        net_cut(struct end *e);
struct end *sock_any_connection(void);
void        sock_reset(void);

/* ---- vmrun.c ---- */

struct instance;                    /* a VM in a vmrun */
int  sim_vmrun(void *args);         /* struct vmrun_args */
struct vmrun_args { char *argv[64]; };
void sim_instances_reset(void);
/* A process of ours has ended. */
void sim_instance_gone(struct proc *p);

/* ---- world.c ---- */

void  world_run(uint64_t seed);     /* fills sim_failure */
void  world_fault(const char *what);
void  world_exec(struct proc *p, char *const argv[]) __attribute__((noreturn));
bool  world_human(char *line, size_t capacity);
void  world_gone(struct proc *p);   /* any process has ended */
void  world_record(struct sim_host *h, const char *path, const char *text, size_t len);
void  world_disk_failed(struct proc *p);
struct sim_stats {
	uint64_t runs, steps, moves, moved, kills, crashes, cuts,
		 doubts,                /* moves that ended unresolved */
		 partitions, questions, lost_explained, records;
};
extern struct sim_stats sim_stats;
extern unsigned sim_slow_disks;     /* 1 in n fsyncs takes seconds */
extern unsigned sim_oddity;         /* 1 in n calls meets a kill or a stall; 0 none */

#endif
