/* SPDX-License-Identifier: MIT */
#ifndef FORMAT_TREE_MACHINE_H
#define FORMAT_TREE_MACHINE_H

#include "format/tree/field.h"
#include "format/limits.h"
#include "format/tree/machine_type.h"
#include "libcommon/fail.h"
#include "libcommon/paths.h"
#include "libcommon/uuid.h"

#include <stdbool.h>
#include <stdint.h>

/* The configuration of a VM, as its tree carries it: no host pointers, no descriptors (design.md 5; docs/format.md,
 * "The VM tree"). A machine type never changes addresses; slot, address and interrupt of each device are recorded. */

enum region_kind { REGION_RAM, REGION_ROM, REGION_VRAM, REGION_DISK, REGION_KINDS };
enum host_class { HOST_DISK, HOST_SERIAL, HOST_RNG, HOST_KERNEL, HOST_INITRD, HOST_CLASSES };
enum reboot_policy { REBOOT_RESET, REBOOT_EXIT, REBOOT_PAUSE, REBOOT_POLICIES };
enum clock_policy { CLOCK_FREEZE, CLOCK_ADVANCE, CLOCK_POLICIES };

extern const char *const region_kind_names[REGION_KINDS];        /* "ram", "rom", "vram", "disk" */
extern const char *const host_class_names[HOST_CLASSES];         /* "disk", "serial", "rng", "kernel", "initrd" */
extern const char *const reboot_policy_names[REBOOT_POLICIES];   /* as on the command line */
extern const char *const clock_policy_names[CLOCK_POLICIES];

struct machine_region {
	uint32_t         id;               /* unique, below LIMIT_REGIONS; 0 is main RAM */
	enum region_kind kind;
	char             name[32];         /* "ram" */
	uint64_t         gpa;              /* page aligned */
	uint64_t         size;             /* bytes, a multiple of page_size */
	uint32_t         page_size;        /* 4096 */
};

#define SLOT_NONE UINT32_MAX

/* x86's I/O ports, as addresses: port P is MACHINE_IO + P. Above every physical address (52 bits), so that one map of
 * addresses holds both. */
#define MACHINE_IO ((uint64_t)1 << 52)

/* x86: one answer of CPUID, as all vCPUs give it; APIC id and the like are each vCPU's own. flags: KVM_CPUID_FLAG_*. */
struct machine_cpuid {
	uint32_t leaf, index, flags;
	uint32_t eax, ebx, ecx, edx;
};

struct machine_device {
	char     type[32];                 /* a row of vmrun/devices/device_list.c: "ns16550a", "virtio-blk" */
	char     host[VM_NAME_MAX + 1];    /* host resource it uses (machine_host.name), "" for none */
	uint64_t gpa, size;                /* register window; I/O ports from MACHINE_IO on */
	uint32_t irq;                      /* interrupt line of the board's controller, 0 for none */
	uint32_t slot;                     /* virtio slot, SLOT_NONE for a fixed device */
};

/* What a VM uses of its host. Paths are recorded as they were given, and are hostile on the way back in. */
struct machine_host {
	char            name[VM_NAME_MAX + 1];    /* "root", "console", "kernel" */
	enum host_class cls;
	char            path[1024];               /* disk, kernel, initrd: file; serial: "stdio", "pty", "file:F", "unix:P", "none"; rng: "" */
	bool            readonly;
	/* disk, kernel, initrd: as it was when last looked at; zero size and nil digest when never */
	uint64_t        size;                     /* bytes */
	uint64_t        mtime_ns;
	uint8_t         digest[16];               /* XXH3-128: disk: of sampled blocks (docs/format.md); kernel, initrd: of all */
	uint8_t         instance[16];             /* block device: which count the next is of; nil: none (docs/format.md 9) */
	uint64_t        written;                  /* sectors written and discarded by then */
};

