/* SPDX-License-Identifier: MIT */
#include "vmsnap/convert_images.h"

#include "libcommon/io.h"
#include "vmsnap/space.h"

#include <string.h>
#include <sys/mman.h>

static const char *const convert_images_names[IMAGES_MAX] = { "kernel", "initrd" };

void convert_images_open(struct convert_images *im, const struct destination *to)
{
	*im = (struct convert_images){ .to = to };
}

static struct convert_image *convert_images_find(struct convert_images *im, const char *name)
{
	for (unsigned i = 0; i < im->n; i++)
		if (!strcmp(im->v[i].name, name))
			return &im->v[i];
	return NULL;
}

/* An image begins. The reader has checked its name and its size against the configuration. */
static struct convert_image *convert_images_add(struct convert_images *im,
						const struct machine_host *h, struct fail *why)
{
	struct convert_image *one = &im->v[im->n];
	char                  what[TEMPORARY_WHAT];
	struct space          space;

	*one = (struct convert_image){ .len = h->size };
	for (unsigned i = 0; i < IMAGES_MAX; i++)
		if (!strcmp(convert_images_names[i], h->name))
			one->name = convert_images_names[i];
	one->fd = temporary_open(im->to, what, why);
	if (one->fd < 0)
		return NULL;
	im->n++;
	space_open(&space, one->fd, what, false);
	space.temporary = true;
	if (space_need(&space, one->len, why))
		return NULL;
	space_trim(&space, one->len);
	return one;
}

int convert_images_piece(struct convert_images *im, const struct image_piece *p, struct fail *why)
{
	struct convert_image *one = convert_images_find(im, p->host->name);

	if (!one)
		one = convert_images_add(im, p->host, why);
	return one ? io_pwrite(one->fd, p->bytes, p->len, p->at, p->host->name, why) : -1;
}

/* The file has no name and no other user: nobody truncates it, and reading it raises no SIGBUS. */
static int convert_images_map_one(const struct convert_image *one, struct save_image *out,
				  struct fail *why)
{
	*out = (struct save_image){ .name = one->name, .len = one->len };
	out->data = mmap(NULL, one->len, PROT_READ, MAP_SHARED, one->fd, 0);
	return out->data == MAP_FAILED ? fail_sys(why, "%s: map", one->name) : 0;
}

int convert_images_map(const struct convert_images *im, struct save_images *out, struct fail *why)
{
	for (unsigned i = 0; i < IMAGES_MAX; i++)
		for (unsigned k = 0; k < im->n; k++) {
			if (strcmp(im->v[k].name, convert_images_names[i]))
				continue;
			if (convert_images_map_one(&im->v[k], &out->v[out->n], why))
				return -1;
			out->n++;
		}
	return 0;
}

void convert_images_close(struct convert_images *im)
{
	for (unsigned i = 0; i < im->n; i++)
		io_close(&im->v[i].fd);
	im->n = 0;
}
