/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_UART_H
#define VMRUN_DEVICES_UART_H

#include "vmrun/host/chardev.h"
#include "vmrun/devices/device.h"

/* A 16550A, registers a byte apart. Sending takes no time; what the host does not take keeps the transmitter busy. The
 * receive timeout is over at once: a FIFO below its trigger level interrupts as "character timeout". */
extern const struct device_ops uart_ops;

/* Its backend, for the SBI debug console, whose output passes the registers by; and what has been typed, taken out of
 * the receive FIFO, with machine_lock. */
struct chardev *uart_chardev(struct device *d);
size_t uart_take(struct device *d, uint8_t *data, size_t len);

#endif
