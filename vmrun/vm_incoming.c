/* SPDX-License-Identifier: MIT */
#include "vmrun/setup.h"

#include "libcommon/bytes.h"
#include "libcommon/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INCOMING_MAGIC 0xd00dfeedu     /* a flattened device tree */

/* The tree has its length in its header, so that the pipe need not be closed after it. */
static int incoming_tree(int fd, const char *what, uint8_t **out, size_t *len, struct fail *why)
{
	uint8_t head[8];
	size_t  total;

	if (io_read(fd, head, sizeof(head), what, why))
		return -1;
	total = get_be32(head + 4);
	if (get_be32(head) != INCOMING_MAGIC)
		return fail_at(why, FAIL_CORRUPT, 0, "%s: bad magic: not a VM tree", what);
	if (total < sizeof(head) || total > LIMIT_TREE_BYTES)
		return fail_at(why, FAIL_LIMIT, 4, "%s: invalid VM tree size: %zu bytes", what,
				total);
	*out = malloc(total);
	if (!*out) {
		errno = ENOMEM;
		return fail_sys(why, "%s: VM tree", what);
	}
	memcpy(*out, head, sizeof(head));
	*len = total;
	return io_read(fd, *out + sizeof(head), total - sizeof(head), what, why);
}

/* Written by a peer, whichever file it comes from. */
static const struct trust incoming_trust = { .why = "received from another host" };

int vm_incoming(struct vm **out, const struct options *o, struct loop *loop, struct fail *why)
{
	struct machine *m = malloc(sizeof(*m)), *recorded = malloc(sizeof(*recorded));
	uint8_t        *tree = NULL;
	size_t          len  = 0;
	int             fd = -1, rc = -1;

	if (!m || !recorded) {
		free(m);
		free(recorded);
		errno = ENOMEM;
		return fail_sys(why, "machine");
	}
	fd = setup_source(o->source, why);
	if (fd < 0)
		goto out;
	if (incoming_tree(fd, o->source, &tree, &len, why) || machine_read(m, tree, len, why))
		goto out;
	*recorded = *m;
	if (setup_overrides(m, o, &incoming_trust, why) || setup_apart(m, fd, "the tree", why) ||
	    setup_vm(out, m, o, loop, NULL, why))
		goto out;
	/* The state that is loaded later must go with it. */
	(*out)->recorded = recorded;
	recorded         = NULL;
	if (setup_images_given(*out, o, why))
		goto out;
	rc = 0;
out:
	io_close(&fd);
	free(tree);
	free(recorded);
	free(m);
	return rc;
}
