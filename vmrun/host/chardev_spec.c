/* SPDX-License-Identifier: MIT */
#include "vmrun/host/chardev_spec.h"

#include <stddef.h>
#include <string.h>

enum chardev_kind chardev_spec(const char *spec, const char **path)
{
	static const struct {
		const char       *text;
		enum chardev_kind kind;
	} specs[] = {
		{ "none",  CHARDEV_NONE  },
		{ "stdio", CHARDEV_STDIO },
		{ "pty",   CHARDEV_PTY   },
		{ "file:", CHARDEV_FILE  },
		{ "unix:", CHARDEV_UNIX  },
	};

	*path = NULL;
	for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		size_t n      = strlen(specs[i].text);
		int    prefix = specs[i].text[n - 1] == ':';

		if (prefix ? strncmp(spec, specs[i].text, n) : strcmp(spec, specs[i].text))
			continue;
		if (prefix)
			*path = spec + n;
		return specs[i].kind;
	}
	return CHARDEV_INVALID;
}
