/* SPDX-License-Identifier: MIT */
#include "format/tree/machine_internal.h"
#include "format/tree/tree_put.h"
#include "libcommon/bytes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Writes CONFIG, in the order of docs/format.md 8, "Configuration". */

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

static void put_vm(struct tree_put *w, const struct machine *m)
{
	put_begin(w, "vm");
	put_str(w, "vmferry,name", m->name);
	put_bytes(w, "uuid", m->uuid.b, sizeof(m->uuid.b));
	put_str(w, "on-reboot", reboot_policy_names[m->on_reboot]);
	put_str(w, "append", m->append);
	put_end(w);
}

static void put_cells_u32(struct tree_put *w, const char *name, const uint32_t *v, size_t n)
{
	uint8_t cells[4 * LIMIT_MSRS];

	for (size_t i = 0; i < n; i++)
		put_be32(cells + 4 * i, v[i]);
	put_bytes(w, name, cells, 4 * n);
}

static void put_cpuid(struct tree_put *w, const struct machine_cpuid *v, size_t n)
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
static void put_cpus_x86(struct tree_put *w, const struct machine *m)
{
	put_cpuid(w, m->cpuid, m->ncpuid);
	put_u32(w, "vmferry,xsave-bytes", m->xsave_bytes);
	put_cells_u32(w, "vmferry,msrs", m->msrs, m->nmsrs);
}

static void put_cpus(struct tree_put *w, const struct machine *m)
{
	const struct machine_type_info *type = &machine_types[m->type];

	put_begin(w, "cpus");
	put_cells(w, 1, 0);
	put_u64(w, "timebase-frequency", m->timebase_hz);
	if (type->cpuid)
		put_cpus_x86(w, m);
	for (uint32_t i = 0; i < m->ncpus; i++) {
		char node[16];

		snprintf(node, sizeof(node), "cpu@%" PRIx32, i);
		put_begin(w, node);
		put_str(w, "device_type", "cpu");
		put_u32(w, "reg", i);
		put_str(w, "compatible", type->cpu_compatible);
		put_str(w, type->cpu_model_property, m->cpu_model);
		put_end(w);
	}
	put_end(w);
}

static void put_region(struct tree_put *w, const struct machine_region *r)
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

static void put_device(struct tree_put *w, const struct machine_device *d)
{
	char node[MACHINE_NODE_MAX];
	bool irqchip;

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
	put_end(w);
}

static void put_soc(struct tree_put *w, const struct machine *m)
{
	bool has_irqchip = false, irqchip;

	for (uint32_t i = 0; i < m->ndevices; i++) {
		device_compatible(m->devices[i].type, &irqchip);
		has_irqchip |= irqchip;
	}
	put_begin(w, "soc");
	put_str(w, "compatible", "simple-bus");
	put_cells(w, 2, 2);
	put_bytes(w, "ranges", NULL, 0);
	if (has_irqchip) {
		put_u32(w, "interrupt-parent", PHANDLE_IRQCHIP);
	} else if (machine_types[m->type].accel_irqchip) {
		put_bytes(w, "interrupt-controller", NULL, 0);
		put_u32(w, "#interrupt-cells", 1);
	}
	for (uint32_t i = 0; i < m->ndevices; i++)
		put_device(w, &m->devices[i]);
	put_end(w);
}

static void put_host(struct tree_put *w, const struct machine *m)
{
	put_begin(w, "host");
	for (uint32_t i = 0; i < m->nhosts; i++) {
		const struct machine_host *h = &m->hosts[i];

		put_begin(w, h->name);
		put_str(w, "class", host_class_names[h->cls]);
		put_str(w, "path", h->path);
		if (h->readonly)
			put_bytes(w, "read-only", NULL, 0);
		/* Of a disk these are facts of the pause. */
		if (machine_host_fixed(h)) {
			put_u64(w, "size", h->size);
			put_u64(w, "mtime", h->mtime_ns);
			put_bytes(w, "digest", h->digest, sizeof(h->digest));
		}
		put_end(w);
	}
	put_end(w);
}

int machine_write(const struct machine *m, void *buf, size_t capacity, size_t *len,
		  struct fail *why)
{
	char            compatible[48];
	struct tree_put w;

	if (tree_put_open(&w, buf, capacity, why) || machine_check(m, why))
		return -1;
	snprintf(compatible, sizeof(compatible), "vmferry,%s", machine_type_name(m->type));
	tree_put_root(&w);
	put_str(&w, "compatible", compatible);
	put_str(&w, "model", "vmferry virtual machine");
	put_cells(&w, 2, 2);
	put_vm(&w, m);
	put_cpus(&w, m);
	for (uint32_t i = 0; i < m->nregions; i++)
		put_region(&w, &m->regions[i]);
	put_soc(&w, m);
	put_host(&w, m);
	return tree_put_close(&w, len, why);
}
