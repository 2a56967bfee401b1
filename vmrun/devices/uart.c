/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/device_list.h"

#include "format/state/state_uart.h"
#include "libcommon/text.h"
#include "vmrun/host/chardev.h"

#include <jansson.h>
#include <string.h>

/* A 16550A, registers a byte apart. Sending takes no time; what the host does not take keeps the
 * transmitter busy. The receive timeout is over at once: a FIFO below its trigger level interrupts
 * as "character timeout". */

enum { UART_RBR_THR, UART_IER, UART_IIR_FCR, UART_LCR, UART_MCR, UART_LSR, UART_MSR, UART_SCR };

#define IER_RX     0x01u
#define IER_THRE   0x02u
#define IER_LINE   0x04u
#define IER_MODEM  0x08u

#define IIR_NONE    0x01u
#define IIR_MODEM   0x00u
#define IIR_THRE    0x02u
#define IIR_RX      0x04u
#define IIR_LINE    0x06u
#define IIR_TIMEOUT 0x0cu
#define IIR_FIFO    0xc0u

#define FCR_ENABLE   0x01u
#define FCR_CLEAR_RX 0x02u
#define FCR_KEPT     0xc9u      /* enable, DMA mode, trigger level */

#define LCR_DLAB 0x80u

#define MCR_DTR  0x01u
#define MCR_RTS  0x02u
#define MCR_OUT1 0x04u
#define MCR_OUT2 0x08u
#define MCR_LOOP 0x10u

#define LSR_DATA   0x01u
#define LSR_OVERRUN 0x02u
#define LSR_THRE   0x20u
#define LSR_TEMT   0x40u

#define MSR_CTS 0x10u
#define MSR_DSR 0x20u
#define MSR_RI  0x40u
#define MSR_DCD 0x80u

struct uart {
	struct device     d;
	struct uart_state s;
	struct chardev   *chardev;
	bool              paused;
	bool              line;
	uint64_t          bytes_in, bytes_out, interrupts;
};

static uint32_t uart_capacity(const struct uart *u)
{
	return u->s.fcr & FCR_ENABLE ? UART_FIFO : 1;
}

static uint32_t uart_trigger(const struct uart *u)
{
	static const uint8_t levels[4] = { 1, 4, 8, 14 };

	return u->s.fcr & FCR_ENABLE ? levels[u->s.fcr >> 6] : 1;
}

/* The highest reason for an interrupt, as IIR tells it. */
static uint8_t uart_reason(const struct uart *u)
{
	if (u->s.ier & IER_LINE && u->s.lsr_errors)
		return IIR_LINE;
	if (u->s.ier & IER_RX && u->s.rx_len)
		return u->s.rx_len >= uart_trigger(u) ? IIR_RX : IIR_TIMEOUT;
	if (u->s.ier & IER_THRE && u->s.thre_pending)
		return IIR_THRE;
	if (u->s.ier & IER_MODEM && u->s.msr & 0x0f)
		return IIR_MODEM;
	return IIR_NONE;
}

static void uart_update(struct uart *u)
{
	bool line = uart_reason(u) != IIR_NONE;

	if (line && !u->line)
		u->interrupts++;
	u->line = line;
	irq_line_set(&u->d.irq, line);
}

static bool uart_thr_empty(struct uart *u)
{
	return u->s.mcr & MCR_LOOP || chardev_capacity(u->chardev);
}

/* What was written has left the transmitter, unless the host takes no more just now. */
static void uart_sent(struct uart *u)
{
	bool empty = uart_thr_empty(u);

	u->s.thre_pending = empty;
	u->s.thre_owed    = !empty;
}

static void uart_receive_byte(struct uart *u, uint8_t b)
{
	if (u->s.rx_len >= uart_capacity(u)) {
		u->s.lsr_errors |= LSR_OVERRUN;
		/* The FIFO keeps what it has, the holding register takes the new byte. */
		if (u->s.fcr & FCR_ENABLE)
			return;
		u->s.rx_len = 0;
	}
	u->s.rx[u->s.rx_len++] = b;
}

static size_t uart_drop(struct uart *u, uint8_t *data, size_t len)
{
	size_t n = len < u->s.rx_len ? len : u->s.rx_len;

	if (data)
		memcpy(data, u->s.rx, n);
	memmove(u->s.rx, u->s.rx + n, UART_FIFO - n);
	memset(u->s.rx + UART_FIFO - n, 0, n);
	u->s.rx_len -= (uint32_t)n;
	chardev_ready(u->chardev);
	return n;
}

