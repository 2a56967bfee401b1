/* SPDX-License-Identifier: MIT */
#include "vmrun/setup.h"

#include "vmrun/devices/device_list.h"
#include "vmrun/host/chardev_spec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

/* What a restore is missing, gathered so that one message names all of it. */
struct lacks {
	char     text[720];
	size_t   at;
	unsigned n, more;      /* all; without a name in text */
};

static void lacks_add(struct lacks *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void lacks_add(struct lacks *l, const char *fmt, ...)
{
	char    one[160];
	va_list ap;
	int     n;

	va_start(ap, fmt);
	n = vsnprintf(one, sizeof(one), fmt, ap);
	va_end(ap);
	l->n++;
	/* 32 bytes are kept for the count of those whose names do not fit. */
	if (l->more || n < 0 || (size_t)n >= sizeof(one) ||
	    l->at + (size_t)n + 32 > sizeof(l->text)) {
		l->more++;
		return;
	}
	l->at += (size_t)sprintf(l->text + l->at, "%s%s", l->at ? ", " : "", one);
}

static const char *lacks_text(struct lacks *l)
{
	if (l->more)
		snprintf(l->text + l->at, sizeof(l->text) - l->at, " and %u more", l->more);
	return l->text;
}

static void overrides_path(struct machine_host *h, const char *path)
{
	snprintf(h->path, sizeof(h->path), "%s", path);
}

static int overrides_disks(struct machine *m, const struct options *o, bool given[LIMIT_HOSTS],
			   struct fail *why)
{
	for (uint32_t i = 0; i < o->ndisks; i++) {
		const struct options_disk *d = &o->disks[i];
		struct machine_host       *h = machine_host_find(m, d->name);

		if (!h || h->cls != HOST_DISK) {
			struct lacks has = { 0 };

			for (uint32_t k = 0; k < m->nhosts; k++)
				if (m->hosts[k].cls == HOST_DISK)
					lacks_add(&has, "%s", m->hosts[k].name);
			return fail_set(why, FAIL_USAGE,
					"--disk %s: no such disk in this machine (valid: %s)",
					d->name, has.n ? lacks_text(&has) : "none");
		}
		if (d->readonly && !h->readonly)
			return fail_set(why, FAIL_USAGE,
				"--disk %s: ',ro' not valid: the disk is writable in this machine",
				d->name);
		overrides_path(h, d->path);
		given[h - m->hosts] = true;
	}
	return 0;
}

/* The host resource behind a device type's first device; NULL when the machine has none of it. */
static struct machine_host *overrides_host(struct machine *m, const struct device_ops *ops,
					   enum host_class cls)
{
	for (uint32_t i = 0; i < m->ndevices; i++)
		if (!strcmp(m->devices[i].type, ops->type)) {
			struct machine_host *h = machine_host_find(m, m->devices[i].host);

			return h && h->cls == cls ? h : NULL;
		}
	return NULL;
}

/* The option that gives the path of a host resource; NULL: there is none. */
static const char *overrides_option(struct machine *m, const struct machine_host *h)
{
	if (h == overrides_host(m, &uart_ops, HOST_SERIAL))
		return "serial";
	for (const struct options_device *d = options_devices; d->ops; d++)
		if (h == overrides_host(m, d->ops, d->cls))
			return d->option;
	return NULL;
}

static int overrides_one(struct machine *m, struct machine_host *h, const char *option,
			 const char *path, bool given[LIMIT_HOSTS], struct fail *why)
{
	if (!path)
		return 0;
	if (!h)
		return fail_set(why, FAIL_USAGE, "--%s: no such device in this machine", option);
	overrides_path(h, path);
	given[h - m->hosts] = true;
	return 0;
}

static int overrides_devices(struct machine *m, const struct options *o, bool given[LIMIT_HOSTS],
			     struct fail *why)
{
	for (unsigned i = 0; options_devices[i].ops; i++) {
		const struct options_device *d = &options_devices[i];

		if (overrides_one(m, overrides_host(m, d->ops, d->cls), d->option,
				  o->devices[i].arg, given, why))
			return -1;
	}
	return 0;
}

/* Kernel and initrd are needed at a reset only, so a VM can continue without them: a path that is
 * not trusted is dropped, one that is given replaces what was recorded, digest included. */
static int overrides_image(struct machine *m, const char *name, enum host_class cls,
			   const char *path, bool trusted, struct fail *why)
{
	struct machine_host *h = machine_host_find(m, name);

	if (h && h->cls != cls)
		return fail_set(why, FAIL_CORRUPT, "host resource %s: invalid class %s", name,
				host_class_names[h->cls]);
	if (!path) {
		if (h && !trusted)
			h->path[0] = '\0';
		return 0;
	}
	if (!h) {
		if (m->nhosts == LIMIT_HOSTS)
			return fail_set(why, FAIL_LIMIT,
					"number of host resources exceeds the limit of %u",
					LIMIT_HOSTS);
		h = &m->hosts[m->nhosts++];
	}
	*h = (struct machine_host){ .cls = cls, .readonly = true };
	snprintf(h->name, sizeof(h->name), "%s", name);
	overrides_path(h, path);
	return 0;
}

/* Opening a serial port on a file or socket creates, appends to or unlinks it: a recorded one must
 * be given again. */
static void overrides_lacking_serial(struct machine *m, const struct machine_host *h,
				     struct lacks *l)
{
	const char       *path, *option = overrides_option(m, h);
	enum chardev_kind kind = chardev_spec(h->path, &path);

	if (kind != CHARDEV_FILE && kind != CHARDEV_UNIX)
		return;
	if (option)
		lacks_add(l, "--%s SPEC (serial %s)", option, h->name);
	else
		lacks_add(l, "serial %s (no option available)", h->name);
}

static void overrides_lacking(struct machine *m, const struct machine_host *h, bool trusted,
			      struct lacks *l)
{
	struct stat st;

	if (h->cls == HOST_SERIAL)
		overrides_lacking_serial(m, h, l);
	if (h->cls != HOST_DISK)
		return;
	if (!trusted)
		lacks_add(l, "--disk %s=PATH", h->name);
	else if (stat(h->path, &st))
		lacks_add(l, "--disk %s=PATH (%.60s: %s)", h->name, h->path, strerror(errno));
}

/* A few bytes of a file or from a peer can claim any amount of memory; --memory is the user's own
 * decision. */
static int overrides_memory(const struct machine *m, const struct options *o, struct fail *why)
{
	struct sysinfo host;
	uint64_t       want = 0, have;

	for (uint32_t i = 0; i < m->nregions; i++)
		want += m->regions[i].kind == REGION_DISK ? 0 : m->regions[i].size;
	if (o->overcommit)
		return 0;
	if (sysinfo(&host))
		return fail_sys(why, "memory size of this host");
	have = ((uint64_t)host.totalram + host.totalswap) * host.mem_unit;
	if (want <= have)
		return 0;
	return fail_set(why, FAIL_REFUSED,
			"%s: memory of %" PRIu64 " MiB exceeds the limit of %" PRIu64
			" MiB (memory and swap of this host): use --overcommit", o->source,
			want >> 20, have >> 20);
}

int setup_overrides(struct machine *m, const struct options *o, const struct trust *trust,
		    struct fail *why)
{
	bool         given[LIMIT_HOSTS + 2] = { false };
	bool         trusted                = trust->recorded || o->trust_paths;
	struct lacks lacks                  = { 0 };

	if (overrides_memory(m, o, why))
		return -1;
	if (o->name)
		snprintf(m->name, sizeof(m->name), "%s", o->name);
	if (!uuid_is_nil(&o->uuid))
		m->uuid = o->uuid;
	if (o->on_reboot >= 0)
		m->on_reboot = (enum reboot_policy)o->on_reboot;
	if (overrides_disks(m, o, given, why) ||
	    overrides_one(m, overrides_host(m, &uart_ops, HOST_SERIAL), "serial", o->serial, given,
			  why) ||
	    overrides_devices(m, o, given, why) ||
	    overrides_image(m, "kernel", HOST_KERNEL, o->kernel, trusted, why) ||
	    overrides_image(m, "initrd", HOST_INITRD, o->initrd, trusted, why))
		return -1;
	for (uint32_t i = 0; i < m->nhosts; i++)
		if (!given[i])
			overrides_lacking(m, &m->hosts[i], trusted, &lacks);
	if (lacks.n == 0)
		return 0;
	if (trusted)
		return fail_set(why, FAIL_REFUSED, "%s: missing options: %s", o->source,
				lacks_text(&lacks));
	return fail_set(why, FAIL_REFUSED,
		"%s: missing options: %s: recorded paths not used: %s "
		"(use --trust-paths for those of disks)",
		o->source, lacks_text(&lacks), trust->why);
}
