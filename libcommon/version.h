/* SPDX-License-Identifier: MIT */
#ifndef LIBCOMMON_VERSION_H
#define LIBCOMMON_VERSION_H

/* Of the whole suite; what was made by another version says so in its header's creator. */
#define VMFERRY_VERSION "0.1"

#endif
