/* SPDX-License-Identifier: MIT */
#include "vmrun/accel/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* What this host's KVM can do, read once, and the wrapper of its ioctls. */

#define KVM_DEVICE      "/dev/kvm"
/* While another VM is being torn down, KVM may return EAGAIN for a moment. With a limit: if it
 * stays, that is a failure and not a hang. */
#define KVM_EAGAINS     1000u

static int kvm_again(int fd, unsigned long request, unsigned long arg)
{
	int rc;

	for (unsigned n = 0; ; n++) {
		rc = ioctl(fd, request, arg);
		if (rc >= 0 || (errno != EINTR && (errno != EAGAIN || n >= KVM_EAGAINS)))
			return rc;
		sched_yield();
	}
}

int kvm_call_n(int fd, unsigned long request, unsigned long arg, const char *what, struct fail *why)
{
	int rc = kvm_again(fd, request, arg);

	return rc < 0 && why ? fail_sys(why, "%s", what) : rc;
}

int kvm_call(int fd, unsigned long request, void *arg, const char *what, struct fail *why)
{
	return kvm_call_n(fd, request, (unsigned long)arg, what, why);
}

/* ---- capabilities ---- */

/* Required. All of them exist since Linux 4.12. */
static const struct { long cap; const char *name; } needed[] = {
	{ KVM_CAP_IRQCHIP,               "KVM_CAP_IRQCHIP"               },
	{ KVM_CAP_USER_MEMORY,           "KVM_CAP_USER_MEMORY"           },
	{ KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "KVM_CAP_DESTROY_MEMORY_REGION_WORKS" },
	{ KVM_CAP_JOIN_MEMORY_REGIONS_WORKS,   "KVM_CAP_JOIN_MEMORY_REGIONS_WORKS"   },
	{ KVM_CAP_SET_TSS_ADDR,          "KVM_CAP_SET_TSS_ADDR"          },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR" },
	{ KVM_CAP_EXT_CPUID,             "KVM_CAP_EXT_CPUID"             },
	{ KVM_CAP_IRQ_ROUTING,           "KVM_CAP_IRQ_ROUTING"           },
	{ KVM_CAP_IRQFD,                 "KVM_CAP_IRQFD"                 },
	{ KVM_CAP_PIT2,                  "KVM_CAP_PIT2"                  },
	{ KVM_CAP_PIT_STATE2,            "KVM_CAP_PIT_STATE2"            },
	{ KVM_CAP_MP_STATE,              "KVM_CAP_MP_STATE"              },
	{ KVM_CAP_VCPU_EVENTS,           "KVM_CAP_VCPU_EVENTS"           },
	{ KVM_CAP_DEBUGREGS,             "KVM_CAP_DEBUGREGS"             },
	{ KVM_CAP_XSAVE,                 "KVM_CAP_XSAVE"                 },
	{ KVM_CAP_ADJUST_CLOCK,          "KVM_CAP_ADJUST_CLOCK"          },
	{ KVM_CAP_GET_TSC_KHZ,           "KVM_CAP_GET_TSC_KHZ"           },
	{ KVM_CAP_IMMEDIATE_EXIT,        "KVM_CAP_IMMEDIATE_EXIT"        },
};

/* The capability's value, 0 when it does not exist. */
static int cap(int sys, long which)
{
	int v = kvm_call_n(sys, KVM_CHECK_EXTENSION, (unsigned long)which, NULL, NULL);

	return v < 0 ? 0 : v;
}

static int cap_or(int sys, long which, int otherwise)
{
	int v = cap(sys, which);

	return v > 0 ? v : otherwise;
}

/* Is KVM the module that emulates every instruction, for hosts that are guests themselves? No
 * capability tells. Looked up in two places, of which a container may hide one. */
static bool caps_interprets(void)
{
	char  line[256];
	bool  found = access("/sys/module/kvm_pvm", F_OK) == 0;
	FILE *f     = found ? NULL : fopen("/proc/modules", "re");

	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, "kvm_pvm ", 8);
	if (f)
		fclose(f);
	return found;
}

