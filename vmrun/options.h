/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_OPTIONS_H
#define VMRUN_OPTIONS_H

#include "format/tree/machine.h"
#include "libcommon/fail.h"

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

struct options {
	enum options_mode   mode;
	const char         *source;             /* of --restore, --incoming: "-" or a file */
	const char         *name;               /* NULL where not given, like all that follow */
	const char         *kernel, *initrd, *append, *serial, *virtio_console, *control;
	const char         *accel;              /* "auto", "soft", "kvm" */
	const char         *cpu;                /* model and features, of the accelerator */
	bool                force_tsc;
	const char         *token;              /* of an incoming VM's starter */
	bool                overcommit;         /* more memory than the host's is accepted */
	struct uuid         uuid;               /* nil when not given */
	uint64_t            memory;             /* bytes */
	uint32_t            cpus;
	uint32_t            ndisks;
	struct options_disk disks[LIMIT_HOSTS];
	bool                rng, paused, cont, trust_paths, disk_changed_ok;
	int                 on_reboot;          /* enum reboot_policy, -1 when not given */
	enum clock_policy   clock;
	bool                json;               /* list, info */
	int                 noperands;          /* ctl, selftest */
	char              **operands;
};

/* FAIL_USAGE names what is wrong. Exits by itself with 0 after --help and the like. */
int options_parse(struct options *o, int argc, char **argv, struct fail *why);

#endif
