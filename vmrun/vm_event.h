/* SPDX-License-Identifier: MIT */
#ifndef VMRUN_VM_EVENT_H
#define VMRUN_VM_EVENT_H

/* What a guest, a device or a terminal asks of the VM. Posted by vCPU and device threads, carried
 * out by the main loop (vm_process_events). */
enum vm_event {
	VM_EVENT_SHUTDOWN,          /* guest-shutdown */
	VM_EVENT_RESET,             /* guest-reset: --on-reboot decides */
	VM_EVENT_PANIC,             /* guest-panic */
	VM_EVENT_DEAD,              /* a vCPU cannot continue: internal error */
	VM_EVENT_HIBERNATED,        /* the guest saved itself to its own disk (ACPI S4) */
	VM_EVENT_QUIT,              /* Ctrl-a x, SIGTERM: host-ui / host-signal */
	VM_EVENT_HOST_SIGNAL,
	VM_EVENT_NO_SPACE,          /* a disk's file cannot grow on the host: the VM is paused */
	VM_EVENT_CRASH_LOADED,      /* the guest panicked and continues with a crash kernel */
	VM_EVENT_MEMORY,            /* guest memory was lost (vmrun/memory.h) */
};

/* The guest has failed, or looks so. */
#define VM_EVENTS_FAILED (1u << VM_EVENT_DEAD | 1u << VM_EVENT_PANIC | 1u << VM_EVENT_RESET)
/* What is not the guest's. */
#define VM_EVENTS_USER (1u << VM_EVENT_QUIT | 1u << VM_EVENT_HOST_SIGNAL)

/* Events after which the guest continues. */
#define VM_EVENTS_TOLD (1u << VM_EVENT_NO_SPACE | 1u << VM_EVENT_CRASH_LOADED)

#endif
