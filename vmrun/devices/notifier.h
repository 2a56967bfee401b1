/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_NOTIFIER_H
#define VMRUN_DEVICES_NOTIFIER_H

#include "vmrun/devices/device.h"

/* Queue notifications that do not stop the vCPU: where the accelerator can signal an eventfd
 * instead of leaving the guest, a thread of the board's takes the signals and serves the queues, as
 * the vCPU would have done. A signal that a pause leaves untaken is not state: resuming a device
 * looks at every queue anyway (virtio_resume). */
struct notifier;

/* For every queue of the board's virtio devices; *out NULL where the accelerator has no notify.
 * After the devices' open. */
int notifier_open(struct notifier **out, const struct device_host *host,
		  struct device *const *devices, unsigned ndevices, struct fail *why);
void notifier_close(struct notifier *n);      /* NULL allowed; before the devices' close */

#endif
