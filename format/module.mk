# SPDX-License-Identifier: MIT
# format: what is saved, and how; docs/format.md.
#   snapshot/   the snapshot as a file or a stream: chunks, index, reader, writer
#   tree/       the VM tree: machine, devices, tables of fields and how they are written and checked
#   state/      a table of fields for each device and each kind of vCPU, a file a table: all files
#               there are compiled, so that a new one needs no line here; names of CPUID's bits, of
#               MSRs
#   limits.h    what this build accepts
LIBS += format
format_snapshot_SRCS := start.c chunk.c chunk_table.c page_hash.c page_chunk.c encoder.c adapt.c \
			pagemap.c content.c digests.c header.c index.c index_level.c directory.c \
			agree.c flat.c images.c auth.c output.c output_file.c \
			writer.c writer_flat.c writer_end.c stream.c stream_chunks.c stream_flat.c \
			file.c file_index.c file_page.c file_flat.c file_walk.c file_parts.c \
			disk_digest.c
format_tree_SRCS     := field.c field_save.c field_load.c field_json.c tree.c machine_type.c \
			tree_put.c tree_digest.c machine.c machine_check.c machine_write.c \
			machine_write_state.c machine_read.c machine_read_state.c \
			machine_sections.c machine_state.c machine_x86.c
format_state_SRCS    := $(sort $(patsubst format/state/%,%,$(wildcard format/state/*.c)))
format_SRCS := $(addprefix snapshot/,$(format_snapshot_SRCS)) \
	       $(addprefix tree/,$(format_tree_SRCS)) $(addprefix state/,$(format_state_SRCS))
