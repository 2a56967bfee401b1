/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_NOTIFIER_H
#define VMRUN_DEVICES_NOTIFIER_H

#include "vmrun/devices/device.h"

/* Queue notifications that do not stop the vCPU: where the accelerator can signal an eventfd
 * instead of leaving the guest, one thread of the board takes the signals and serves the queues as
 * the vCPU would have done. A signal that is not taken before a pause is not state: resuming a
 * device looks at every queue (virtio_resume). */
struct notifier;

/* For every queue of the virtio devices, after they were opened. *out NULL, and 0, where the
 * accelerator has no notify. */
int notifier_open(struct notifier **out, const struct device_host *host,
		  struct device *const *devices, unsigned ndevices, struct fail *why);
void notifier_close(struct notifier *n);      /* NULL allowed; before the devices' close */

#endif
