/* SPDX-License-Identifier: MIT */
#include "format/tree/machine_internal.h"
#include "libcommon/bytes.h"

#include <assert.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Writes /, in the order of docs/format.md "The VM tree". A libfdt error sticks in `err` and
 * everything after it is skipped, as stdio does; machine_write looks once, at the end. */
struct tree_writer {
	void                       *fdt;
	int                         err;
	const struct machine       *m;
	const struct machine_sections *sections;
	struct state_section          *list;       /* MACHINE_SECTIONS_MAX */
};

#define PHANDLE_IRQCHIP 1u

/* What a guest's driver calls our device types. A type that is not here is its own compatible:
 * vmferry,type decides. */
static const struct {
	const char *type, *compatible;
	bool        irqchip;
} device_names[] = {
	{ .type = "sifive-plic",  .compatible = "sifive,plic-1.0.0", .irqchip = true },
	{ .type = "ns16550a",     .compatible = "ns16550a" },
	{ .type = "goldfish-rtc", .compatible = "google,goldfish-rtc" },
	{ .type = "mc146818",     .compatible = "motorola,mc146818" },
	{ .type = "i8042",        .compatible = "intel,8042" },
	{ .type = "vmgenid",      .compatible = "microsoft,vmgenid" },
	{ .type = "pvpanic",      .compatible = "qemu,pvpanic" },
};

static const char *device_compatible(const char *type, bool *irqchip)
{
	*irqchip = false;
	for (size_t i = 0; i < sizeof(device_names) / sizeof(device_names[0]); i++) {
		if (strcmp(type, device_names[i].type) == 0) {
			*irqchip = device_names[i].irqchip;
			return device_names[i].compatible;
		}
	}
	return strncmp(type, "virtio-", 7) == 0 ? "virtio,mmio" : type;
}

static void put_begin(struct tree_writer *w, const char *name)
{
	if (!w->err)
		w->err = fdt_begin_node(w->fdt, name);
}

static void put_end(struct tree_writer *w)
{
	if (!w->err)
		w->err = fdt_end_node(w->fdt);
}

static void put_u32(struct tree_writer *w, const char *name, uint32_t v)
{
	if (!w->err)
		w->err = fdt_property_u32(w->fdt, name, v);
}

static void put_u64(struct tree_writer *w, const char *name, uint64_t v)
{
	if (!w->err)
		w->err = fdt_property_u64(w->fdt, name, v);
}

static void put_bytes(struct tree_writer *w, const char *name, const void *v, size_t len)
{
	if (!w->err)
		w->err = fdt_property(w->fdt, name, v, (int)len);
}

static void put_str(struct tree_writer *w, const char *name, const char *v)
{
	put_bytes(w, name, v, strlen(v) + 1);
}

static void put_reg(struct tree_writer *w, uint64_t gpa, uint64_t size)
{
	fdt64_t reg[2] = { cpu_to_fdt64(gpa), cpu_to_fdt64(size) };

	put_bytes(w, "reg", reg, sizeof(reg));
}

static void put_cells(struct tree_writer *w, uint32_t address, uint32_t size)
{
	put_u32(w, "#address-cells", address);
	put_u32(w, "#size-cells", size);
}

/* The `state` node of an owner. dtc wants #address-cells where children have unit addresses, and
 * only there. */
static int put_state(struct tree_writer *w, enum machine_owner kind, uint32_t owner,
		     const char *where, struct fail *why)
{
	bool   units = false;
	size_t n;

	if (w->err || !w->sections)
		return 0;
	if (machine_live_sections(w->m, w->sections, kind, owner, where, w->list, &n, why))
		return -1;
	if (n == 0)
		return 0;
	put_begin(w, "state");
	for (size_t i = 0; i < n; i++)
		units |= strchr(w->list[i].node, '@') != NULL;
	if (units)
		put_cells(w, 1, 0);
	for (size_t i = 0; !w->err && i < n; i++)
		if (state_save(w->list[i].table, w->list[i].s, w->list[i].node, w->fdt, why))
			return fail_prefix(why, "%s: ", where);
	put_end(w);
	return 0;
}

