/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_OPTIONS_H
#define VMRUN_OPTIONS_H

#include "format/tree/machine.h"
#include "libcommon/fail.h"
#include "vmrun/devices/device_list.h"

#include <stdbool.h>
#include <stdint.h>

/* The command line, checked, before anything is opened. Strings point into argv. */

enum options_mode {
	MODE_BOOT, MODE_RESTORE, MODE_INCOMING,                /* run a VM */
	MODE_LIST, MODE_CTL, MODE_INFO, MODE_SELFTEST,         /* vmrun/commands */
};

struct options_disk {
	char        name[VM_NAME_MAX + 1];
	bool        named;           /* NAME= was given; else disk0, disk1, ... */
	bool        readonly;        /* ",ro" */
	char        path[1024];
};

/* A device that an option of its own adds to a new VM, one of it, with a host resource. */
struct options_device {
	const char              *option;        /* without "--" */
	const struct device_ops *ops;
	const char              *host;          /* name of the host resource; NULL: it has none */
	enum host_class          cls;
	bool                     readonly;
};
#define OPTIONS_DEVICES_MAX 16u
extern const struct options_device options_devices[];      /* options.c, ops NULL at the end */

struct options {
	enum options_mode   mode;
	const char         *source;             /* of --restore, --incoming: "-" or a file */
	const char         *name;               /* NULL where not given, like all that follow */
	const char         *kernel, *initrd, *append, *serial, *control;
	const char         *accel;              /* "auto", "soft", "kvm" */
	const char         *cpu;                /* model and features, of the accelerator */
	bool                force_tsc;
	const char         *token;              /* of an incoming VM's starter */
	bool                overcommit;         /* more memory than the host's is accepted */
	struct uuid         uuid;               /* nil when not given */
	uint64_t            memory;             /* bytes */
	bool                memory_word;        /* --memory copy or cow, of a restored VM */
	bool                memory_cow;         /* its memory is a mapping of the snapshot */
	uint32_t            cpus;
	uint32_t            ndisks;
	struct options_disk disks[LIMIT_HOSTS];
	/* By row of options_devices. */
	struct {
		bool        given;              /* an option without an argument */
		const char *arg;                /* path of the host resource; NULL: not given */
	} devices[OPTIONS_DEVICES_MAX];
	bool                paused, cont, trust_paths, disk_changed_ok;
	int                 on_reboot;          /* enum reboot_policy, -1 when not given */
	enum clock_policy   clock;
	bool                json;               /* list, info */
	int                 noperands;          /* ctl, selftest */
	char              **operands;
};

/* FAIL_USAGE names what is wrong. Exits by itself with 0 after --help and the like. */
int options_parse(struct options *o, int argc, char **argv, struct fail *why);

#endif
