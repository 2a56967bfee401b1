/* SPDX-License-Identifier: MIT */
#include "vmrun/boot/boot_images.h"

#include "format/snapshot/images.h"
#include "libcommon/io.h"
#include "vmrun/note.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static const uint8_t images_nil[16];

/* at_once: a FIFO or device, which could make us wait, is not opened at all. */
static int images_open(const struct machine_host *h, bool at_once, struct fail *why)
{
	struct stat st;
	int         fd;

	if (at_once) {
		if (stat(h->path, &st))
			return fail_sys(why, "%s", h->path);
		if (!S_ISREG(st.st_mode) && !(h->cls == HOST_INITRD && S_ISDIR(st.st_mode)))
			return fail_set(why, FAIL_USAGE, "%s: not a regular file%s", h->path,
					h->cls == HOST_INITRD ? " or directory" : "");
	}
	/* Non-blocking: the file may have been replaced by a FIFO since stat. */
	fd = open(h->path, O_RDONLY | O_CLOEXEC | (at_once ? O_NONBLOCK : 0));
	return fd < 0 ? fail_sys(why, "%s", h->path) : fd;
}

static int images_read(const struct machine_host *h, bool at_once, uint8_t **out, size_t *len,
		       struct fail *why)
{
	int fd = images_open(h, at_once, why);
	int rc;

	if (fd < 0)
		return -1;
	if (h->cls == HOST_INITRD)
		rc = initrd_read_fd(fd, h->path, out, len, why);
	else
		rc = io_slurp(fd, out, len, IMAGE_MAX_BYTES, h->path, why);
	close(fd);
	return rc;
}

static void images_digest(const uint8_t *data, size_t len, uint8_t out[16])
{
	XXH128_canonical_t digest;

	XXH128_canonicalFromHash(&digest, XXH3_128bits(data, len));
	memcpy(out, digest.digest, sizeof(digest.digest));
}

static void images_mtime(struct machine_host *h)
{
	struct stat st;

	if (stat(h->path, &st) == 0)
		h->mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u +
			      (uint64_t)st.st_mtim.tv_nsec;
}

int images_read_new(struct machine_host *h, uint8_t **out, size_t *len, struct fail *why)
{
	if (images_read(h, true, out, len, why))
		return fail_prefix(why, "%s: ", h->name);
	h->size = *len;
	images_digest(*out, *len, h->digest);
	images_mtime(h);
	return 0;
}

/* Names what is missing, and the command that provides it. */
static int images_missing(const struct vm *vm, bool kernel, bool initrd, struct fail *why)
{
	return fail_set(why, FAIL_REFUSED, "%s%s%s: not available: use 'vmrun ctl %s set-boot%s%s'",
			kernel ? "kernel" : "", kernel && initrd ? " and " : "",
			initrd ? "initrd" : "", vm->cfg.name,
			kernel ? " kernel=PATH" : "", initrd ? " initrd=PATH" : "");
}

static uint8_t **images_slot(struct vm *vm, const struct machine_host *h, size_t **len)
{
	bool kernel = h->cls == HOST_KERNEL;

	*len = kernel ? &vm->images.kernel_len : &vm->images.initrd_len;
	return kernel ? &vm->images.kernel : &vm->images.initrd;
}

static struct machine_host *images_find(struct vm *vm, const char *name, struct fail *why)
{
	struct machine_host *h = machine_host_find(&vm->cfg, name);

	if (h && image_is(h))
		return h;
	fail_set(why, FAIL_REFUSED, "%s: not configured for %s", name, vm->cfg.name);
	return NULL;
}

int images_adopt(struct vm *vm, const char *name, uint8_t *data, size_t len, struct fail *why)
{
	struct machine_host *h = images_find(vm, name, why);
	uint8_t              digest[16];
	uint8_t            **slot;
	size_t              *slot_len;

	if (!h) {
		free(data);
		return -1;
	}
	images_digest(data, len, digest);
	if (memcmp(h->digest, images_nil, sizeof(images_nil)) &&
	    (h->size != len || memcmp(h->digest, digest, sizeof(digest)))) {
		free(data);
		return fail_set(why, FAIL_REFUSED,
				"%s: digest mismatch: not the image that the VM was started with",
				name);
	}
	h->size = len;
	memcpy(h->digest, digest, sizeof(digest));
	slot = images_slot(vm, h, &slot_len);
	free(*slot);
	*slot     = data;
	*slot_len = len;
	return 0;
}