static int put_vm(struct tree_writer *w, struct fail *why)
{
	put_begin(w, "vm");
	put_str(w, "vmferry,name", w->m->name);
	put_bytes(w, "uuid", w->m->uuid.b, sizeof(w->m->uuid.b));
	put_str(w, "on-reboot", reboot_policy_names[w->m->on_reboot]);
	put_str(w, "append", w->m->append);
	if (w->sections && w->sections->stopped)
		put_bytes(w, "vmferry,stopped", NULL, 0);
	if (w->sections && w->sections->reset_pending)
		put_bytes(w, "vmferry,reset-pending", NULL, 0);
	if (put_state(w, OWNER_VM, 0, "vm", why))
		return -1;
	put_end(w);
	return 0;
}

static void put_cells_u32(struct tree_writer *w, const char *name, const uint32_t *v, size_t n)
{
	uint8_t cells[4 * LIMIT_MSRS];

	for (size_t i = 0; i < n; i++)
		put_be32(cells + 4 * i, v[i]);
	put_bytes(w, name, cells, 4 * n);
}

static void put_cpuid(struct tree_writer *w, const struct machine_cpuid *v, size_t n)
{
	uint8_t cells[4 * CPUID_CELLS * LIMIT_CPUID], *p = cells;

	for (size_t i = 0; i < n; i++, p += 4 * CPUID_CELLS) {
		put_be32(p, v[i].leaf);
		put_be32(p + 4, v[i].index);
		put_be32(p + 8, v[i].flags);
		put_be32(p + 12, v[i].eax);
		put_be32(p + 16, v[i].ebx);
		put_be32(p + 20, v[i].ecx);
		put_be32(p + 24, v[i].edx);
	}
	put_bytes(w, "vmferry,cpuid", cells, (size_t)(p - cells));
}

/* What all vCPUs of an x86 machine have in common. */
static void put_cpus_x86(struct tree_writer *w)
{
	put_cpuid(w, w->m->cpuid, w->m->ncpuid);
	put_u32(w, "vmferry,xsave-bytes", w->m->xsave_bytes);
	put_cells_u32(w, "vmferry,msrs", w->m->msrs, w->m->nmsrs);
}

static int put_cpus(struct tree_writer *w, struct fail *why)
{
	const struct machine_type_info *type = &machine_types[w->m->type];

	put_begin(w, "cpus");
	put_cells(w, 1, 0);
	put_u64(w, "timebase-frequency", w->m->timebase_hz);
	if (type->cpuid)
		put_cpus_x86(w);
	for (uint32_t i = 0; i < w->m->ncpus; i++) {
		char node[16];

		snprintf(node, sizeof(node), "cpu@%" PRIx32, i);
		put_begin(w, node);
		put_str(w, "device_type", "cpu");
		put_u32(w, "reg", i);
		put_str(w, "compatible", type->cpu_compatible);
		put_str(w, type->cpu_model_property, w->m->cpu_model);
		if (put_state(w, OWNER_CPU, i, node, why))
			return -1;
		put_end(w);
	}
	put_end(w);
	return 0;
}

static void put_region(struct tree_writer *w, const struct machine_region *r)
{
	char node[MACHINE_NODE_MAX];

	machine_region_node(r, node);
	put_begin(w, node);
	if (r->kind == REGION_RAM)
		put_str(w, "device_type", "memory");
	if (r->kind == REGION_DISK)
		put_u64(w, "vmferry,size", r->size);
	else
		put_reg(w, r->gpa, r->size);
	put_u32(w, "vmferry,region", r->id);
	put_str(w, "vmferry,kind", region_kind_names[r->kind]);
	put_str(w, "vmferry,name", r->name);
	put_u32(w, "vmferry,page-size", r->page_size);
	put_end(w);
}

static int put_device(struct tree_writer *w, uint32_t i, struct fail *why)
{
	const struct machine_device *d = &w->m->devices[i];
	char                         node[MACHINE_NODE_MAX];
	bool                         irqchip;

	machine_device_node(d, node);
	put_begin(w, node);
	put_str(w, "compatible", device_compatible(d->type, &irqchip));
	put_str(w, "vmferry,type", d->type);
	put_reg(w, d->gpa, d->size);
	if (irqchip) {
		put_bytes(w, "interrupt-controller", NULL, 0);
		put_u32(w, "#interrupt-cells", 1);
		put_u32(w, "#address-cells", 0);
		put_u32(w, "phandle", PHANDLE_IRQCHIP);
	}
	if (d->irq)
		put_u32(w, "interrupts", d->irq);
	if (d->slot != SLOT_NONE)
		put_u32(w, "vmferry,slot", d->slot);
	if (d->host[0])
		put_str(w, "vmferry,host", d->host);
	if (put_state(w, OWNER_DEVICE, i, node, why))
		return -1;
	put_end(w);
	return 0;
}

