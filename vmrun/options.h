/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_OPTIONS_H
#define VMRUN_OPTIONS_H

#include "format/tree/machine.h"
#include "libcommon/fail.h"

#include <stdbool.h>
#include <stdint.h>

/* The command line, checked, before anything is opened. Strings point into argv. */

enum options_mode { MODE_BOOT, MODE_RESTORE, MODE_INCOMING, MODE_HELP, MODE_VERSION };

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
	const char         *cpu;                /* CPU model and features, checked by the accelerator */
	bool                force_tsc;
	const char         *token;              /* of an incoming VM's starter */
	bool                overcommit;         /* memory from outside may be larger than the host's */
	struct uuid         uuid;               /* nil when not given */
	uint64_t            memory;             /* bytes, 0 when not given */
	uint32_t            cpus;               /* 0 when not given */
	uint32_t            ndisks;
	struct options_disk disks[LIMIT_HOSTS];
	bool                rng, paused, cont, trust_paths, disk_changed_ok;
	int                 on_reboot;          /* enum reboot_policy, -1 when not given */
	enum clock_policy   clock;
};

/* FAIL_USAGE names what is wrong. */
int options_parse(struct options *o, int argc, char **argv, struct fail *why);

extern const char options_usage[];      /* lines of --help */

#endif
