/* SPDX-License-Identifier: MIT */
#include "vmrun/setup.h"

#include "vmrun/apart.h"
#include "vmrun/control/control_server.h"
#include "vmrun/boot/boot_images.h"
#include "vmrun/devices/device_list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_DEFAULT ((uint64_t)256 << 20)

/* The accelerator asked for, or with "auto" the first that can run the machine. */
static int setup_accel(const struct accel_ops **out, const char *name, enum machine_type type,
		       struct fail *why)
{
	bool any = !strcmp(name, "auto"), tried = false;

	for (const struct accel_ops *const *a = accel_list; *a; a++) {
		if (!any && strcmp((*a)->name, name))
			continue;
		if ((*a)->probe(type, why) == 0) {
			*out = *a;
			return 0;
		}
		tried = true;
		if (!any)
			return -1;
	}
	if (!tried)
		return fail_set(why, FAIL_SYSTEM, "accelerator %s not supported by this build",
				name);
	return fail_prefix(why, "no accelerator available for machine %s: ",
			machine_type_name(type));
}

static int setup_host(struct machine *m, const char *name, enum host_class cls, const char *path,
		      bool readonly, struct fail *why)
{
	struct machine_host *h;

	if (machine_host_find(m, name))
		return fail_set(why, FAIL_USAGE,
				"duplicate host resource '%s': use another disk name", name);
	if (m->nhosts == LIMIT_HOSTS)
		return fail_set(why, FAIL_LIMIT, "number of host resources exceeds the limit of %u",
				LIMIT_HOSTS);
	h  = &m->hosts[m->nhosts++];
	*h = (struct machine_host){ .cls = cls, .readonly = readonly };
	snprintf(h->name, sizeof(h->name), "%s", name);
	snprintf(h->path, sizeof(h->path), "%s", path);
	return 0;
}

static int setup_device(struct machine *m, const char *type, const char *host, struct fail *why)
{
	struct machine_device *d;

	if (m->ndevices == LIMIT_DEVICES)
		return fail_set(why, FAIL_LIMIT, "number of devices exceeds the limit of %u",
				LIMIT_DEVICES);
	d  = &m->devices[m->ndevices++];
	*d = (struct machine_device){ .slot = SLOT_NONE };
	snprintf(d->type, sizeof(d->type), "%s", type);
	snprintf(d->host, sizeof(d->host), "%s", host);
	return 0;
}

/* A device that an option adds. arg NULL: the option has no argument. */
static int setup_option(struct machine *m, const struct options_device *d, const char *arg,
			struct fail *why)
{
	if (!d->host)
		return setup_device(m, d->ops->type, "", why);
	if (setup_host(m, d->host, d->cls, arg ? arg : "", d->readonly, why))
		return -1;
	return setup_device(m, d->ops->type, d->host, why);
}

/* The kernel says which machine it is for. One that can't be read is refused when it is loaded. */
static enum machine_type setup_type(const char *kernel)
{
	const struct board_ops *board = board_list[0];
	uint8_t                 head[BOARD_KERNEL_HEAD];
	int                     fd = open(kernel, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t                 n  = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);

	if (fd >= 0)
		close(fd);
	if (n > 0 && board_for_kernel(head, (size_t)n))
		board = board_for_kernel(head, (size_t)n);
	return board->machines[0].type;
}

static int setup_machine(struct machine *m, const struct options *o, struct fail *why)
{
	*m = (struct machine){
		.type      = setup_type(o->kernel),
		.uuid      = o->uuid,
		.ncpus     = o->cpus,
		.on_reboot = o->on_reboot < 0 ? REBOOT_RESET : (enum reboot_policy)o->on_reboot,
		.nregions  = 1,
	};
	m->regions[0] = (struct machine_region){ .id = 0, .kind = REGION_RAM, .name = "ram",
						 .page_size = GUEST_PAGE,
						 .size = o->memory };
	snprintf(m->name, sizeof(m->name), "%s", o->name ? o->name : "vm");
	snprintf(m->append, sizeof(m->append), "%s", o->append ? o->append : "");
	if (uuid_is_nil(&m->uuid) && uuid_random(&m->uuid, why))
		return -1;

	if (setup_host(m, "kernel", HOST_KERNEL, o->kernel, true, why) ||
	    (o->initrd && setup_host(m, "initrd", HOST_INITRD, o->initrd, true, why)) ||
	    setup_host(m, "console", HOST_SERIAL, o->serial ? o->serial : "stdio", false, why))
		return -1;
	for (uint32_t i = 0; i < o->ndisks; i++)
		if (setup_host(m, o->disks[i].name, HOST_DISK, o->disks[i].path,
			       o->disks[i].readonly, why) ||
		    setup_device(m, virtio_blk_ops.type, o->disks[i].name, why))
			return -1;
	for (unsigned i = 0; options_devices[i].ops; i++)
		if ((o->devices[i].given || o->devices[i].arg) &&
		    setup_option(m, &options_devices[i], o->devices[i].arg, why))
			return -1;
	return board_plan(m, why);
}

