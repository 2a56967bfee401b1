/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_RTC_H
#define VMRUN_DEVICES_RTC_H

#include "vmrun/devices/device.h"

/* Goldfish RTC: the VM's real time in nanoseconds since 1970, settable, with an alarm. */
#define RTC_TYPE "goldfish-rtc"
extern const struct device_ops rtc_ops;

#endif
