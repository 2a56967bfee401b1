/* SPDX-License-Identifier: MIT */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "libcommon/uuid.h"
#include "tests/sim/sim.h"
#include "vmrun/vm.h"

/* A VM as the world knows it, whoever runs it. */
struct guest {
	struct guest    *next;
	char             name[16];
	struct uuid      uuid;
	uint64_t         newest;        /* the number that it has in its memory where it was last */
	struct instance *disk;          /* who has its disks' locks */
	/* The number when a vmrun that had it was killed, or a start of it was made to fail. */
	uint64_t         killed_at, unstartable_at;
	bool             released_here; /* by the record, just before a crash */
	bool             disowned;      /* a human has thrown a copy away */
	bool             lost;          /* with a crash that explains it */
	char             lost_why[160];
};

/* A guest in a vmrun. */
struct instance {
	struct instance *next;
	struct proc     *proc;
	struct guest    *guest;
	struct vm       *vm;            /* NULL when it is gone */
	bool             incoming, loaded, running, ran, crashed;
};

extern struct instance *sim_instances;
extern struct guest    *sim_guests;
extern const struct accel_ops sim_accel_ops;
extern unsigned         sim_odd_board;      /* one in so many starts fails for a device or a disk */

bool          instance_newest(const struct instance *i);
void          instance_ends(struct instance *i);
struct guest *guest_find(const struct uuid *uuid);
struct guest *guest_named(const char *name);
void          world_runs(struct instance *i);
void          sim_machine(struct machine *m, const char *name, const struct uuid *uuid);

#endif