/* *advised: the failure names a remedy already. */
static int images_load_as(struct vm *vm, const char *name, bool at_once, bool *advised,
			  struct fail *why)
{
	struct machine_host *h = images_find(vm, name, why);
	uint8_t             *data;
	size_t               len;

	*advised = false;
	if (!h)
		return -1;
	*advised = true;
	if (!h->path[0])
		return images_missing(vm, h->cls == HOST_KERNEL, h->cls == HOST_INITRD, why);
	*advised = false;
	if (images_read(h, at_once, &data, &len, why))
		return fail_prefix(why, "%s: ", name);
	*advised = true;
	if (images_adopt(vm, name, data, len, why))
		return fail_set(why, FAIL_REFUSED,
			"%s: %.120s: digest mismatch: not the image that the VM was started with: "
			"use --%s, or 'vmrun ctl %s set-boot %s=PATH'",
			name, h->path, name, vm->cfg.name, name);
	images_mtime(h);
	return 0;
}

int images_load(struct vm *vm, const char *name, struct fail *why)
{
	bool advised;

	return images_load_as(vm, name, false, &advised, why);
}

/* For a running VM: never waits for a file. A failure names a remedy. */
static int images_reload(struct vm *vm, const char *name, struct fail *why)
{
	char text[400];
	bool advised;

	if (images_load_as(vm, name, true, &advised, why) == 0)
		return 0;
	fail_text(why, text, sizeof(text));
	if (advised)
		return fail_set(why, FAIL_REFUSED, "%s", text);
	return fail_set(why, FAIL_REFUSED, "%s: use 'vmrun ctl %s set-boot %s=PATH'", text,
			vm->cfg.name, name);
}

/* A kernel is the file itself; an initrd may have been packed from a folder, so its size tells
 * nothing. */
static bool images_file_there(const struct machine_host *h)
{
	struct stat st;

	if (!h || !h->path[0] || stat(h->path, &st))
		return false;
	if (h->cls == HOST_KERNEL)
		return S_ISREG(st.st_mode) && (uint64_t)st.st_size == h->size;
	return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
}

unsigned images_lacking(const struct vm *vm)
{
	const struct machine_host *kernel = machine_host_find(&vm->cfg, "kernel");
	const struct machine_host *initrd = machine_host_find(&vm->cfg, "initrd");
	unsigned                   lacks  = 0;

	if (!vm->images.kernel && !images_file_there(kernel))
		lacks |= 1u << HOST_KERNEL;
	if (!vm->images.initrd && initrd && !images_file_there(initrd))
		lacks |= 1u << HOST_INITRD;
	return lacks;
}

static int images_available(const struct vm *vm, struct fail *why)
{
	unsigned lacks = images_lacking(vm);

	if (!lacks)
		return 0;
	return images_missing(vm, lacks >> HOST_KERNEL & 1, lacks >> HOST_INITRD & 1, why);
}

void images_tell(const struct vm *vm)
{
	struct fail why;

	if (vm->cfg.on_reboot != REBOOT_EXIT && images_available(vm, &why))
		note("%s: %s; until then a reboot pauses the VM", vm->cfg.name, why.what);
}

int images_need(struct vm *vm, struct fail *why)
{
	if (images_available(vm, why) || (!vm->images.kernel && images_reload(vm, "kernel", why)))
		return -1;
	if (vm->images.initrd || !machine_host_find(&vm->cfg, "initrd"))
		return 0;
	return images_reload(vm, "initrd", why);
}

int images_give(struct vm *vm, const char *name, int *fd, size_t *len, struct fail *why)
{
	struct machine_host *h = images_find(vm, name, why);
	uint8_t            **slot;
	size_t              *slot_len;

	if (!h)
		return -1;
	slot = images_slot(vm, h, &slot_len);
	if (!*slot && images_reload(vm, name, why))
		return -1;
	*fd  = io_memfd("vmferry-image", *slot, *slot_len, why);
	*len = *slot_len;
	return *fd < 0 ? -1 : 0;
}

int images_take(struct vm *vm, const char *name, int fd, size_t len, struct fail *why)
{
	uint8_t *data;

	if (len == 0 || len > IMAGE_MAX_BYTES)
		return fail_set(why, FAIL_LIMIT, "%s: invalid size: %zu bytes", name, len);
	data = malloc(len);
	if (!data) {
		errno = ENOMEM;
		return fail_sys(why, "%s", name);
	}
	if (io_pread(fd, data, len, 0, name, why)) {
		free(data);
		return -1;
	}
	return images_adopt(vm, name, data, len, why);
}
