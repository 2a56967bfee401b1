/* SPDX-License-Identifier: MIT */
#include "vmrun/vm.h"

#include "libcommon/io.h"
#include "vmrun/blk_all.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* At the VM's end nothing else limits how long a disk of the host may take. */
#define VM_FLUSH_NS UINT64_C(60000000000)

/* What shows that a disk was written by somebody else; NULL: nothing. */
static const char *disk_change(const struct machine_host *then, const struct machine_host *now)
{
	static const uint8_t nil[sizeof(then->instance)];

	if (now->size != then->size)
		return "size";
	if (memcmp(now->digest, then->digest, sizeof(now->digest)))
		return "content";
	if (!now->readonly && now->mtime_ns != then->mtime_ns)
		return "modification time";
	/* Counts of another boot or host cannot be compared. */
	if (!now->readonly && now->written != then->written &&
	    memcmp(now->instance, nil, sizeof(nil)) &&
	    !memcmp(now->instance, then->instance, sizeof(nil)))
		return "written to";
	return NULL;
}

/* Lists the disks among n host resources that differ from what is recorded of them; "": none. */
static void disks_changed(const struct vm *vm, const struct machine_host *then, uint32_t n,
			  char *list, size_t capacity)
{
	static const uint8_t nil[sizeof(then->digest)];
	size_t               at = 0;

	list[0] = '\0';
	for (uint32_t i = 0; i < n; i++) {
		const struct machine_host *now  = machine_host_find(&vm->cfg, then[i].name);
		const char                *what = NULL;

		if (then[i].cls != HOST_DISK || !now || now->cls != HOST_DISK)
			continue;
		/* Without a digest nothing is known of it. That is accepted of read-only disks
		 * alone: of others the guest's page cache holds blocks. */
		if (memcmp(then[i].digest, nil, sizeof(nil)))
			what = disk_change(&then[i], now);
		else if (!now->readonly)
			what = "not recorded";
		if (what && at < capacity)
			at += (size_t)snprintf(list + at, capacity - at, "%s%s (%s)",
					       at ? ", " : "", now->name, what);
	}
}

int vm_disks_check(struct vm *vm, struct fail *why)
{
	char list[200];
	bool accepted = vm->disk_changed_ok;

	vm->disk_changed_ok = false;
	if (blk_sizes(vm, why))
		return -1;
	if (!vm->recorded || accepted)
		return 0;
	if (blk_fingerprint(vm, why))
		return -1;
	disks_changed(vm, vm->recorded->hosts, vm->recorded->nhosts, list, sizeof(list));
	if (!list[0])
		return 0;
	return fail_set(why, FAIL_REFUSED,
		"disk changed since the state was saved: %s; use --disk-changed=accept to ignore",
		list);
}

int vm_disks_known(struct vm *vm, struct fail *why)
{
	if (!vm->disks_known && blk_fingerprint(vm, why))
		return -1;
	vm->disks_known = true;
	return 0;
}

int vm_disks_retaken(struct vm *vm, struct fail *why)
{
	struct machine_host then[LIMIT_HOSTS];
	char                list[200];
	bool                accepted = vm->disk_changed_ok;
	int                 rc;

	vm->disk_changed_ok = false;
	if (blk_sizes(vm, why))
		return -1;
	if (!vm->disks_known || accepted)
		return 0;
	memcpy(then, vm->cfg.hosts, sizeof(then));
	rc = blk_fingerprint(vm, why);
	if (rc == 0)
		disks_changed(vm, then, vm->cfg.nhosts, list, sizeof(list));
	/* A later attempt compares with the same. */
	memcpy(vm->cfg.hosts, then, sizeof(then));
	if (rc || !list[0])
		return rc;
	return fail_set(why, FAIL_REFUSED, "disk changed since the VM was released: %s; "
		"use 'vmrun ctl %s resolve own=true disk-changed=accept' to ignore",
		list, vm->cfg.name);
}

void vm_disks_full(struct vm *vm)
{
	struct device *d;
	struct fail    why;
	bool           any = false;

	for (unsigned i = 0; (d = blk_next_disk(vm, &i)); ) {
		bool stalled, told;

		pthread_mutex_lock(&vm->machine_lock);
		stalled = d->ops->disk->stalled(d, &told);
		pthread_mutex_unlock(&vm->machine_lock);
		any = any || stalled;
		if (stalled && !told)
			vm_send_event(vm, "BLOCK_IO_ERROR",
				      json_pack("{s:s, s:s, s:s, s:b, s:s}", "device", d->cfg.host,
						"operation", "write", "action", "stop", "nospace",
						1, "reason", strerror(ENOSPC)));
	}
	/* The VM may have been resumed in the meantime, and the disk have found space. A pause that
	 * fails resumes the VM, and the disk tries again. */
	if (any)
		runstate_hold(vm, HOLD_IO, &why);
}

int vm_flush(struct vm *vm, struct fail *why)
{
	if (!vm->board || vm->run.stuck)
		return 0;
	blk_sync_start(vm, false);
	if (blk_wait(vm, BLK_WAIT_SYNCED, NULL, 0, io_now_ns() + VM_FLUSH_NS))
		return blk_synced(vm, why);
	vm->run.stuck = true;
	return blk_synced(vm, why);
}
