/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_PATHS_H
#define LIBCOMMON_PATHS_H

#include "libcommon/fail.h"

#include <stdbool.h>
#include <stddef.h>

#define VM_NAME_MAX 64            /* characters of a name, without NUL */
#define PATHS_MAX   4096

/* [A-Za-z0-9][A-Za-z0-9._-]{0,63} */
bool paths_name_ok(const char *name);

/* The runtime folder: $VMFERRY_RUNTIME_DIR, else $XDG_RUNTIME_DIR/vmferry, else /run/vmferry for
 * root; else a failure that says what to set. create: makes it (0700). Checks that it is a folder,
 * ours, not a link, 0700. */
int paths_runtime(char out[PATHS_MAX], bool create, struct fail *why);

/* The state folder: $VMFERRY_STATE_DIR, else $XDG_STATE_HOME/vmferry, else for root
 * /var/lib/vmferry, else $HOME/.local/state/vmferry. create: makes it and its parents (0700). Its
 * owner and mode are checked by who keeps something in it. */
int paths_state(char out[PATHS_MAX], bool create, struct fail *why);

/* The folder of move records, `moves` in the state folder. create: as paths_runtime(). */
int paths_moves(char out[PATHS_MAX], bool create, struct fail *why);
/* The folder of kernels and initrds that came with moves, `images` in the state folder. create: as
 * paths_runtime(). */
int paths_images(char out[PATHS_MAX], bool create, struct fail *why);

/* Path of the control socket of a VM operand: with '/' in it the operand itself, else NAME.sock in
 * the runtime folder. FAIL_USAGE for an invalid name, and for a path that does not fit sun_path. */
int paths_socket(char out[PATHS_MAX], const char *vm, bool create, struct fail *why);

#endif