/* The modem lines: a terminal is always there; looped back they follow MCR. */
static void uart_modem(struct uart *u)
{
	uint8_t now = MSR_DCD | MSR_DSR | MSR_CTS, was = u->s.msr & 0xf0u, delta;

	if (u->s.mcr & MCR_LOOP)
		now = (uint8_t)((u->s.mcr & MCR_RTS ? MSR_CTS : 0) |
				(u->s.mcr & MCR_DTR ? MSR_DSR : 0) |
				(u->s.mcr & MCR_OUT1 ? MSR_RI : 0) |
				(u->s.mcr & MCR_OUT2 ? MSR_DCD : 0));
	delta = (uint8_t)((now ^ was) >> 4);
	if (!(was & MSR_RI) || now & MSR_RI)     /* of RI only the trailing edge counts */
		delta &= 0x0bu;
	u->s.msr = (uint8_t)(now | (u->s.msr & 0x0fu) | delta);
}

static uint64_t uart_read(struct device *d, uint64_t at, unsigned size)
{
	struct uart *u = (struct uart *)d;
	uint8_t      v = 0;

	(void)size;
	switch (at) {
	case UART_RBR_THR:
		if (u->s.lcr & LCR_DLAB)
			return u->s.dll;
		uart_drop(u, &v, 1);
		break;
	case UART_IER:
		return u->s.lcr & LCR_DLAB ? u->s.dlm : u->s.ier;
	case UART_IIR_FCR:
		v = uart_reason(u);
		if (v == IIR_THRE)
			u->s.thre_pending = false;
		v |= u->s.fcr & FCR_ENABLE ? IIR_FIFO : 0;
		break;
	case UART_LCR:
		return u->s.lcr;
	case UART_MCR:
		return u->s.mcr;
	case UART_LSR:
		v = (uint8_t)(u->s.lsr_errors | (u->s.rx_len ? LSR_DATA : 0) |
			      (uart_thr_empty(u) ? LSR_THRE | LSR_TEMT : 0));
		u->s.lsr_errors = 0;
		break;
	case UART_MSR:
		v = u->s.msr;
		u->s.msr &= 0xf0u;
		break;
	case UART_SCR:
		return u->s.scr;
	default:
		return 0;
	}
	uart_update(u);
	return v;
}

static void uart_write_thr(struct uart *u, uint8_t b)
{
	if (u->s.mcr & MCR_LOOP) {
		uart_receive_byte(u, b);
	} else {
		chardev_write(u->chardev, &b, 1);
		u->bytes_out++;
	}
	uart_sent(u);
}

static void uart_write_fcr(struct uart *u, uint8_t v)
{
	/* Switching the FIFO on or off empties it, as the bit that says so does. The other bits
	 * count only when it is on. */
	if ((v ^ u->s.fcr) & FCR_ENABLE || (v & FCR_ENABLE && v & FCR_CLEAR_RX))
		uart_drop(u, NULL, UART_FIFO);
	u->s.fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
}

static void uart_write(struct device *d, uint64_t at, unsigned size, uint64_t value)
{
	struct uart *u = (struct uart *)d;
	uint8_t      v = (uint8_t)value;

	(void)size;
	switch (at) {
	case UART_RBR_THR:
		if (u->s.lcr & LCR_DLAB)
			u->s.dll = v;
		else
			uart_write_thr(u, v);
		break;
	case UART_IER:
		if (u->s.lcr & LCR_DLAB) {
			u->s.dlm = v;
			break;
		}
		/* Switched on while the transmitter is empty: it says so at once. */
		if (v & ~u->s.ier & IER_THRE)
			uart_sent(u);
		u->s.ier = v & 0x0fu;
		break;
	case UART_IIR_FCR:
		uart_write_fcr(u, v);
		break;
	case UART_LCR:
		u->s.lcr = v;
		break;
	case UART_MCR:
		u->s.mcr = v & 0x1fu;
		uart_modem(u);
		chardev_ready(u->chardev);     /* the loop may have been left */
		break;
	case UART_SCR:
		u->s.scr = v;
		break;
	default:
		return;
	}
	uart_update(u);
}

/* --- the host's side: main thread, no lock --- */

