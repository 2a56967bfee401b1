/* SPDX-License-Identifier: MIT */
#include "vmmigrate/source_hello.h"

#include "libcommon/populated.h"
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
	uint64_t    first, end = 0;
	struct fail ignored;

	while (!ram->r.backing && m->nextents < MESSAGE_EXTENTS &&
	       populated_extent(ram->fd, ram->npages, end, &first, &end, &ignored) > 0)
		hello_extent(m, ram->r.id, first, end);
}

static uint64_t hello_populated(const struct lease_ram *ram)
{
	struct stat st;

	if (ram->r.backing)      /* as vmrun has counted */
		return ram->present_hint * PAGE_SIZE_4K;
	if (fstat(ram->fd, &st))
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
