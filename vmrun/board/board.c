/* SPDX-License-Identifier: MIT */
#include "vmrun/board/board.h"

#include "vmrun/devices/device_list.h"
#include "vmrun/devices/notifier.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

int board_check(const struct machine *cfg, struct fail *why)
{
	const struct board_ops *ops = board_type(cfg->type);

	if (!ops)
		return fail_set(why, FAIL_VERSION, "machine type not supported by this build");
	if (cfg->ndevices > LIMIT_DEVICES)
		return fail_set(why, FAIL_LIMIT, "number of devices exceeds the limit of %u",
				LIMIT_DEVICES);
	for (uint32_t i = 0; i < cfg->ndevices; i++) {
		const struct machine_device *d = &cfg->devices[i];

		if (!d->size || d->gpa > UINT64_MAX - d->size)
			return fail_set(why, FAIL_CORRUPT,
					"device %s: register window out of range: 0x%" PRIx64,
					d->type, d->gpa);
		for (uint32_t j = 0; j < i; j++) {
			const struct machine_device *o = &cfg->devices[j];

			if (d->gpa < o->gpa + o->size && o->gpa < d->gpa + d->size)
				return fail_set(why, FAIL_CORRUPT,
						"devices %s and %s: addresses overlap", d->type,
						o->type);
		}
		for (uint32_t j = 0; j < cfg->nregions; j++) {
			const struct machine_region *r = &cfg->regions[j];

			if (d->gpa < r->gpa + r->size && r->gpa < d->gpa + d->size)
				return fail_set(why, FAIL_CORRUPT,
						"device %s: address overlaps memory region %s",
						d->type, r->name);
		}
	}
	return ops->check(cfg, why);
}

const struct board_ops *board_type(enum machine_type type)
{
	for (const struct board_ops *const *o = board_list; *o; o++)
		for (const struct board_machine *m = (*o)->machines; m->fixed; m++)
			if (m->type == type)
				return *o;
	return NULL;
}

const struct board_ops *board_for_kernel(const uint8_t *head, size_t len)
{
	for (const struct board_ops *const *o = board_list; *o; o++)
		if ((*o)->kernel(head, len))
			return *o;
	return NULL;
}

int board_plan(struct machine *cfg, struct fail *why)
{
	const struct board_ops *ops = board_type(cfg->type);

	if (!ops)
		return fail_set(why, FAIL_USAGE, "machine type %s not supported by this build",
				machine_type_name(cfg->type));
	return ops->plan(cfg, why);
}

static void board_lock(struct board *b)
{
	pthread_mutex_lock(b->host->lock);
}

static void board_unlock(struct board *b)
{
	pthread_mutex_unlock(b->host->lock);
}

/* Devices may share an interrupt: it is high while any of them drives it. */
static void board_irq(void *arg, uint32_t number)
{
	struct board *b     = arg;
	bool          level = false;

	for (unsigned i = 0; i < b->ndevices && !level; i++)
		level = b->devices[i]->irq.level && b->devices[i]->irq.number == number;
	b->ops->irq(b, number, level);
}

static int board_open_device(struct board *b, const struct machine_device *cfg, struct fail *why)
{
	const struct device_ops *ops = device_type_find(cfg->type);
	struct device           *d;

	if (!ops)
		return fail_set(why, FAIL_VERSION, "device type '%s' not supported by this build",
				cfg->type);
	d = calloc(1, ops->size);
	if (!d)
		return fail_sys(why, "device %s", cfg->type);
	d->ops  = ops;
	d->host = b->host;
	d->cfg  = *cfg;
	d->irq  = (struct irq_line){ .changed = board_irq, .arg = b, .number = cfg->irq };
	machine_device_node(cfg, d->node);
	b->devices[b->ndevices++] = d;     /* before open: board_close closes a failed one too */
	if (ops == b->ops->irqchip && !b->irqchip)
		b->irqchip = d;
	if (ops->console_write && !b->console)
		b->console = d;
	return ops->open ? ops->open(d, why) : 0;
}

int board_open(struct board **out, const struct device_host *host, struct fail *why)
{
	struct board *b = calloc(1, sizeof(*b));

	*out = NULL;
	if (!b)
		return fail_sys(why, "board");
	b->ops  = board_type(host->cfg->type);
	b->host = host;
	for (uint32_t i = 0; i < host->cfg->ndevices; i++)
		if (board_open_device(b, &host->cfg->devices[i], why))
			goto fail;
	if (notifier_open(&b->notifier, host, b->devices, b->ndevices, why))
		goto fail;
	*out = b;
	return 0;
fail:
	board_close(b);
	return -1;
}

void board_close(struct board *b)
{
	if (!b)
		return;
	notifier_close(b->notifier);
	/* Backwards: devices that raise lines before their controller. */
	for (unsigned i = b->ndevices; i-- > 0; ) {
		if (b->devices[i]->ops->close)
			b->devices[i]->ops->close(b->devices[i]);
		free(b->devices[i]);
	}
	free(b);
}

