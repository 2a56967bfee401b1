/* SPDX-License-Identifier: MIT */
#include "vmrun/board/riscv64/riscv64.h"

#include "vmrun/devices/device_list.h"


#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FDT_CAPACITY     (256u << 10)      /* 32 harts and 64 devices take less than 40 KiB */
#define RNG_SEED     64u
#define PHANDLE_PLIC 1u
#define PHANDLE_CPU  2u                /* and one a hart */

/* A tree being written: the first error sticks and the rest is skipped. */
struct tree {
	void *fdt;
	int   err;
};

static void tree_node(struct tree *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void tree_node(struct tree *t, const char *fmt, ...)
{
	char    name[MACHINE_NODE_MAX + 32];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	if (!t->err)
		t->err = fdt_begin_node(t->fdt, name);
}

static void tree_end(struct tree *t)
{
	if (!t->err)
		t->err = fdt_end_node(t->fdt);
}

static void tree_bytes(struct tree *t, const char *name, const void *data, size_t len)
{
	if (!t->err)
		t->err = fdt_property(t->fdt, name, data, (int)len);
}

static void tree_str(struct tree *t, const char *name, const char *value)
{
	tree_bytes(t, name, value, strlen(value) + 1);
}

static void tree_flag(struct tree *t, const char *name)
{
	tree_bytes(t, name, NULL, 0);
}

static void tree_u32(struct tree *t, const char *name, uint32_t value)
{
	if (!t->err)
		t->err = fdt_property_u32(t->fdt, name, value);
}

static void tree_u64(struct tree *t, const char *name, uint64_t value)
{
	if (!t->err)
		t->err = fdt_property_u64(t->fdt, name, value);
}

static void tree_reg(struct tree *t, uint64_t gpa, uint64_t size)
{
	fdt64_t reg[2] = { cpu_to_fdt64(gpa), cpu_to_fdt64(size) };

	tree_bytes(t, "reg", reg, sizeof(reg));
}

static void tree_random(struct tree *t, const char *name, size_t len)
{
	uint8_t seed[RNG_SEED];

	/* Up to 256 bytes come whole once the host's pool is ready. */
	if (!t->err && getrandom(seed, len, 0) != (ssize_t)len)
		t->err = -FDT_ERR_INTERNAL;
	tree_bytes(t, name, seed, len);
	explicit_bzero(seed, sizeof(seed));
}

/* riscv,isa-extensions from the isa string: single letters after rv64, then names between
 * underscores. */
static void tree_extensions(struct tree *t, const char *isa)
{
	char   list[2 * sizeof(((struct machine *)0)->cpu_model)];
	size_t n = 0;

	if (!strncmp(isa, "rv64", 4))
		isa += 4;
	for (; *isa && *isa != '_'; isa++) {
		list[n++] = *isa;
		list[n++] = '\0';
	}
	while (*isa == '_') {
		size_t len = strcspn(++isa, "_");

		if (len) {
			memcpy(list + n, isa, len);
			n += len;
			list[n++] = '\0';
		}
		isa += len;
	}
	tree_bytes(t, "riscv,isa-extensions", list, n);
}

static void tree_cpus(struct tree *t, const struct machine *cfg)
{
	tree_node(t, "cpus");
	tree_u32(t, "#address-cells", 1);
	tree_u32(t, "#size-cells", 0);
	tree_u32(t, "timebase-frequency", (uint32_t)cfg->timebase_hz);
	for (uint32_t i = 0; i < cfg->ncpus; i++) {
		tree_node(t, "cpu@%x", i);
		tree_str(t, "device_type", "cpu");
		tree_u32(t, "reg", i);
		tree_str(t, "status", "okay");
		tree_str(t, "compatible", "riscv");
		tree_str(t, "riscv,isa", cfg->cpu_model);
		tree_str(t, "riscv,isa-base", "rv64i");
		tree_extensions(t, cfg->cpu_model);
		tree_str(t, "mmu-type", "riscv,sv39");
		tree_node(t, "interrupt-controller");
		tree_u32(t, "#address-cells", 0);
		tree_u32(t, "#interrupt-cells", 1);
		tree_flag(t, "interrupt-controller");
		tree_str(t, "compatible", "riscv,cpu-intc");
		tree_u32(t, "phandle", PHANDLE_CPU + i);
		tree_end(t);
		tree_end(t);
	}
	tree_end(t);
}

static void tree_plic(struct tree *t, const struct machine *cfg, const struct machine_device *d)
{
	static const char compatible[] = "sifive,plic-1.0.0\0riscv,plic0";
	fdt32_t           ext[4 * LIMIT_CPUS];
	size_t            n = 0;

	tree_node(t, "plic@%" PRIx64, d->gpa);
	tree_bytes(t, "compatible", compatible, sizeof(compatible));
	tree_reg(t, d->gpa, d->size);
	tree_u32(t, "#interrupt-cells", 1);
	tree_u32(t, "#address-cells", 0);
	tree_flag(t, "interrupt-controller");
	tree_u32(t, "riscv,ndev", 95);
	tree_u32(t, "phandle", PHANDLE_PLIC);
	/* Two contexts a hart, numbered in this order: machine (11) and supervisor (9) external. */
	for (uint32_t i = 0; i < cfg->ncpus; i++) {
		ext[n++] = cpu_to_fdt32(PHANDLE_CPU + i);
		ext[n++] = cpu_to_fdt32(11);
		ext[n++] = cpu_to_fdt32(PHANDLE_CPU + i);
		ext[n++] = cpu_to_fdt32(9);
	}
	tree_bytes(t, "interrupts-extended", ext, n * sizeof(ext[0]));
	tree_end(t);
}

static void tree_device(struct tree *t, const struct machine_device *d,
			const struct device_ops *ops)
{
	const char *name = ops->virtio ? "virtio_mmio" : ops->node ? ops->node : ops->type;

	tree_node(t, "%s@%" PRIx64, name, d->gpa);
	tree_str(t, "compatible", ops->virtio ? "virtio,mmio" : ops->compatible);
	tree_reg(t, d->gpa, d->size);
	tree_u32(t, "interrupt-parent", PHANDLE_PLIC);
	tree_u32(t, "interrupts", d->irq);
	if (ops == &uart_ops)
		tree_u32(t, "clock-frequency", RISCV64_UART_HZ);
	tree_end(t);
}

static void tree_chosen(struct tree *t, const struct board *b, uint64_t initrd, uint64_t initrd_len)
{
	const struct machine *cfg = b->host->cfg;
	char                  path[64];

	tree_node(t, "chosen");
	if (cfg->append[0])
		tree_str(t, "bootargs", cfg->append);
	if (b->console) {
		snprintf(path, sizeof(path), "/soc/serial@%" PRIx64, b->console->cfg.gpa);
		tree_str(t, "stdout-path", path);
	}
	if (initrd_len) {
		tree_u64(t, "linux,initrd-start", initrd);
		tree_u64(t, "linux,initrd-end", initrd + initrd_len);
	}
	tree_random(t, "rng-seed", RNG_SEED);
	tree_random(t, "kaslr-seed", 8);
	tree_end(t);
}

static void tree_write(struct tree *t, const struct board *b, uint64_t initrd, uint64_t initrd_len)
{
	const struct machine *cfg = b->host->cfg;
	char                  type[64];

	snprintf(type, sizeof(type), "vmferry,%s", machine_type_name(cfg->type));
	tree_node(t, "%s", "");
	tree_u32(t, "#address-cells", 2);
	tree_u32(t, "#size-cells", 2);
	tree_str(t, "compatible", type);
	tree_str(t, "model", type);
	tree_chosen(t, b, initrd, initrd_len);
	for (uint32_t i = 0; i < cfg->nregions; i++) {
		if (cfg->regions[i].kind != REGION_RAM)
			continue;
		tree_node(t, "memory@%" PRIx64, cfg->regions[i].gpa);
		tree_str(t, "device_type", "memory");
		tree_reg(t, cfg->regions[i].gpa, cfg->regions[i].size);
		tree_end(t);
	}
	tree_cpus(t, cfg);
	tree_node(t, "soc");
	tree_u32(t, "#address-cells", 2);
	tree_u32(t, "#size-cells", 2);
	tree_str(t, "compatible", "simple-bus");
	tree_flag(t, "ranges");
	for (unsigned i = 0; i < b->ndevices; i++) {
		const struct device *d = b->devices[i];

		if (d == b->irqchip)
			tree_plic(t, cfg, &d->cfg);
		else
			tree_device(t, &d->cfg, d->ops);
	}
	tree_end(t);
	tree_end(t);
}

int board_fdt(const struct board *b, uint64_t initrd, uint64_t initrd_len, uint8_t **fdt,
	      size_t *len, struct fail *why)
{
	struct tree t = { .fdt = malloc(FDT_CAPACITY) };

	if (!t.fdt)
		return fail_sys(why, "device tree");
	t.err = fdt_create(t.fdt, FDT_CAPACITY);
	if (!t.err)
		t.err = fdt_finish_reservemap(t.fdt);
	tree_write(&t, b, initrd, initrd_len);
	if (!t.err)
		t.err = fdt_finish(t.fdt);
	if (t.err) {
		explicit_bzero(t.fdt, FDT_CAPACITY);
		free(t.fdt);
		return fail_set(why, FAIL_LIMIT, "guest device tree: %s", fdt_strerror(t.err));
	}
	*fdt = t.fdt;
	*len = fdt_totalsize(t.fdt);
	return 0;
}
