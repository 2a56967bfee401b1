/* SPDX-License-Identifier: MIT */
#include "vmrun/devices/device_list.h"

#include "format/state/state_i8042.h"

#include <jansson.h>

/* A PC's keyboard controller at ports 0x60 to 0x64 with no keyboard and no mouse: what guests use
 * to reset the machine, and enough answers for those who look for it not to wait. */

enum { I8042_DATA = 0, I8042_PORT_B = 1, I8042_COMMAND = 4 };      /* in its window of ports */

#define STATUS_FULL     0x01u
#define STATUS_SYSTEM   0x04u      /* as in the command byte */
#define STATUS_COMMAND  0x08u
#define STATUS_UNLOCKED 0x10u

#define COMMAND_READ_MODE   0x20u
#define COMMAND_WRITE_MODE  0x60u
#define COMMAND_AUX_OFF     0xa7u
#define COMMAND_AUX_ON      0xa8u
#define COMMAND_AUX_TEST    0xa9u
#define COMMAND_SELF_TEST   0xaau
#define COMMAND_KEY_TEST    0xabu
#define COMMAND_KEY_OFF     0xadu
#define COMMAND_KEY_ON      0xaeu
#define COMMAND_READ_PORT   0xd0u
#define COMMAND_WRITE_PORT  0xd1u
#define COMMAND_WRITE_KEY   0xd2u      /* as if the keyboard had sent it */
/* As if the mouse had; it is the looped-back byte that shows a mouse port. */
#define COMMAND_WRITE_AUX   0xd3u
#define COMMAND_SEND_AUX    0xd4u
#define COMMAND_PULSE       0xf0u      /* 0xf0 to 0xff: output lines with a 0 bit pulse low */

#define MODE_SYSTEM  0x04u
#define MODE_KEY_OFF 0x10u
#define MODE_AUX_OFF 0x20u

#define PORT_NO_RESET 0x01u
#define PORT_A20      0x02u

#define LINE_STUCK 0x01u      /* what a test of a port says where nothing is plugged in */

#define REFRESH      0x10u    /* port B: toggles with each memory refresh */
#define REFRESH_NS   15085u

struct i8042 {
	struct device      d;
	struct i8042_state s;
	uint64_t           resets;
};

static void i8042_answer(struct i8042 *k, uint8_t v)
{
	k->s.out  = v;
	k->s.full = true;
}

static void i8042_pulse(struct i8042 *k)
{
	k->resets++;
	device_event(&k->d, VM_EVENT_RESET);
}

static uint64_t i8042_read(struct device *d, uint64_t at, unsigned size)
{
	struct i8042 *k = (struct i8042 *)d;

	(void)size;
	switch (at) {
	case I8042_DATA:
		k->s.full = false;
		return k->s.out;
	case I8042_PORT_B:
		return device_clock_ns(d) / REFRESH_NS & 1 ? REFRESH : 0;
	case I8042_COMMAND:
		return STATUS_UNLOCKED | STATUS_COMMAND |
		       (k->s.mode & MODE_SYSTEM ? STATUS_SYSTEM : 0) |
		       (k->s.full ? STATUS_FULL : 0);
	default:
		return 0;
	}
}

static void i8042_command(struct i8042 *k, uint8_t command)
{
	k->s.command = 0;
	switch (command) {
	case COMMAND_READ_MODE:
		i8042_answer(k, k->s.mode);
		break;
	case COMMAND_SELF_TEST:
		k->s.mode |= MODE_SYSTEM;
		i8042_answer(k, 0x55);
		break;
	case COMMAND_KEY_TEST:
	case COMMAND_AUX_TEST:
		i8042_answer(k, LINE_STUCK);
		break;
	case COMMAND_READ_PORT:
		i8042_answer(k, PORT_NO_RESET | PORT_A20);
		break;
	case COMMAND_KEY_OFF:
		k->s.mode |= MODE_KEY_OFF;
		break;
	case COMMAND_KEY_ON:
		k->s.mode &= (uint8_t)~MODE_KEY_OFF;
		break;
	case COMMAND_AUX_OFF:
		k->s.mode |= MODE_AUX_OFF;
		break;
	case COMMAND_AUX_ON:
		k->s.mode &= (uint8_t)~MODE_AUX_OFF;
		break;
	case COMMAND_WRITE_MODE:
	case COMMAND_WRITE_PORT:
	case COMMAND_WRITE_KEY:
	case COMMAND_WRITE_AUX:
	case COMMAND_SEND_AUX:
		k->s.command = command;
		break;
	default:
		if (command >= COMMAND_PULSE && !(command & PORT_NO_RESET))
			i8042_pulse(k);
		break;
	}
}

/* A byte behind a command, or for the keyboard that is not there. */
static void i8042_data(struct i8042 *k, uint8_t v)
{
	uint8_t command = k->s.command;

	k->s.command = 0;
	switch (command) {
	case COMMAND_WRITE_MODE:
		k->s.mode = v;
		break;
	case COMMAND_WRITE_PORT:
		if (!(v & PORT_NO_RESET))
			i8042_pulse(k);
		break;
	case COMMAND_WRITE_KEY:
	/* Comes back on the keyboard's side: there is no port for a mouse. */
	case COMMAND_WRITE_AUX:
		i8042_answer(k, v);
		break;
	default:
		break;
	}
}

static void i8042_write(struct device *d, uint64_t at, unsigned size, uint64_t value)
{
	struct i8042 *k = (struct i8042 *)d;

	(void)size;
	if (at == I8042_COMMAND)
		i8042_command(k, (uint8_t)value);
	else if (at == I8042_DATA)
		i8042_data(k, (uint8_t)value);
}

static void i8042_reset(struct device *d)
{
	((struct i8042 *)d)->s = (struct i8042_state){ .mode = MODE_KEY_OFF | MODE_AUX_OFF };
}

static size_t i8042_sections(struct device *d, struct state_section *out, size_t max)
{
	if (max == 0)
		return 0;
	out[0] = (struct state_section){ .node = "i8042", .table = &i8042_state_table,
					 .s = &((struct i8042 *)d)->s };
	return 1;
}

static void i8042_counters(struct device *d, struct json_t *into)
{
	json_object_set_new(into, "resets", json_integer((json_int_t)((struct i8042 *)d)->resets));
}

const struct device_ops i8042_ops = {
	.type       = "i8042",
	.compatible = "i8042",
	.size       = sizeof(struct i8042),
	.reset      = i8042_reset,
	.read       = i8042_read,
	.write      = i8042_write,
	.sections   = i8042_sections,
	.counters   = i8042_counters,
};
