#include "vmrun/images.h"

#include "libcommon/io.h"
#include "vmrun/vm.h"

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

int images_load(struct vm *vm, const char *name, struct fail *why)
{
	struct machine_host *h = machine_host_find(&vm->cfg, name);
	struct stat          st;
	uint8_t             *data;
	size_t               len;
	XXH128_canonical_t   digest;

	if (!h || !h->path[0])
		return fail_set(why, FAIL_REFUSED, "the %s is not at hand: give it with --%s", name, name);
	if (images_read(h, &data, &len, why))
		return fail_prefix(why, "%s: ", name);
	XXH128_canonicalFromHash(&digest, XXH3_128bits(data, len));
	if (memcmp(h->digest, images_nil, sizeof(images_nil)) && (h->size != len || memcmp(h->digest, digest.digest, sizeof(h->digest)))) {
		free(data);
		return fail_set(why, FAIL_REFUSED, "%s: %.120s is not what the VM was started with: give it with --%s", name, h->path, name);
	}
	h->size = len;
	memcpy(h->digest, digest.digest, sizeof(h->digest));
	if (stat(h->path, &st) == 0)
		h->mtime_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;

	if (h->cls == HOST_KERNEL) {
		free((void *)(uintptr_t)vm->images.kernel);
		vm->images.kernel     = data;
		vm->images.kernel_len = len;
	} else {
		free((void *)(uintptr_t)vm->images.initrd);
		vm->images.initrd     = data;
		vm->images.initrd_len = len;
	}
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

void images_close(struct vm *vm)
{
	free((void *)(uintptr_t)vm->images.kernel);
	free((void *)(uintptr_t)vm->images.initrd);
	vm->images = (struct boot_images){ 0 };
}