static int put_soc(struct tree_writer *w, struct fail *why)
{
	bool has_irqchip = false, irqchip;

	for (uint32_t i = 0; i < w->m->ndevices; i++) {
		device_compatible(w->m->devices[i].type, &irqchip);
		has_irqchip |= irqchip;
	}
	put_begin(w, "soc");
	put_str(w, "compatible", "simple-bus");
	put_cells(w, 2, 2);
	put_bytes(w, "ranges", NULL, 0);
	if (has_irqchip) {
		put_u32(w, "interrupt-parent", PHANDLE_IRQCHIP);
	} else if (machine_types[w->m->type].accel_irqchip) {
		put_bytes(w, "interrupt-controller", NULL, 0);
		put_u32(w, "#interrupt-cells", 1);
	}
	for (uint32_t i = 0; i < w->m->ndevices; i++)
		if (put_device(w, i, why))
			return -1;
	put_end(w);
	return 0;
}

static void put_host(struct tree_writer *w)
{
	static const uint8_t nil[sizeof(((struct machine_host *)0)->instance)];

	put_begin(w, "host");
	for (uint32_t i = 0; i < w->m->nhosts; i++) {
		const struct machine_host *h = &w->m->hosts[i];

		put_begin(w, h->name);
		put_str(w, "class", host_class_names[h->cls]);
		put_str(w, "path", h->path);
		if (h->readonly)
			put_bytes(w, "read-only", NULL, 0);
		put_u64(w, "size", h->size);
		put_u64(w, "mtime", h->mtime_ns);
		put_bytes(w, "digest", h->digest, sizeof(h->digest));
		if (memcmp(h->instance, nil, sizeof(nil))) {
			put_bytes(w, "instance", h->instance, sizeof(h->instance));
			put_u64(w, "written", h->written);
		}
		put_end(w);
	}
	put_end(w);
}

static int put_root(struct tree_writer *w, struct fail *why)
{
	char compatible[48];

	snprintf(compatible, sizeof(compatible), "vmferry,%s", machine_type_name(w->m->type));
	put_begin(w, "");
	put_str(w, "compatible", compatible);
	put_str(w, "model", "vmferry virtual machine");
	put_cells(w, 2, 2);
	put_u32(w, "version", TREE_VERSION);
	put_u32(w, "needs", 1);
	if (put_vm(w, why) || put_cpus(w, why))
		return -1;
	for (uint32_t i = 0; i < w->m->nregions; i++)
		put_region(w, &w->m->regions[i]);
	if (put_soc(w, why))
		return -1;
	put_host(w);
	put_end(w);
	return 0;
}

int machine_write(const struct machine *m, const struct machine_sections *sections, void *buf,
		  size_t capacity, size_t *len, struct fail *why)
{
	struct tree_writer w  = { .fdt = buf, .m = m, .sections = sections };
	int                rc = -1;

	if ((uintptr_t)buf % 8)
		return fail_set(why, FAIL_USAGE, "VM tree: buffer not aligned to 8 bytes");
	if (machine_check(m, why))
		return -1;
	w.list = calloc(MACHINE_SECTIONS_MAX, sizeof(*w.list));
	if (!w.list)
		return fail_sys(why, "VM tree: sections");
	w.err = fdt_create(buf, (int)(capacity < LIMIT_TREE_BYTES ? capacity : LIMIT_TREE_BYTES));
	if (!w.err)
		w.err = fdt_finish_reservemap(buf);
	if (put_root(&w, why))
		goto out;
	if (!w.err)
		w.err = fdt_finish(buf);
	if (w.err) {
		fail_set(why, FAIL_LIMIT, "VM tree: larger than %zu bytes: %s", capacity,
			 fdt_strerror(w.err));
		goto out;
	}
	*len = fdt_totalsize(buf);
	rc   = 0;
out:
	free(w.list);
	return rc;
}
