/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_DEVICES_MC146818_H
#define VMRUN_DEVICES_MC146818_H

/* A PC's clock and CMOS at ports 0x70 and 0x71: the VM's real time, settable, with alarm, periodic
 * and update interrupts. Source: Motorola MC146818A data sheet; the century as PCs keep it. */

#define MC146818_CENTURY 0x32u      /* of the CMOS: for the FADT */

#endif
