/* SPDX-License-Identifier: MIT */
#include "libcommon/client/lease.h"

#include <assert.h>
#include <string.h>

const struct lease_kind_info lease_kinds[] = {
	/*                        name        title             exclusive  writes */
	[LEASE_KIND_READ]     = { "read",     "lease",          false,     false },
	[LEASE_KIND_LOG]      = { "log",      "logging lease",  true,      false },
	[LEASE_KIND_INCOMING] = { "incoming", "incoming lease", true,      true  },
};
static_assert(sizeof(lease_kinds) / sizeof(lease_kinds[0]) == LEASE_KINDS, "a kind has no row");

bool lease_kind_parse(enum lease_kind *kind, const char *name)
{
	for (int k = 0; k < LEASE_KINDS; k++)
		if (!strcmp(lease_kinds[k].name, name)) {
			*kind = (enum lease_kind)k;
			return true;
		}
	return false;
}
