/* SPDX-License-Identifier: MIT */
/* The 16550A: registers as Linux and the data sheet have them, and bytes between guest and host. */
#include "tests/unit/board_fake.h"

#include "format/state/state_uart.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define UART 0x10000000u
enum { RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static struct fake f;

static uint8_t get(unsigned reg) { return (uint8_t)rd(&f, UART + reg, 1); }
static void put(unsigned reg, uint8_t v) { wr(&f, UART + reg, 1, v); }

static int dial(const char *path)
{
	struct sockaddr_un a  = { .sun_family = AF_UNIX };
	int                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		printf("Bail out! connect\n");
		exit(1);
	}
	return fd;
}

static void registers(void)
{
	ok(get(IIR) == 0x01 && get(LSR) == 0x60 && get(MSR) == 0xb0,
	   "at power-on: nothing to tell, transmitter empty, line there");
	put(LCR, 0x80);
	put(RBR, 0x02);
	put(IER, 0x01);
	ok(get(RBR) == 0x02 && get(IER) == 0x01, "the divisor lies behind DLAB");
	put(LCR, 0x03);
	put(SCR, 0x5a);
	ok(get(IER) == 0 && get(SCR) == 0x5a && get(LCR) == 0x03, "and not before it");
	put(IER, 0x02);
	ok(get(IIR) == 0x02, "an empty transmitter interrupts when asked to");
	ok(get(IIR) == 0x01, "telling it takes it away");
	put(RBR, 'x');
	ok(get(IIR) == 0x02, "it is empty again behind each byte");
	put(IER, 0x00);
	put(IIR, 0x01);
	ok((get(IIR) & 0xc0) == 0xc0, "the FIFO shows in IIR");

	put(MCR, 0x1f);
	ok(get(MSR) == 0xf0 + 0x00 || (get(MSR) & 0xf0) == 0xf0,
	   "looped back, the modem lines follow MCR");
	put(MCR, 0x10);
	ok(get(MSR) == 0x0f, "and tell their changes, of RI the falling edge");
	ok(get(MSR) == 0x00, "once");
	for (int i = 0; i < 17; i++)
		put(RBR, (uint8_t)('a' + i));
	ok(get(LSR) == 0x63 && get(LSR) == 0x61, "the 17th byte is an overrun, told once");
	for (int i = 0; i < 16; i++)
		if (get(RBR) != 'a' + i)
			ok(false, "the FIFO keeps its order");
	ok(!(get(LSR) & 1), "16 bytes come out in order");
	put(RBR, 'z');
	put(IIR, 0x03);
	ok(!(get(LSR) & 1), "FCR empties the FIFO");
	put(MCR, 0x0b);
	get(MSR);
}

static void receiving(const char *path)
{
	char             sent[100], got[100];
	unsigned         n = 0, irqs = 0;
	int              fd = dial(path);
	struct fake_sections saved;
	struct fail      why;

	/* The wire to the PLIC: uart is source 10. */
	wr(&f, 0x0c000000 + 40, 4, 1);
	wr(&f, 0x0c002080, 4, 1u << 10);
	/* what the registers' test left behind */
	wr(&f, 0x0c201004, 4, rd(&f, 0x0c201004, 4));
	put(IIR, 0x81);      /* trigger at 8 */
	put(IER, 0x01);
	if (write(fd, "hey", 3) != 3)
		exit(1);
	ok(fake_wait_irq(&f, 5000) && f.line[0], "a byte typed interrupts");
	ok((get(IIR) & 0x0f) == 0x0c, "below the trigger level as a timeout");
	fake_save(&f, "ns16550a", &saved);
	ok(get(RBR) == 'h' && get(RBR) == 'e' && get(RBR) == 'y' && get(IIR) == 0xc1,
	   "three bytes are read");

	for (unsigned i = 0; i < sizeof(sent); i++)
		sent[i] = (char)('!' + i % 90);
	if (write(fd, sent, sizeof(sent)) != sizeof(sent))
		exit(1);
	while (n < sizeof(got)) {
		uint64_t irq;

		while ((irq = rd(&f, 0x0c201004, 4)))
			wr(&f, 0x0c201004, 4, irq);
		if (!f.line[0] && !(get(LSR) & 1) && !fake_wait_irq(&f, 5000))
			break;
		irqs++;
		if ((get(IIR) & 0x0f) != 0x04 && (get(IIR) & 0x0f) != 0x0c)
			break;
		while (n < sizeof(got) && get(LSR) & 1)
			got[n++] = (char)get(RBR);
	}
	ok(n == sizeof(got) && !memcmp(sent, got, sizeof(got)),
	   "100 bytes come through 16, none lost");
	ok(irqs >= 100 / 16, "the host waits while the FIFO is full");

	pthread_mutex_lock(&f.vm.machine_lock);
	f.vm.board->console->ops->pause(f.vm.board->console, &why);
	pthread_mutex_unlock(&f.vm.machine_lock);
	if (write(fd, "late", 4) != 4)
		exit(1);
	fake_run(&f, 100);
	ok(!(get(LSR) & 1), "nothing arrives while paused");
	board_resume(f.vm.board, &why);
	fake_run(&f, 100);
	ok(get(LSR) & 1 && get(RBR) == 'l', "it arrives after the pause");
	ok(board_console_read(f.vm.board, (uint8_t *)got, 10) == 3 && !memcmp(got, "ate", 3),
	   "the SBI console reads the same line");

	ok(fake_load(&f, "ns16550a", &saved, &why) == 0 && get(RBR) == 'h' && get(RBR) == 'e',
	   "a loaded FIFO goes on");
	((struct uart_state *)saved.data[0])->rx_len = UART_FIFO + 1;
	ok(fake_load(&f, "ns16550a", &saved, &why) == -1,
	   "more bytes than the FIFO holds are refused");

	put(RBR, 'o');
	board_console_write(f.vm.board, (const uint8_t *)"ut", 2);
	ok(read(fd, got, 3) == 3 && !memcmp(got, "out", 3),
	   "what the guest sends arrives, SBI's in order");
	close(fd);
	fake_run(&f, 50);
	put(RBR, 'x');
	fd = dial(path);
	fake_run(&f, 50);
	put(RBR, 'y');
	ok(read(fd, got, 1) == 1 && got[0] == 'y',
	   "a second client follows the first; nobody's text is dropped");
	close(fd);
}

int main(void)
{
	char           dir[] = "/tmp/uart_test.XXXXXX", path[64], spec[80];
	struct machine cfg;

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/line", dir);
	snprintf(spec, sizeof(spec), "unix:%s", path);
	fake_machine(&cfg);
	fake_serial(&cfg, "console", spec);
	fake_open(&f, &cfg);
	fake_start(&f);
	registers();
	receiving(path);
	fake_close(&f);
	ok(access(path, F_OK) != 0, "the socket is gone behind it");
	rmdir(dir);
	return done_testing();
}
