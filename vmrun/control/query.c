/* SPDX-License-Identifier: MIT */
#include "vmrun/control/qmp_commands.h"

#include "libcommon/text.h"
#include "vmrun/control/lease_session.h"
#include "vmrun/control/server.h"
#include "vmrun/boot/boot_images.h"
#include "vmrun/vm.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names and shapes are those of QEMU 7.2 (its QAPI schema); members for what this VM cannot have
 * get the value that says so. */

json_t *query_boot(const struct vm *vm)
{
	static const enum host_class classes[] = { HOST_KERNEL, HOST_INITRD };
	unsigned lacks   = images_lacking(vm);
	json_t  *missing = json_array();

	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (lacks >> classes[i] & 1)
			json_array_append_new(missing, json_string(host_class_names[classes[i]]));
	return json_pack("{s:o, s:b}", "missing", missing, "reset-pending", (int)vm->reset_pending);
}

int query_status(struct command_call *call, struct fail *why)
{
	/* By bit of enum holder. */
	static const char *const holders[] = { "user", "lease", "incoming", "released", "io-error",
					       "restore", "memory" };
	enum run_status status = runstate_status(call->vm);
	const char     *lease  = sessions_holder(call->server, LEASE_KIND_LOG, NULL);
	json_t         *held   = json_array();

	(void)why;
	for (size_t i = 0; i < sizeof(holders) / sizeof(holders[0]); i++)
		if (call->vm->run.holders >> i & 1)
			json_array_append_new(held, json_string(holders[i]));
	call->ret = json_pack("{s:s, s:b, s:b, s:o, s:s?, s:o}", "status", run_status_names[status],
			      "running", status == RUN_RUNNING, "singlestep", 0,
			      "vmferry-holders", held, "vmferry-lease", lease,
			      "vmferry-boot", query_boot(call->vm));
	return 0;
}

int query_version(struct command_call *call, struct fail *why)
{
	(void)why;
	call->ret = qmp_version();
	return 0;
}

int query_commands(struct command_call *call, struct fail *why)
{
	(void)why;
	call->ret = json_array();
	for (const struct command *c = commands; c->name; c++)
		json_array_append_new(call->ret, json_pack("{s:s}", "name", c->name));
	return 0;
}

int query_name(struct command_call *call, struct fail *why)
{
	(void)why;
	call->ret = json_pack("{s:s}", "name", call->vm->cfg.name);
	return 0;
}

int query_uuid(struct command_call *call, struct fail *why)
{
	char text[UUID_TEXT];

	(void)why;
	uuid_text(&call->vm->cfg.uuid, text);
	call->ret = json_pack("{s:s}", "UUID", text);
	return 0;
}

int query_cpus(struct command_call *call, struct fail *why)
{
	const char         *target = machine_types[call->vm->cfg.type].qemu_target;
	const struct accel *a      = call->vm->accel;

	(void)why;
	call->ret = json_array();
	for (uint32_t i = 0; i < call->vm->cfg.ncpus; i++) {
		char path[32];
		int  tid = a->ops->thread ? a->ops->thread(a, i) : 0;

		snprintf(path, sizeof(path), "/machine/cpu[%u]", i);
		json_array_append_new(call->ret,
				      json_pack("{s:i, s:s, s:I, s:s}", "cpu-index", (int)i,
						"qom-path", path, "thread-id", (json_int_t)tid,
						"target", target));
	}
	return 0;
}

static json_t *query_inserted(const struct machine_host *h)
{
	struct stat st;
	json_t     *image, *m;

	if (stat(h->path, &st)) {
		st.st_size   = (off_t)h->size;
		st.st_blocks = 0;
	}
	image = json_pack("{s:o, s:s, s:I, s:I, s:b}", "filename", text_json(h->path),
			  "format", "raw", "virtual-size", (json_int_t)st.st_size,
			  "actual-size", (json_int_t)st.st_blocks * 512, "dirty-flag", 0);
	m = json_pack("{s:o, s:b, s:s, s:b, s:i, s:s, s:i, s:o, s:{s:b, s:b, s:b}}",
		      "file", text_json(h->path), "ro", (int)h->readonly, "drv", "raw",
		      "encrypted", 0, "backing_file_depth", 0, "detect_zeroes", "off",
		      "write_threshold", 0, "image", image, "cache", "writeback", 1, "direct", 0,
		      "no-flush", 0);
	/* Zero means that there is no limit. */
	static const char *const limits[] = { "bps", "bps_rd", "bps_wr", "iops", "iops_rd",
					      "iops_wr" };

	for (size_t i = 0; m && i < sizeof(limits) / sizeof(limits[0]); i++)
		json_object_set_new(m, limits[i], json_integer(0));
	return m;
}

int query_block(struct command_call *call, struct fail *why)
{
	struct machine *cfg = &call->vm->cfg;

	(void)why;
	call->ret = json_array();
	for (uint32_t i = 0; i < cfg->ndevices; i++) {
		const struct machine_host *h = machine_host_find(cfg, cfg->devices[i].host);
		struct device             *d = call->vm->board->devices[i];
		char node[MACHINE_NODE_MAX];
		bool full;

		if (!h || h->cls != HOST_DISK)
			continue;
		pthread_mutex_lock(&call->vm->machine_lock);
		full = d->ops->disk && d->ops->disk->stalled(d, NULL);
		pthread_mutex_unlock(&call->vm->machine_lock);
		machine_device_node(&cfg->devices[i], node);
		json_array_append_new(call->ret, json_pack("{s:s, s:s, s:b, s:b, s:s, s:s, s:o}",
							   "device", h->name, "qdev", node,
							   "locked", 0, "removable", 0,
							   "type", "unknown",
							   "io-status", full ? "nospace" : "ok",
							   "inserted", query_inserted(h)));
	}
	return 0;
}

static uint64_t query_ram(const struct machine *cfg)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < cfg->nregions; i++)
		if (cfg->regions[i].kind == REGION_RAM)
			bytes += cfg->regions[i].size;
	return bytes;
}

int query_memory(struct command_call *call, struct fail *why)
{
	(void)why;
	call->ret = json_pack("{s:I, s:i}", "base-memory", (json_int_t)query_ram(&call->vm->cfg),
			      "plugged-memory", 0);
	return 0;
}

int query_info(struct command_call *call, struct fail *why)
{
	const struct machine *cfg = &call->vm->cfg;
	char                  id[UUID_TEXT];

	(void)why;
	uuid_text(&cfg->uuid, id);
	call->ret = json_pack("{s:s, s:I, s:s, s:s, s:s, s:i, s:I, s:o}", "name", cfg->name,
			      "pid", (json_int_t)getpid(), "uuid", id,
			      "machine", machine_type_name(cfg->type),
			      "accel", call->vm->accel->ops->name, "cpus", (int)cfg->ncpus,
			      "memory", (json_int_t)query_ram(cfg),
			      "control", text_json(call->server->path));
	return 0;
}
