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

/* A VM as its tree carries it (docs/format.md 8): no host pointers, no descriptors. The tree is two
 * blobs, CONFIG and STATE, that have nothing in common: machine_read makes a struct machine of the
 * first, machine_read_state puts the facts of the pause into it. A machine type never
 * changes addresses; slot, address and interrupt of each device are recorded. Addresses are guest
 * physical, sizes in bytes. */

enum region_kind { REGION_RAM, REGION_ROM, REGION_VRAM, REGION_DISK, REGION_KINDS };
enum host_class { HOST_DISK, HOST_SERIAL, HOST_RNG, HOST_KERNEL, HOST_INITRD, HOST_CLASSES };
enum reboot_policy { REBOOT_RESET, REBOOT_EXIT, REBOOT_PAUSE, REBOOT_POLICIES };
enum clock_policy { CLOCK_FREEZE, CLOCK_ADVANCE, CLOCK_POLICIES };

/* As in the tree and on the command line: "ram", "disk", "reset", "freeze". */
extern const char *const region_kind_names[REGION_KINDS];
extern const char *const host_class_names[HOST_CLASSES];
extern const char *const reboot_policy_names[REBOOT_POLICIES];
extern const char *const clock_policy_names[CLOCK_POLICIES];

/**
 * struct machine_region - a contiguous piece of guest memory
 * @id:        unique, below LIMIT_REGIONS; 0 is main RAM
 * @kind:      of REGION_DISK @gpa is 0: it has no address
 * @name:      "ram"; unique
 * @gpa:       a multiple of @page_size
 * @size:      a multiple of @page_size, at most LIMIT_REGION_BYTES
 * @page_size: 4096
 */
struct machine_region {
	uint32_t         id;
	enum region_kind kind;
	char             name[32];
	uint64_t         gpa;
	uint64_t         size;
	uint32_t         page_size;
};

#define SLOT_NONE UINT32_MAX

/* x86's I/O ports, as addresses: port P is MACHINE_IO + P. Above every physical address (52 bits),
 * so that one map of addresses holds both. */
#define MACHINE_IO ((uint64_t)1 << 52)

/* x86: one answer of CPUID, as all vCPUs give it; APIC id and the like are each vCPU's own. flags:
 * KVM_CPUID_FLAG_*. */
struct machine_cpuid {
	uint32_t leaf, index, flags;
	uint32_t eax, ebx, ecx, edx;
};

/**
 * struct machine_device - a device and where it is
 * @type: a row of vmrun/devices/device_list.c: "ns16550a", "virtio-blk"
 * @host: host resource it uses (machine_host.name), "" for none
 * @gpa:  of its register window; I/O ports from MACHINE_IO on
 * @size: of the window
 * @irq:  interrupt line of the board's controller, 0 for none
 * @slot: virtio slot, SLOT_NONE for a fixed device
 */
struct machine_device {
	char     type[32];
	char     host[VM_NAME_MAX + 1];
	uint64_t gpa, size;
	uint32_t irq;
	uint32_t slot;
};

/**
 * struct machine_host - what a VM uses of its host (docs/format.md 9)
 * @name:     "root", "console", "kernel"; unique
 * @cls:      what it is
 * @path:     as it was given, hostile on the way back in. Disk, kernel, initrd: file; serial:
 *            "stdio", "pty", "file:F", "unix:P", "none"; rng: ""
 * @readonly: of a disk
 * @size:     disk, kernel, initrd: when last looked at; 0: never. CONFIG has this, @mtime_ns and
 *            @digest of images, STATE has them of disks
 * @mtime_ns: of the file, since 1970; 0 for a block device
 * @digest:   XXH3-128; disk: of sampled blocks; kernel, initrd: of all; nil: never looked at
 * @instance: block device: which count @written is of; nil: none
 * @written:  block device: sectors written and discarded by then
 */