int setup_vm(struct vm **out, const struct machine *cfg, const struct options *o, struct loop *loop,
	     struct vm_backing *backing, struct fail *why)
{
	const struct accel_ops *accel    = NULL;
	bool                    incoming = o->mode == MODE_INCOMING;

	const struct accel_want want = { .cpu = o->cpu, .force_tsc = o->force_tsc };
	struct machine         *m;
	int                     rc = -1;

	if (setup_accel(&accel, o->accel, cfg->type, why))
		return -1;
	/* Before a disk is opened: a VM that was given away must not touch what is not its own any
	 * more. */
	if (!incoming && records_may_start(&cfg->uuid, cfg->name, why))
		return -1;
	if (!accel->plan && (o->cpu || o->force_tsc))
		return fail_set(why, FAIL_USAGE,
				"--cpu and --force-tsc not supported by accelerator %s",
				accel->name);
	m = malloc(sizeof(*m));
	if (!m) {
		errno = ENOMEM;
		return fail_sys(why, "machine");
	}
	*m = *cfg;
	if (apart_from_hosts(m, why) == 0 && (!accel->plan || accel->plan(m, &want, why) == 0) &&
	    (incoming
	     ? vm_open_incoming(out, m, accel, &want, loop, why)
	     : vm_open_backed(out, m, accel, &want, loop, backing, why)) == 0)
		rc = 0;
	free(m);
	if (rc)
		return -1;
	struct vm *vm = *out;

	vm->clock_policy    = o->clock;
	vm->disk_changed_ok = o->disk_changed_ok;
	if (o->paused)
		vm->run.holders |= HOLD_USER;
	if (o->mode == MODE_RESTORE)
		vm->run.holders |= HOLD_RESTORE;
	/* A serial line may have made the file that was missing before. */
	if (apart_from_hosts(&vm->cfg, why) ||
	    control_server_open(&vm->control, vm, o->control, o->token, why))
		return -1;
	return incoming ? 0 : board_own(vm->board, true, why);
}

int vm_power_on(struct vm **out, const struct options *o, struct loop *loop, struct fail *why)
{
	struct machine *cfg = malloc(sizeof(*cfg));
	int             rc  = -1;

	if (!cfg) {
		errno = ENOMEM;
		return fail_sys(why, "machine");
	}
	if (setup_machine(cfg, o, why) == 0 && setup_vm(out, cfg, o, loop, NULL, why) == 0 &&
	    setup_images_given(*out, o, why) == 0 && vm_boot(*out, why) == 0)
		rc = 0;
	free(cfg);
	return rc;
}

int setup_images_given(struct vm *vm, const struct options *o, struct fail *why)
{
	if ((o->kernel && images_load(vm, "kernel", why)) ||
	    (o->initrd && images_load(vm, "initrd", why)))
		return -1;
	return 0;
}

int setup_apart(const struct machine *m, int fd, const char *what, struct fail *why)
{
	struct stat st;

	return fstat(fd, &st) ? fail_sys(why, "%s", what) : apart_from(m, &st, what, why);
}

int setup_source(const char *source, struct fail *why)
{
	int fd, console;

	if (strcmp(source, "-")) {
		fd = open(source, O_RDONLY | O_CLOEXEC);
		return fd < 0 ? fail_sys(why, "%s", source) : fd;
	}
	if (isatty(STDIN_FILENO))
		return fail_set(why, FAIL_USAGE,
				"standard input: is a terminal, expected a snapshot or VM tree");
	fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return fail_sys(why, "standard input");
	/* A console on stdio must not eat the stream. Someone at a terminal types there; else there
	 * is nobody. */
	console = isatty(STDOUT_FILENO) ? open("/dev/tty", O_RDWR | O_CLOEXEC) : -1;
	if (console < 0)
		console = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (console < 0 || dup2(console, STDIN_FILENO) < 0) {
		fail_sys(why, "standard input");
		close(fd);
		fd = -1;
	}
	if (console >= 0)
		close(console);
	return fd;
}
