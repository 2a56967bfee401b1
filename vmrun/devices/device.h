/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_DEVICE_H
#define VMRUN_DEVICES_DEVICE_H

#include "format/tree/field.h"
#include "format/tree/machine.h"
#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm;
struct json_t;

/* A device is one ops struct, listed once (list.c). All calls but open and close are made with vm->machine_lock held;
 * a device's own threads and loop callbacks take it before they touch device state. pause and resume drop it while
 * they wait. Guest mistakes are not failures: the device sets NEEDS_RESET, or ignores, and the VM runs on. */
struct device {
	const struct device_ops *ops;
	struct vm               *vm;
	struct machine_device    cfg;
	char                     node[MACHINE_NODE_MAX];     /* for messages and the tree */
	bool                     line;                       /* board_irq's: as the device drives it */
};

struct device_ops {
	const char *type;             /* machine_device.type: "ns16550a" */
	const char *compatible;       /* in the guest's device tree */
	const char *node;             /* likewise, the node's name (Devicetree Specification, 2.2.2); NULL: type */
	bool        virtio;           /* sits behind a virtio-mmio window */
	size_t      size;             /* of the device's struct, which begins with struct device; zeroed before open */

	int  (*open)(struct device *d, struct fail *why);             /* d->vm and d->cfg are set; host side by cfg.host */
	void (*reset)(struct device *d);                              /* power-on state; nothing in flight */
	uint64_t (*read)(struct device *d, uint64_t at, unsigned size);
	void (*write)(struct device *d, uint64_t at, unsigned size, uint64_t value);
	size_t (*sections)(struct device *d, struct state_section *out, size_t max);     /* what is saved, in place */
	int  (*post_load)(struct device *d, struct fail *why);           /* after load: relations to RAM, interrupt line raised anew */
	int  (*pause)(struct device *d, struct fail *why);            /* nothing in flight and no guest memory written after it */
	int  (*resume)(struct device *d, struct fail *why);           /* after pause or load: kicks queues again */
	int  (*own)(struct device *d, bool own, struct fail *why);    /* takes or hands over the host's locks (board_own); NULL for none */
	void (*counters)(struct device *d, struct json_t *into);      /* for vmferry-inspect; NULL for none */
	void (*close)(struct device *d);                              /* also after a failed open */
};

extern const struct device_ops *const device_types[];    /* list.c, NULL at the end */
const struct device_ops *device_type_find(const char *type);

#endif