struct machine_host {
	char            name[VM_NAME_MAX + 1];
	enum host_class cls;
	char            path[1024];
	bool            readonly;
	uint64_t        size;
	uint64_t        mtime_ns;
	uint8_t         digest[16];
	uint8_t         instance[16];
	uint64_t        written;
};

/**
 * struct machine - a VM's configuration; large, so not for a stack
 * @type:          which machine
 * @name:          of the VM: paths_name_ok
 * @uuid:          not nil
 * @ncpus:         1 to LIMIT_CPUS
 * @cpu_model:     riscv: the riscv,isa string; x86: as --cpu has it; compared at a restore
 * @timebase_hz:   of the guest's clock, 1 to 10^10; x86: of its TSC, a multiple of 1000
 * @ncpuid:        entries of @cpuid
 * @nmsrs:         entries of @msrs
 * @xsave_bytes:   of a vCPU's XSAVE area
 * @cpuid:         what the guest was told it has; ascending by leaf and index
 * @msrs:          numbers of those that are saved, ascending
 * @on_reboot:     what a reset by the guest does
 * @append:        kernel command line
 * @stopped:       read from STATE: a user had stopped the VM
 * @reset_pending: likewise: the guest has asked for a reset that is yet to be done
 * @nregions:      entries of @regions, 1 or more
 * @ndevices:      entries of @devices
 * @nhosts:        entries of @hosts
 *
 * CPUID, MSRs and @xsave_bytes are x86's, and 0 on other machines.
 */
struct machine {
	enum machine_type     type;
	char                  name[VM_NAME_MAX + 1];
	struct uuid           uuid;
	uint32_t              ncpus;
	char                  cpu_model[128];
	uint64_t              timebase_hz;
	uint32_t              ncpuid, nmsrs;
	uint32_t              xsave_bytes;
	struct machine_cpuid  cpuid[LIMIT_CPUID];
	uint32_t              msrs[LIMIT_MSRS];
	enum reboot_policy    on_reboot;
	char                  append[2048];
	bool                  stopped;
	bool                  reset_pending;
	uint32_t              nregions, ndevices, nhosts;
	struct machine_region regions[LIMIT_REGIONS];
	struct machine_device devices[LIMIT_DEVICES];
	struct machine_host   hosts[LIMIT_HOSTS];
};

/* NULL: there is none. */
struct machine_host *machine_host_find(const struct machine *m, const char *name);
const struct machine_region *machine_region_find(const struct machine *m, uint32_t id);

/* The tree node's name of a device: "virtio-blk@10001000". */
#define MACHINE_NODE_MAX 64
void machine_device_node(const struct machine_device *d, char out[MACHINE_NODE_MAX]);

/* Where the state of a live machine is: each callback fills at most max sections of its owner and
 * returns how many it has; NULL: none. arg is passed through. */
struct machine_sections {
	size_t (*vm_sections)(void *arg, struct state_section *out, size_t max);
	size_t (*cpu_sections)(void *arg, uint32_t cpu, struct state_section *out, size_t max);
	size_t (*device_sections)(void *arg, uint32_t device, struct state_section *out,
				  size_t max);
	void    *arg;
	bool     stopped;        /* its user has stopped the VM */
	bool     reset_pending;  /* its guest waits for a reset; stopped is set then, too */
};
/* Of one device or CPU: an interrupt controller has one a CPU, and a few. */
#define MACHINE_SECTIONS_MAX (LIMIT_CPUS + 8)

/**
 * machine_write - make a CONFIG tree
 * @m:        the machine; disks' facts, stopped and reset_pending are not of the configuration
 * @buf:      aligned to 8 bytes
 * @capacity: of @buf; more than LIMIT_TREE_BYTES is not used
 * @len:      out, bytes of the finished FDT blob
 * @why:      FAIL_CORRUPT, FAIL_LIMIT: @m is not valid; FAIL_LIMIT: does not fit
 */
