/* SPDX-License-Identifier: MIT */
#include "vmrun/host/chardev.h"
#include "vmrun/commands/commands.h"
#include "vmrun/control/control_server.h"
#include "vmrun/setup.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Restores a terminal that was made raw, whatever ends us. */
static void main_fatal(int signal_number)
{
	chardev_restore_terminal();
	raise(signal_number);     /* SA_RESETHAND: the default now, with its status and core */
}

static int main_prepare(struct fail *why)
{
	static const int fatal[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT, SIGSEGV, SIGBUS,
				     SIGFPE, SIGILL };
	struct sigaction act = { .sa_handler = main_fatal,
				 .sa_flags = (int)(SA_RESETHAND | SA_NODEFER) }, was;

	/* A closed standard descriptor would be reused for another file, and written to. */
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) == -1 &&
		    open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY) != fd)
			return fail_sys(why, "/dev/null");
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		/* Nohup stays nohup. */
		if (sigaction(fatal[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
			sigaction(fatal[i], &act, NULL);
	return 0;
}

static int main_open(struct vm **vm, const struct options *o, struct loop *loop, struct fail *why)
{
	switch (o->mode) {
	case MODE_RESTORE:  return vm_restore(vm, o, loop, why);
	case MODE_INCOMING: return vm_incoming(vm, o, loop, why);
	default:            return vm_power_on(vm, o, loop, why);
	}
}

/* An incoming VM is started by its lease, a restored one when its snapshot has been read. */
static int main_start(struct vm *vm, const struct options *o, struct fail *why)
{
	int rc = 0;

	vm_signals_block();
	pthread_mutex_lock(&vm->control_lock);
	if (o->mode == MODE_BOOT)
		rc = vm_start(vm, why);
	pthread_mutex_unlock(&vm->control_lock);
	return rc;
}

/* The life of one machine; the exit status. */
static int main_vm(const struct options *o)
{
	struct fail  why  = { 0 }, late;
	struct loop *loop = NULL;
	struct vm   *vm   = NULL;
	int          rc   = loop_open(&loop, &why);

	if (rc == 0)
		rc = main_open(&vm, o, loop, &why);
	if (rc == 0 && vm->warning)
		fprintf(stderr, "vmrun: %s\n", vm->warning);
	if (rc == 0)
		rc = main_start(vm, o, &why);
	if (rc == 0)
		rc = vm_run(vm, &why);
	if (vm && rc >= 0)
		/* Why it ended, where there is more to say than the status does. */
		why = vm->end_why;
	vm_restore_end(vm);
	if (vm)
		control_server_close(vm->control);
	if (vm && rc >= 0 && vm_flush(vm, &late) && why.kind == FAIL_NONE)
		why = late;
	bool stuck = vm && vm->run.stuck;

	vm_close(vm);
	if (!stuck)      /* else threads of the VM's still know it */
		loop_close(loop);
	chardev_restore_terminal();
	if (rc >= 0 && why.kind == FAIL_NONE)
		return rc;
	int status = fail_report("vmrun", &why);

	return rc < 0 ? status : rc;
}

static int main_run(const struct options *o)
{
	switch (o->mode) {
	case MODE_LIST:
		return list_main(o->json);
	case MODE_CTL:
		return ctl_main(o->noperands, o->operands);
	case MODE_INFO:
		return info_main(o->json);
	case MODE_SELFTEST:
		return selftest_main(o->operands[0]);
	case MODE_BOOT:
	case MODE_RESTORE:
	case MODE_INCOMING:
		break;
	}
	return main_vm(o);
}

int main(int argc, char **argv)
{
	struct options *o;
	struct fail     why = { 0 };

	if (main_prepare(&why))
		return fail_report("vmrun", &why);

	o = calloc(1, sizeof(*o));
	if (!o) {
		fail_sys(&why, "options");
		return fail_report("vmrun", &why);
	}
	int rc = options_parse(o, argc, argv, &why) ? fail_report("vmrun", &why) : main_run(o);

	free(o);
	return rc;
}
