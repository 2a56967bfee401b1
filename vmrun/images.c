#include "vmrun/images.h"

#include "format/images.h"
#include "libcommon/io.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static const uint8_t images_nil[16];

static int images_read(const struct machine_host *h, uint8_t **out, size_t *len, struct fail *why)
{
	int fd, rc;

	if (h->cls == HOST_INITRD)
		return initrd_read(h->path, out, len, why);
	fd = open(h->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_sys(why, "%s", h->path);
	rc = io_slurp(fd, out, len, IMAGE_MAX_BYTES, h->path, why);
	close(fd);
	return rc;
}

static int images_missing(const char *vm, const char *name, struct fail *why)
{
	return fail_set(why, FAIL_REFUSED, "%s: not at hand: give it with 'vmrun ctl %s set-boot %s=PATH'", name, vm, name);
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
	fail_set(why, FAIL_REFUSED, "%s: %s has none", name, vm->cfg.name);
	return NULL;
}

int images_adopt(struct vm *vm, const char *name, uint8_t *data, size_t len, struct fail *why)
{
	struct machine_host *h = images_find(vm, name, why);
	XXH128_canonical_t   digest;
	uint8_t            **slot;
	size_t              *slot_len;

	if (!h) {
		free(data);
		return -1;
	}
	XXH128_canonicalFromHash(&digest, XXH3_128bits(data, len));
	if (memcmp(h->digest, images_nil, sizeof(images_nil)) && (h->size != len || memcmp(h->digest, digest.digest, sizeof(h->digest)))) {
		free(data);
		return fail_set(why, FAIL_REFUSED, "%s: not the one that the VM was started with", name);
	}
	h->size = len;
	memcpy(h->digest, digest.digest, sizeof(h->digest));
	slot = images_slot(vm, h, &slot_len);
	free(*slot);
	*slot     = data;
	*slot_len = len;
	return 0;
}

int images_load(struct vm *vm, const char *name, struct fail *why)
{
	struct machine_host *h = machine_host_find(&vm->cfg, name);
	struct stat          st;
	uint8_t             *data;
	size_t               len;

	if (!h || !h->path[0])
		return images_missing(vm->cfg.name, name, why);
	if (images_read(h, &data, &len, why))
		return fail_prefix(why, "%s: ", name);
	if (images_adopt(vm, name, data, len, why))
		return fail_set(why, FAIL_REFUSED, "%s: %.120s is not what the VM was started with: give that with --%s, or 'vmrun ctl %s set-boot %s=PATH'",
				name, h->path, name, vm->cfg.name, name);
	if (stat(h->path, &st) == 0)
		h->mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
	return 0;
}

int images_need(struct vm *vm, struct fail *why)
{
	if (!vm->images.kernel && images_load(vm, "kernel", why))
		return -1;
	if (!vm->images.initrd && machine_host_find(&vm->cfg, "initrd") && images_load(vm, "initrd", why))
		return -1;
	return 0;
}

/* A kernel is the file itself, an initrd may have been packed from a folder. */
static bool images_file_there(const struct machine_host *h)
{
	struct stat st;

	if (!h || !h->path[0] || stat(h->path, &st))
		return false;
	return h->cls == HOST_KERNEL ? S_ISREG(st.st_mode) && (uint64_t)st.st_size == h->size : S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
}

int images_at_hand(const struct vm *vm, struct fail *why)
{
	const struct machine_host *initrd = machine_host_find(&vm->cfg, "initrd");

	if (!vm->images.kernel && !images_file_there(machine_host_find(&vm->cfg, "kernel")))
		return images_missing(vm->cfg.name, "kernel", why);
	if (!vm->images.initrd && initrd && !images_file_there(initrd))
		return images_missing(vm->cfg.name, "initrd", why);
	return 0;
}

int images_give(struct vm *vm, const char *name, int *fd, size_t *len, struct fail *why)
{
	struct machine_host *h = images_find(vm, name, why);
	uint8_t            **slot;
	size_t              *slot_len;

	if (!h)
		return -1;
	slot = images_slot(vm, h, &slot_len);
	if (!*slot && images_load(vm, name, why))
		return -1;
	*fd  = io_memfd("vmferry-image", *slot, *slot_len, why);
	*len = *slot_len;
	return *fd < 0 ? -1 : 0;
}

int images_take(struct vm *vm, const char *name, int fd, size_t len, struct fail *why)
{
	uint8_t *data;

	if (len == 0 || len > IMAGE_MAX_BYTES)
		return fail_set(why, FAIL_LIMIT, "%s: %zu bytes", name, len);
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

void images_close(struct vm *vm)
{
	free(vm->images.kernel);
	free(vm->images.initrd);
	vm->images = (struct boot_images){ 0 };
}