int machine_write(const struct machine *m, void *buf, size_t capacity, size_t *len,
		  struct fail *why);

/**
 * machine_write_state - make a STATE tree
 * @m:        the machine, with the facts of its disks
 * @sections: its state
 * @buf:      aligned to 8 bytes
 * @capacity: of @buf; more than LIMIT_TREE_BYTES is not used
 * @len:      out, bytes of the finished FDT blob
 * @why:      as machine_write; FAIL_REFUSED: a value that a load would refuse; FAIL_VERSION:
 *            sections that are not those of the owner
 */
int machine_write_state(const struct machine *m, const struct machine_sections *sections,
			void *buf, size_t capacity, size_t *len, struct fail *why);

/**
 * machine_read - read a hostile CONFIG tree
 * @m:   out; untouched after a failure
 * @fdt: the blob, of any alignment
 * @len: its size, at most LIMIT_TREE_BYTES
 * @why: FAIL_CORRUPT, FAIL_VERSION, FAIL_LIMIT
 *
 * Checks the blob, every count, range and overlap, and skips nodes and properties it does not know.
 * What only STATE has is refused.
 */
int machine_read(struct machine *m, const void *fdt, size_t len, struct fail *why);

/**
 * machine_read_state - read the facts of the pause from a hostile STATE tree
 * @m:   in, the machine that CONFIG describes; out, the same with stopped, reset_pending and the
 *       facts of its disks; untouched after a failure
 * @fdt: the blob, of any alignment
 * @len: its size, at most LIMIT_TREE_BYTES
 * @why: FAIL_CORRUPT, FAIL_VERSION, FAIL_LIMIT
 *
 * Refuses a tree that repeats CONFIG, names what CONFIG does not have, or lacks a section that an
 * owner must have (docs/format.md 8, "Agreement"). What is in the sections is not looked at.
 */
int machine_read_state(struct machine *m, const void *fdt, size_t len, struct fail *why);

/**
 * machine_load_state - load the state nodes of a hostile STATE tree, all of them or none
 * @m:        the machine that is loaded into, as CONFIG describes it
 * @sections: where each owner's state is: the sections that belong to it, no more and no less
 *            (machine_required_sections)
 * @fdt:      the blob
 * @len:      its size
 * @why:      FAIL_CORRUPT, FAIL_VERSION, FAIL_LIMIT: nothing was loaded
 */
int machine_load_state(const struct machine *m, const struct machine_sections *sections,
		       const void *fdt, size_t len, struct fail *why);
/* The same, loaded into nothing: could a machine that is like m be restored from it? */
int machine_check_state(const struct machine *m, const void *fdt, size_t len, struct fail *why);

/* What has state: the VM, each CPU, each device of m. Calls fn for each in this order with its node
 * in a checked STATE tree, and its name for messages; one pass. Stops with -1 when fn does. A CPU
 * that is missing, and one or a device that m does not have, is FAIL_CORRUPT; of a device that is
 * missing the node is -1. */
enum machine_owner { OWNER_VM, OWNER_CPU, OWNER_DEVICE };
typedef int machine_owner_fn(void *arg, enum machine_owner kind, uint32_t i, int node,
			     const char *where, struct fail *why);
int machine_owners(const struct machine *m, const void *fdt, machine_owner_fn *fn, void *arg,
		   struct fail *why);

/* The sections that belong to an owner, nodes and tables, s NULL. A device type that is not known
 * is FAIL_VERSION. */
int machine_required_sections(const struct machine *m, enum machine_owner kind, uint32_t i,
			      struct state_section out[MACHINE_SECTIONS_MAX], size_t *n,
			      struct fail *why);

/* FAIL_VERSION: they differ in what a restore cannot bridge (type, CPU model, CPUs, clock, regions,
 * devices); the message says how, a being here and b there. */
int machine_same_shape(const struct machine *a, const struct machine *b, struct fail *why);

#endif