struct device *board_device(const struct board *b, const struct device_ops *ops)
{
	for (unsigned i = 0; i < b->ndevices; i++)
		if (b->devices[i]->ops == ops)
			return b->devices[i];
	return NULL;
}

static struct device *board_find(struct board *b, uint64_t gpa, unsigned size)
{
	for (unsigned i = 0; i < b->ndevices; i++) {
		struct device *d = b->devices[i];

		if (gpa - d->cfg.gpa < d->cfg.size)
			return size <= d->cfg.size - (gpa - d->cfg.gpa) ? d : NULL;
	}
	return NULL;
}

bool board_mmio_read(struct board *b, uint64_t gpa, unsigned size, uint64_t *value)
{
	struct device *d = board_find(b, gpa, size);

	if (!d)
		return false;
	board_lock(b);
	*value = d->ops->read ? d->ops->read(d, gpa - d->cfg.gpa, size) : 0;
	board_unlock(b);
	return true;
}

bool board_mmio_write(struct board *b, uint64_t gpa, unsigned size, uint64_t value)
{
	struct device *d = board_find(b, gpa, size);

	if (!d)
		return false;
	board_lock(b);
	if (d->ops->write)
		d->ops->write(d, gpa - d->cfg.gpa, size, value);
	board_unlock(b);
	return true;
}

/* After a reset or load of the controller, which knows of no line then. */
static void board_lines(struct board *b)
{
	b->pins_known = 0;
	for (unsigned i = 0; i < b->ndevices; i++)
		irq_line_set(&b->devices[i]->irq, b->devices[i]->irq.level);
}

int board_boot(struct board *b, const struct boot_images *images, struct boot_entry *entry,
	       struct fail *why)
{
	board_reset(b);
	return b->ops->boot(b, images, entry, why);
}

void board_reset(struct board *b)
{
	board_lock(b);
	for (unsigned i = 0; i < b->ndevices; i++)
		b->devices[i]->ops->reset(b->devices[i]);
	board_lines(b);
	/* Last once more: lines that fell during the resets may have left requests behind. */
	if (b->irqchip)
		b->irqchip->ops->reset(b->irqchip);
	board_unlock(b);
}

int board_pause(struct board *b, struct fail *why)
{
	struct fail later;
	int         rc = 0;

	/* All of them, though one has failed: at the VM's end the others must be quiet too. */
	board_lock(b);
	for (unsigned i = 0; i < b->ndevices; i++)
		if (b->devices[i]->ops->pause &&
		    b->devices[i]->ops->pause(b->devices[i], rc ? &later : why))
			rc = -1;
	board_unlock(b);
	return rc;
}

int board_resume(struct board *b, struct fail *why)
{
	int rc = 0;

	board_lock(b);
	for (unsigned i = 0; i < b->ndevices && rc == 0; i++)
		if (b->devices[i]->ops->resume)
			rc = b->devices[i]->ops->resume(b->devices[i], why);
	board_unlock(b);
	return rc;
}

int board_post_load(struct board *b, struct fail *why)
{
	int rc;

	board_lock(b);
	rc = b->irqchip ? b->irqchip->ops->post_load(b->irqchip, why) : 0;
	for (unsigned i = 0; i < b->ndevices && rc == 0; i++)
		if (b->devices[i] != b->irqchip && b->devices[i]->ops->post_load)
			rc = b->devices[i]->ops->post_load(b->devices[i], why);
	if (rc == 0)
		board_lines(b);
	board_unlock(b);
	return rc;
}

int board_copied(struct board *b, struct fail *why)
{
	int rc = 0;

	board_lock(b);
	for (unsigned i = 0; i < b->ndevices && rc == 0; i++)
		if (b->devices[i]->ops->copied)
			rc = b->devices[i]->ops->copied(b->devices[i], why);
	if (rc == 0 && b->ops->copied)
		b->ops->copied(b);
	board_unlock(b);
	return rc;
}

bool board_button(struct board *b)
{
	if (!b->ops->button)
		return false;
	board_lock(b);
	b->ops->button(b);
	board_unlock(b);
	return true;
}

int board_own(struct board *b, bool own, struct fail *why)
{
	struct fail undo;
	int         rc = 0;

	board_lock(b);
	for (unsigned i = 0; i < b->ndevices && rc == 0; i++) {
		if (b->devices[i]->ops->own)
			rc = b->devices[i]->ops->own(b->devices[i], own, why);
		/* All or nothing. */
		for (unsigned j = 0; rc && own && j < i; j++)
			if (b->devices[j]->ops->own)
				b->devices[j]->ops->own(b->devices[j], false, &undo);
	}
	board_unlock(b);
	return rc;
}

void board_console_write(struct board *b, const uint8_t *data, size_t len)
{
	if (!b->console)
		return;
	b->console->ops->console_write(b->console, data, len);
}

size_t board_console_read(struct board *b, uint8_t *data, size_t len)
{
	size_t n;

	if (!b->console)
		return 0;
	board_lock(b);
	n = b->console->ops->console_read(b->console, data, len);
	board_unlock(b);
	return n;
}
