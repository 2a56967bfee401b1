/* SPDX-License-Identifier: MIT */
/* Images of a snapshot on their way into a VM: what is allocated follows what has come. */
#include "tests/unit/tap.h"

#include "vmrun/boot/image_pieces.h"
#include "vmrun/boot/boot_images.h"
#include "vmrun/vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE_BYTES (5u << 20)

static uint8_t bytes[IMAGE_BYTES];

/* What the VM was given last. */
static char   adopted[64];
static bool   adopted_right, adopted_locked;
static size_t adopted_len;

int images_adopt(struct vm *vm, const char *name, uint8_t *data, size_t len, struct fail *why)
{
	(void)why;
	snprintf(adopted, sizeof(adopted), "%s", name);
	adopted_len    = len;
	adopted_right  = len <= IMAGE_BYTES && memcmp(data, bytes, len) == 0;
	adopted_locked = pthread_mutex_trylock(&vm->control_lock) != 0;
	free(data);
	return 0;
}

static struct image_piece piece_of(const struct machine_host *h, uint64_t at, size_t len)
{
	return (struct image_piece){
		.host = h, .at = at, .bytes = bytes + at, .len = len, .last = at + len == h->size
	};
}

int main(void)
{
	static struct vm          vm;
	const struct machine_host kernel = { .name = "kernel",
					     .cls  = HOST_KERNEL,
					     .size = LIMIT_IMAGE_BYTES };
	const struct machine_host initrd = { .name = "initrd",
					     .cls  = HOST_INITRD,
					     .size = IMAGE_BYTES };
	struct image_pieces       p      = { .vm = &vm };
	struct image_piece        piece;
	struct fail               why;
	bool                      good = true;

	pthread_mutex_init(&vm.control_lock, NULL);
	for (size_t i = 0; i < IMAGE_BYTES; i++)
		bytes[i] = (uint8_t)(i * 3 + i / 255);

	/* A kernel that claims the most there can be, and never comes to its end. */
	for (uint64_t at = 0; at < IMAGE_BYTES; at += 4096) {
		piece = piece_of(&kernel, at, 4096);
		good  = good && image_pieces_take(&p, &piece, &why) == 0 &&
		       p.v[IMAGE_KERNEL].len == at + 4096 &&
		       p.v[IMAGE_KERNEL].capacity <= 2 * (at + 4096);
	}
	ok(good && !adopted[0],
	   "never more than twice what has come is allocated, whatever size is claimed");

	for (uint64_t at = 0; at < IMAGE_BYTES; at += 300001) {
		piece = piece_of(&initrd, at,
				 IMAGE_BYTES - at < 300001 ? IMAGE_BYTES - at : 300001);
		good  = good && image_pieces_take(&p, &piece, &why) == 0 &&
		       p.v[IMAGE_INITRD].capacity <= IMAGE_BYTES && (piece.last || !adopted[0]);
	}
	ok(good && !strcmp(adopted, "initrd") && adopted_len == IMAGE_BYTES && adopted_right &&
		   !p.v[IMAGE_INITRD].data,
	   "the last piece makes the image the VM's, all of it; another's pieces between do not "
	   "matter");
	ok(adopted_locked, "under its control lock");
	image_pieces_close(&p);

	adopted[0] = '\0';
	p          = (struct image_pieces){ .vm = &vm, .given = { [IMAGE_INITRD] = true } };
	piece      = piece_of(&initrd, 0, IMAGE_BYTES);
	ok(image_pieces_take(&p, &piece, &why) == 0 && !adopted[0] && !p.v[IMAGE_INITRD].data,
	   "one that the user has given is not taken");
	image_pieces_close(&p);
	return done_testing();
}
