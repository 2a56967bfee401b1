/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_HOST_CHARDEV_SPEC_H
#define VMRUN_HOST_CHARDEV_SPEC_H

enum chardev_kind {
	CHARDEV_NONE, CHARDEV_STDIO, CHARDEV_PTY, CHARDEV_FILE, CHARDEV_UNIX, CHARDEV_INVALID
};

/* What "stdio", "pty", "file:F", "unix:P" or "none" names. *path: F or P, which may be empty; else
 * NULL. */
enum chardev_kind chardev_spec(const char *spec, const char **path);

#endif
