# SPDX-License-Identifier: MIT
LIBS += format
format_SRCS :=
# The VM tree and the state tables: docs/vm-tree.md.
format_SRCS += field.c field_save.c field_load.c field_json.c tree.c machine_type.c machine.c machine_check.c machine_write.c machine_read.c \
	       machine_parts.c machine_state.c state_tables.c state_clock.c
# The snapshot file: docs/format.md.
format_SRCS += start.c chunk.c page_chunk.c pagemap.c content.c header.c index.c agree.c images.c output.c auth.c writer.c stream.c image.c
# What devices keep across a save, and how a disk is told from itself later.
format_SRCS += state_hart.c state_plic.c state_uart.c state_rtc.c state_virtio.c state_virtio_blk.c state_virtio_console.c \
	       state_virtio_rng.c disk_digest.c
format_SRCS += state_mc146818.c state_i8042.c state_acpi_pm.c state_vmgenid.c
# x86-64: what KVM keeps of a vCPU and its chips; names of CPUID's bits and of MSRs.
format_SRCS += state_x86_cpu.c state_x86_chips.c x86_names.c x86_features.c machine_x86.c
