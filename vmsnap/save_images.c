/* SPDX-License-Identifier: MIT */
#include "vmsnap/save_images.h"

#include "libcommon/client/lease.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const save_images_names[IMAGES_MAX] = { "kernel", "initrd" };

/* vmrun has sealed the size of the file, so that reading the mapping raises no SIGBUS. */
static int save_images_map(struct save_image *one, int fd, struct fail *why)
{
	struct stat st;

	if (fstat(fd, &st))
		return fail_sys(why, "%s", one->name);
	if (st.st_size < 0 || (uint64_t)st.st_size < one->len)
		return fail_set(why, FAIL_PEER,
				"%s: size mismatch: vmrun announced %llu bytes, sent %llu",
				one->name, (unsigned long long)one->len,
				(unsigned long long)st.st_size);
	one->data = mmap(NULL, one->len, PROT_READ, MAP_SHARED, fd, 0);
	if (one->data == MAP_FAILED) {
		one->data = NULL;
		return fail_sys(why, "%s: map", one->name);
	}
	return 0;
}

static int save_images_fetch_one(struct save_images *im, struct lease *l,
				 const struct machine_host *h, const char *name, struct fail *why)
{
	struct save_image *one = &im->v[im->n];
	int                fd, rc;

	*one = (struct save_image){ .name = name };
	if (lease_image(l, name, &fd, &one->len, why)) {
		/* Why vmrun could not open it is its host's error; here vmrun has refused. */
		if (why->kind != FAIL_ENDED)
			why->kind = FAIL_PEER;
		return fail_prefix(why, "--with-images: ");
	}
	rc = one->len == h->size && image_known(h) ? save_images_map(one, fd, why) : 0;
	close(fd);
	if (rc)
		return -1;
	im->n += one->data != NULL;
	if (!one->data || !image_same(h, one->data, one->len))
		return fail_set(why, FAIL_PEER,
				"--with-images: %s: replaced in the meantime; try again", name);
	return 0;
}

int save_images_fetch(struct save_images *im, struct lease *l, const struct machine *m,
		      struct fail *why)
{
	for (unsigned i = 0; i < IMAGES_MAX; i++) {
		const struct machine_host *h = machine_host_find(m, save_images_names[i]);

		if (h && image_is(h) && save_images_fetch_one(im, l, h, save_images_names[i], why))
			return -1;
	}
	return 0;
}

uint64_t save_images_size(const struct save_images *im)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < im->n; i++)
		n += im->v[i].len;
	return n;
}

uint64_t save_images_space(const struct save_images *im)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < im->n; i++)
		n += image_chunks_bytes(im->v[i].len);
	return n;
}

int save_images_write(const struct save_images *im, struct snap_writer *w, struct fail *why)
{
	for (unsigned i = 0; i < im->n; i++)
		if (snap_writer_image(w, im->v[i].name, im->v[i].data, im->v[i].len, why))
			return -1;
	return 0;
}

void save_images_close(struct save_images *im)
{
	for (unsigned i = 0; i < im->n; i++)
		munmap(im->v[i].data, im->v[i].len);
	im->n = 0;
}
