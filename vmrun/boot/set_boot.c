/* SPDX-License-Identifier: MIT */
#include "vmrun/boot/set_boot.h"

#include "vmrun/apart.h"
#include "vmrun/boot/boot_images.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int set_boot_path(const char *name, const char *path, struct fail *why)
{
	if (path[0] != '/')
		return fail_set(why, FAIL_USAGE, "%s: '%.160s': not an absolute path", name, path);
	if (strlen(path) >= sizeof(((struct machine_host *)0)->path))
		return fail_set(why, FAIL_USAGE, "%s: path longer than %zu characters", name,
				sizeof(((struct machine_host *)0)->path) - 1);
	return 0;
}

static int set_boot_image(struct machine *m, const char *name, enum host_class cls,
			  const char *path, uint8_t **data, size_t *len, struct fail *why)
{
	struct machine_host *h = machine_host_find(m, name);

	if (!path)
		return 0;
	if (set_boot_path(name, path, why))
		return -1;
	if (h && h->cls != cls)
		return fail_set(why, FAIL_REFUSED, "%s: duplicate name, already used by a %s", name,
				host_class_names[h->cls]);
	if (!h) {
		if (m->nhosts == LIMIT_HOSTS)
			return fail_set(why, FAIL_LIMIT,
					"number of host resources exceeds the limit of %u",
					LIMIT_HOSTS);
		h = &m->hosts[m->nhosts++];
	}
	*h = (struct machine_host){ .cls = cls, .readonly = true };
	snprintf(h->name, sizeof(h->name), "%s", name);
	snprintf(h->path, sizeof(h->path), "%s", path);
	return images_read_new(h, data, len, why);
}

static int set_boot_append(struct machine *m, const char *append, struct fail *why)
{
	if (!append)
		return 0;
	if (strlen(append) >= sizeof(m->append))
		return fail_set(why, FAIL_USAGE, "append: longer than %zu characters",
				sizeof(m->append) - 1);
	snprintf(m->append, sizeof(m->append), "%s", append);
	return 0;
}

static int set_boot_machine(const struct vm *vm, const char *path, const struct boot_images *images,
			    struct fail *why)
{
	const struct board_ops *board;
	size_t                  head = images->kernel_len;

	if (!images->kernel)
		return 0;
	if (head > BOARD_KERNEL_HEAD)
		head = BOARD_KERNEL_HEAD;
	board = board_for_kernel(images->kernel, head);
	if (board == vm->board->ops)
		return 0;
	if (board)
		return fail_set(why, FAIL_USAGE,
			"kernel: %.160s: machine type differs: the kernel is for %s, the VM is %s",
			path, machine_type_name(board->machines[0].type),
			machine_type_name(vm->cfg.type));
	return fail_set(why, FAIL_USAGE, "kernel: %.160s: not a kernel for machine %s", path,
			machine_type_name(vm->cfg.type));
}

/* New images, else those that the VM has; *all borrows them. */
static void set_boot_all(const struct vm *vm, const struct boot_images *got,
			 struct boot_images *all)
{
	*all = vm->images;
	if (got->kernel) {
		all->kernel     = got->kernel;
		all->kernel_len = got->kernel_len;
	}
	if (got->initrd) {
		all->initrd     = got->initrd;
		all->initrd_len = got->initrd_len;
	}
}

static int set_boot_try(const struct vm *vm, struct machine *m, const struct boot_given *given,
			struct boot_images *got, struct fail *why)
{
	struct boot_images all;

	if (set_boot_append(m, given->append, why) ||
	    set_boot_image(m, "kernel", HOST_KERNEL, given->kernel, &got->kernel,
			   &got->kernel_len, why) ||
	    set_boot_machine(vm, given->kernel, got, why) ||
	    set_boot_image(m, "initrd", HOST_INITRD, given->initrd, &got->initrd,
			   &got->initrd_len, why) ||
	    apart_from_hosts(m, why))
		return -1;
	set_boot_all(vm, got, &all);
	return vm->board->ops->bootable(m, &all, why);
}

/* The old image is left in *with, for the caller to free. */
static void set_boot_swap(uint8_t **data, size_t *len, uint8_t **with, size_t with_len)
{
	uint8_t *was = *data;

	if (!*with)
		return;
	*data = *with;
	*len  = with_len;
	*with = was;
}

/* Row by row: threads of devices read other rows at the same time. */
static void set_boot_put(struct vm *vm, const struct machine *m, struct boot_images *got)
{
	snprintf(vm->cfg.append, sizeof(vm->cfg.append), "%s", m->append);
	for (uint32_t i = 0; i < m->nhosts; i++)
		if (m->hosts[i].cls == HOST_KERNEL || m->hosts[i].cls == HOST_INITRD)
			vm->cfg.hosts[i] = m->hosts[i];
	vm->cfg.nhosts = m->nhosts;
	set_boot_swap(&vm->images.kernel, &vm->images.kernel_len, &got->kernel, got->kernel_len);
	set_boot_swap(&vm->images.initrd, &vm->images.initrd_len, &got->initrd, got->initrd_len);
}

int set_boot(struct vm *vm, const struct boot_given *given, struct fail *why)
{
	struct machine    *m   = malloc(sizeof(*m));
	struct boot_images got = { 0 };
	int                rc;

	if (!m) {
		errno = ENOMEM;
		return fail_sys(why, "set-boot");
	}
	*m = vm->cfg;
	rc = set_boot_try(vm, m, given, &got, why);
	if (rc == 0)
		set_boot_put(vm, m, &got);
	free(got.kernel);
	free(got.initrd);
	free(m);
	return rc;
}