static int caps_read(int sys, struct kvm_caps *c, struct fail *why)
{
	c->api = kvm_call_n(sys, KVM_GET_API_VERSION, 0, "KVM_GET_API_VERSION", why);
	if (c->api < 0)
		return -1;
	if (c->api != KVM_API_VERSION)
		return fail_set(why, FAIL_REFUSED,
				"%s: unsupported API version %d, expected %d: use another kernel",
				KVM_DEVICE, c->api, KVM_API_VERSION);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!cap(sys, needed[i].cap))
			return fail_set(why, FAIL_REFUSED,
				"%s not supported by KVM of this kernel: use a newer kernel",
				needed[i].name);
	c->run_bytes = kvm_call_n(sys, KVM_GET_VCPU_MMAP_SIZE, 0, "KVM_GET_VCPU_MMAP_SIZE", why);
	if (c->run_bytes < 0)
		return -1;
	if ((size_t)c->run_bytes < sizeof(struct kvm_run))
		return fail_set(why, FAIL_REFUSED,
				"KVM: invalid vCPU mapping size: %d bytes, expected at least %zu",
				c->run_bytes, sizeof(struct kvm_run));

	/* Where KVM gives no number, api.rst does: 4 vCPUs (4.7), 32 slots. */
	c->vcpus_max              = cap_or(sys, KVM_CAP_NR_VCPUS, 4);
	c->vcpus_max              = cap_or(sys, KVM_CAP_MAX_VCPUS, c->vcpus_max);
	c->nslots                 = cap_or(sys, KVM_CAP_NR_MEMSLOTS, 32);
	c->manual_protect         = (uint32_t)cap(sys, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	c->xsave_bytes            = cap_or(sys, KVM_CAP_XSAVE2, 4096);
	c->sregs2                 = cap(sys, KVM_CAP_SREGS2);
	c->xcrs                   = cap(sys, KVM_CAP_XCRS);
	c->tsc_control            = cap(sys, KVM_CAP_TSC_CONTROL);
	c->readonly_mem           = cap(sys, KVM_CAP_READONLY_MEM);
	c->irqfd_resample         = cap(sys, KVM_CAP_IRQFD_RESAMPLE);
	c->ioeventfd              = cap(sys, KVM_CAP_IOEVENTFD);
	c->adjust_clock_realtime  = cap(sys, KVM_CAP_ADJUST_CLOCK) & (int)KVM_CLOCK_REALTIME;
	c->kvmclock_ctrl          = cap(sys, KVM_CAP_KVMCLOCK_CTRL);
	c->exception_payload      = cap(sys, KVM_CAP_EXCEPTION_PAYLOAD);
	c->triple_fault_event     = cap(sys, KVM_CAP_X86_TRIPLE_FAULT_EVENT);
	c->interprets             = caps_interprets();
	return 0;
}

static int caps_device(struct fail *why)
{
	int fd = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		fail_sys(why, KVM_DEVICE);
		return fail_prefix(why,
			"KVM not available: load kvm_intel or kvm_amd: ");
	case EACCES:
	case EPERM:
		fail_sys(why, KVM_DEVICE);
		return fail_prefix(why,
				"KVM not accessible to this user: add the user to group kvm: ");
	default:
		return fail_sys(why, KVM_DEVICE);
	}
}

int kvm_caps_open(int *sys, struct kvm_caps *caps, struct fail *why)
{
	*caps = (struct kvm_caps){ 0 };
	*sys  = caps_device(why);
	if (*sys < 0)
		return -1;
	if (caps_read(*sys, caps, why) == 0)
		return 0;
	close(*sys);
	*sys = -1;
	return -1;
}

int kvm_probe(enum machine_type type, struct fail *why)
{
	struct kvm_caps caps;
	int             sys;

	if (machine_types[type].cpu != MACHINE_CPU_X86_64)
		return fail_set(why, FAIL_REFUSED,
				"machine type %s not supported by KVM on this host",
				machine_type_name(type));
	if (kvm_caps_open(&sys, &caps, why))
		return -1;
	close(sys);
	return 0;
}

static void info_set(struct json_t *into, const char *key, const char *value)
{
	json_object_set_new(into, key, json_string(value));
}

void kvm_info(struct json_t *into)
{
	struct kvm_caps caps;
	struct fail     why;
	int             sys;

	if (kvm_caps_open(&sys, &caps, &why))
		return;
	close(sys);

	const int limit = (int)KVM_CPUS_MAX;
	const int vcpus = caps.vcpus_max < limit ? caps.vcpus_max : limit;

	info_set(into, "instructions",
		 caps.interprets ? "emulated (kvm_pvm): Linux does not boot" : "by the CPU");
	json_object_set_new(into, "vcpus", json_integer(vcpus));
	json_object_set_new(into, "memory-slots", json_integer(caps.nslots));
	info_set(into, "dirty-log",
		 caps.manual_protect & KVM_DIRTY_LOG_INITIALLY_SET ? "manual clear, initially set" :
		 caps.manual_protect & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE ? "manual clear" :
		 "plain");
	json_object_set_new(into, "xsave-bytes", json_integer(caps.xsave_bytes));
	info_set(into, "tsc-scaling", caps.tsc_control ? "yes" : "no");
	info_set(into, "read-only-memory", caps.readonly_mem ? "yes" : "no");
	info_set(into, "irqfd-resample", caps.irqfd_resample ? "yes" : "no");
	info_set(into, "ioeventfd", caps.ioeventfd ? "yes" : "no");
	info_set(into, "clock-realtime", caps.adjust_clock_realtime ? "yes" : "no");
}
