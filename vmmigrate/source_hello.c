/* SPDX-License-Identifier: MIT */
#include "vmmigrate/source_hello.h"

#include "libcommon/version.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Holes smaller than this, 2 MiB, do not split an extent: a sparse region could otherwise have more
 * extents than fit. */
#define HELLO_GAP_PAGES 512u

static void hello_extent(struct message *m, uint64_t region, uint64_t first, uint64_t end)
{
	struct message_extent *last = m->nextents ? &m->extents[m->nextents - 1] : NULL;

	if (last && last->region == region &&
	    first - (last->first + last->count) < HELLO_GAP_PAGES)
		last->count = end - last->first;
	else
		m->extents[m->nextents++] = (struct message_extent){
			.region = region, .first = first, .count = end - first,
		};
}

/* Where a region's memory is populated. A hint: what does not fit the message is left out. */
static void hello_extents(struct message *m, const struct lease_ram *ram)
{
	off_t at = 0, end = (off_t)ram->r.size;

	while (!ram->r.backing && at < end && m->nextents < MESSAGE_EXTENTS) {
		off_t data = lseek(ram->fd, at, SEEK_DATA);
		off_t hole = data < 0 ? -1 : lseek(ram->fd, data, SEEK_HOLE);

		if (hole < 0)
			return;
		hello_extent(m, ram->r.id, (uint64_t)data / PAGE_SIZE_4K,
			     ((uint64_t)hole + PAGE_SIZE_4K - 1) / PAGE_SIZE_4K);
		at = hole;
	}
}

/* How much of a backing file belongs to the region is not known: all of it counts. */
static uint64_t hello_populated(const struct lease_ram *ram)
{
	struct stat st;

	if (ram->r.backing || fstat(ram->fd, &st))
		return ram->r.size;
	return (uint64_t)st.st_blocks * 512;
}

void source_hello(struct message *m, const struct source_hello *h)
{
	char ask[ADDRESS_TEXT_MAX];

	address_text(h->ask, ask);
	memset(m, 0, sizeof(*m));
	m->type       = MSG_HELLO;
	m->vm         = h->vm;
	m->move       = h->move;
	m->generation = h->generation;
	m->page_size  = PAGE_SIZE_4K;
	m->audit      = h->audit;
	snprintf(m->name, sizeof(m->name), "%s", h->name);
	snprintf(m->creator, sizeof(m->creator), "vmferry %s", VMFERRY_VERSION);
	snprintf(m->ask, sizeof(m->ask), "%.255s", ask);
	move_images_to_hello(h->images, m);
	if (h->audit)
		snprintf(m->features[m->nfeatures++], sizeof(m->features[0]), "audit");
	if (h->compressed)
		snprintf(m->features[m->nfeatures++], sizeof(m->features[0]), "zstd");
	for (uint32_t i = 0; i < h->lease->nrams; i++) {
		const struct lease_ram *ram = &h->lease->rams[i];

		hello_extents(m, ram);
		m->regions[m->nregions++] = (struct message_region){
			.id = ram->r.id, .size = ram->r.size, .populated = hello_populated(ram),
		};
	}
}
