/* SPDX-License-Identifier: MIT */
#include "vmrun/boot/image_pieces.h"

#include "vmrun/boot/boot_images.h"
#include "vmrun/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Doubles the buffer, up to the size that is expected. */
static int image_pieces_capacity(struct image_gathered *g, const struct image_piece *piece,
			     struct fail *why)
{
	size_t   need     = g->len + piece->len;
	size_t   capacity = 2 * g->capacity > need ? 2 * g->capacity : need;
	uint8_t *more;

	if (g->len + piece->len <= g->capacity)
		return 0;
	if (capacity > piece->host->size)
		capacity = (size_t)piece->host->size;
	more = realloc(g->data, capacity);
	if (!more) {
		errno = ENOMEM;
		return fail_sys(why, "%s", piece->host->name);
	}
	g->data = more;
	g->capacity = capacity;
	return 0;
}

int image_pieces_take(struct image_pieces *p, const struct image_piece *piece, struct fail *why)
{
	unsigned which           = piece->host->cls == HOST_KERNEL ? IMAGE_KERNEL : IMAGE_INITRD;
	struct image_gathered *g = &p->v[which];
	struct image_gathered  whole;
	int                    rc;

	if (p->given[which])
		return 0;
	if (image_pieces_capacity(g, piece, why))
		return -1;
	memcpy(g->data + g->len, piece->bytes, piece->len);
	g->len += piece->len;
	if (!piece->last)
		return 0;
	whole = *g;
	*g    = (struct image_gathered){ 0 };
	pthread_mutex_lock(&p->vm->control_lock);
	rc = images_adopt(p->vm, piece->host->name, whole.data, whole.len, why);
	pthread_mutex_unlock(&p->vm->control_lock);
	return rc;
}

void image_pieces_close(struct image_pieces *p)
{
	for (unsigned i = 0; i < IMAGES_MAX; i++)
		free(p->v[i].data);
}
