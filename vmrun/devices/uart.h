/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_UART_H
#define VMRUN_DEVICES_UART_H

#include "vmrun/devices/device.h"

/* A 16550A, registers a byte apart. Sending takes no time; what the host does not take keeps the
 * transmitter busy. The receive timeout is over at once: a FIFO below its trigger level interrupts
 * as "character timeout". */
#define UART_TYPE "ns16550a"
extern const struct device_ops uart_ops;

#endif
