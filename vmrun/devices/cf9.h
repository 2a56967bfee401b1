/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_CF9_H
#define VMRUN_DEVICES_CF9_H

/* The reset control register of PC chipsets at port 0xcf9, type "reset": the FADT's RESET_REG. */

#define CF9_RESET 0x06u      /* RESET_VALUE */

#endif