static size_t uart_receive(void *arg, const uint8_t *data, size_t len)
{
	struct uart *u = arg;
	size_t       n = 0;

	device_lock(&u->d);
	/* Looped back, the wire is cut off; it is offered again when the guest reads or leaves the
	 * loop. */
	while (n < len && !u->paused && !(u->s.mcr & MCR_LOOP) && u->s.rx_len < uart_capacity(u))
		uart_receive_byte(u, data[n++]);
	if (n) {
		u->bytes_in += n;
		uart_update(u);
	}
	device_unlock(&u->d);
	return n;
}

static void uart_writable(void *arg)
{
	struct uart *u = arg;

	device_lock(&u->d);
	if (!u->paused && u->s.thre_owed) {
		uart_sent(u);
		uart_update(u);
	}
	device_unlock(&u->d);
}

static void uart_quit(void *arg)
{
	device_event(&((struct uart *)arg)->d, VM_EVENT_QUIT);
}

/* Passes the registers by. Waits for the host: firmware calls have no flow control, so what the
 * host does not take would be lost. */
static void uart_console_write(struct device *d, const uint8_t *data, size_t len)
{
	struct chardev *c = ((struct uart *)d)->chardev;

	chardev_wait(c);
	chardev_write(c, data, len);
}

/* Out of the receive FIFO, so that each byte is read once, whichever way the guest reads it. */
static size_t uart_console_read(struct device *d, uint8_t *data, size_t len)
{
	struct uart *u = (struct uart *)d;
	size_t       n = uart_drop(u, data, len);

	uart_update(u);
	return n;
}

/* --- life --- */

static int uart_open(struct device *d, struct fail *why)
{
	struct uart               *u    = (struct uart *)d;
	const struct machine_host *host = device_resource(d);
	struct chardev_ops         ops  = { .receive = uart_receive, .quit = uart_quit,
					    .writable = uart_writable, .arg = u };

	u->paused = true;      /* until the first resume */
	if (host && host->cls != HOST_SERIAL)
		return fail_set(why, FAIL_USAGE, "%s: %s is not a serial port", d->node,
				d->cfg.host);
	return chardev_open(&u->chardev, host ? host->path : "none", d->host->loop, &ops, why);
}

static void uart_reset(struct device *d)
{
	struct uart *u = (struct uart *)d;

	u->s = (struct uart_state){ .msr = MSR_DCD | MSR_DSR | MSR_CTS, .dll = 0x0c };
	uart_update(u);
}

static size_t uart_sections(struct device *d, struct state_section *out, size_t max)
{
	if (max == 0)
		return 0;
	out[0] = (struct state_section){ .node = "uart", .table = &uart_state_table,
					 .s = &((struct uart *)d)->s };
	return 1;
}

static int uart_post_load(struct device *d, struct fail *why)
{
	(void)why;
	uart_update((struct uart *)d);
	return 0;
}

static int uart_pause(struct device *d, struct fail *why)
{
	(void)why;
	((struct uart *)d)->paused = true;
	return 0;
}

static int uart_resume(struct device *d, struct fail *why)
{
	struct uart *u = (struct uart *)d;

	(void)why;
	u->paused = false;
	if (u->s.thre_owed) {     /* this host may take what the one before did not */
		uart_sent(u);
		uart_update(u);
	}
	chardev_ready(u->chardev);
	return 0;
}

static void uart_counters(struct device *d, struct json_t *into)
{
	struct uart *u = (struct uart *)d;
	uint64_t     written, lost;

	chardev_counts(u->chardev, &written, &lost);
	json_object_set_new(into, "bytes-in", json_integer((json_int_t)u->bytes_in));
	json_object_set_new(into, "bytes-out", json_integer((json_int_t)u->bytes_out));
	json_object_set_new(into, "bytes-lost", json_integer((json_int_t)lost));
	json_object_set_new(into, "interrupts", json_integer((json_int_t)u->interrupts));
	json_object_set_new(into, "backend", text_json(chardev_where(u->chardev)));
}

static void uart_close(struct device *d)
{
	chardev_close(((struct uart *)d)->chardev);
}

const struct device_ops uart_ops = {
	.type       = "ns16550a",
	.compatible = "ns16550a",
	.node       = "serial",
	.size       = sizeof(struct uart),
	.open       = uart_open,
	.reset      = uart_reset,
	.read       = uart_read,
	.write      = uart_write,
	.sections   = uart_sections,
	.post_load  = uart_post_load,
	.pause      = uart_pause,
	.resume     = uart_resume,
	.console_write = uart_console_write,
	.console_read  = uart_console_read,
	.counters   = uart_counters,
	.close      = uart_close,
};
