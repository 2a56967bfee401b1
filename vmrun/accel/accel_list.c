/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/accel.h"

/* In the order in which they are asked whether they can run a machine. */
const struct accel_ops *const accel_list[] = {
	&accel_soft_ops,
#if defined(__x86_64__)
	&accel_kvm_ops,
#endif
	NULL,
};