struct machine {
	enum machine_type     type;
	char                  name[VM_NAME_MAX + 1];
	struct uuid           uuid;
	uint32_t              ncpus;              /* 1 to LIMIT_CPUS */
	char                  cpu_model[128];           /* riscv: riscv,isa string; x86: CPU model as --cpu has it; compared at restore */
	uint64_t              timebase_hz;        /* of the guest's clock; x86: of its TSC, a multiple of 1000 */
	/* x86 only, else zero: what the guest was told it has and relies on */
	uint32_t              ncpuid, nmsrs;
	uint32_t              xsave_bytes;        /* of a vCPU's XSAVE area */
	struct machine_cpuid  cpuid[LIMIT_CPUID]; /* sorted by leaf and index */
	uint32_t              msrs[LIMIT_MSRS];   /* numbers of those that are saved, ascending */
	enum reboot_policy    on_reboot;
	char                  append[2048];       /* kernel command line */
	bool                  stopped;            /* read from a tree with state: its user had stopped the VM */
	bool                  reset_pending;      /* likewise: the guest has asked for a reset that is yet to be done */
	uint32_t              nregions, ndevices, nhosts;
	struct machine_region regions[LIMIT_REGIONS];
	struct machine_device devices[LIMIT_DEVICES];
	struct machine_host   hosts[LIMIT_HOSTS];
};

struct machine_host *machine_host_find(const struct machine *m, const char *name);
const struct machine_region *machine_region_find(const struct machine *m, uint32_t id);

/* The tree node's name of a device ("virtio-blk@10001000") and of a CPU ("cpu@0"). */
#define MACHINE_NODE_MAX 64
void machine_device_node(const struct machine_device *d, char out[MACHINE_NODE_MAX]);

/* Writes the tree into buf (LIMIT_TREE_BYTES at most): configuration and, when parts is not NULL, a `state` node under
 * /vm, each CPU and each device with the parts the callbacks give. A finished FDT blob; *len its size. */
struct machine_sections {
	size_t (*vm)(void *arg, struct state_section *out, size_t max);
	size_t (*cpu)(void *arg, uint32_t cpu, struct state_section *out, size_t max);
	size_t (*device)(void *arg, uint32_t device, struct state_section *out, size_t max);
	void    *arg;
	bool     stopped;        /* its user has stopped the VM */
	bool     reset_pending;  /* its guest waits for a reset; stopped is set then, too */
};
#define MACHINE_SECTIONS_MAX 40     /* parts of one device or CPU */
int machine_write(const struct machine *m, const struct machine_sections *sections, void *buf, size_t capacity, size_t *len, struct fail *why);

/* Reads a hostile tree: checks the blob (fdt_check_full), every count, range and overlap. */
int machine_read(struct machine *m, const void *fdt, size_t len, struct fail *why);

/* Loads the state nodes of a tree into the parts the callbacks give: the parts that belong to each
 * owner, no more and no less (machine_required_sections). All or nothing. Call machine_read on the
 * same blob first; its machine must equal m in devices, CPUs and regions (machine_same_shape). */
int machine_load_state(const struct machine *m, const struct machine_sections *sections, const void *fdt, size_t len, struct fail *why);
/* The same, loaded into nothing: could a machine that is like m be restored from it? */
int machine_check_state(const struct machine *m, const void *fdt, size_t len, struct fail *why);

/* What has state: the VM, each CPU, each device of m. Calls fn for each in this order with its node
 * in a checked tree that describes m, and its name for messages; one pass. Stops with -1 when fn
 * does; a node that is missing is FAIL_CORRUPT. */
enum machine_owner { OWNER_VM, OWNER_CPU, OWNER_DEVICE };
typedef int machine_owner_fn(void *arg, enum machine_owner kind, uint32_t i, int node,
			     const char *where, struct fail *why);
int machine_owners(const struct machine *m, const void *fdt, machine_owner_fn *fn, void *arg,
		   struct fail *why);

/* The parts that belong to an owner, nodes and tables, s NULL. A device type that is not known is
 * FAIL_VERSION. */
int machine_required_sections(const struct machine *m, enum machine_owner kind, uint32_t i,
			   struct state_section out[MACHINE_SECTIONS_MAX], size_t *n, struct fail *why);

/* Nil or what differs in configuration that a restore cannot bridge (type, isa, CPUs, regions, devices), in *why. */
int machine_same_shape(const struct machine *a, const struct machine *b, struct fail *why);

#endif
