# SPDX-License-Identifier: MIT
# libcommon: what all four tools share and nothing of what is saved.
#   fail        failures with a kind that decides the exit status
#   bytes       integers in memory, little- and big-endian, by value
#   io          whole reads and writes, the one sender of descriptors over a socket, deadlines
#   bitmap      u64 words, one bit a page, runs
#   populated   where a sparse region has pages
#   uuid        random ids and their text
#   paths       runtime and state folders, VM names
#   pages       a batch of guest pages to be written or sent
#   pageset     page numbers; the next one is found in a few steps
#   thread      starts one that takes no signal; array.h: space for one more element
#   page_sink   pages into a region's memfd; page_apply: by a thread of its own
#   note        a line on stderr while a tool runs on
#   units       sizes and durations on command lines
#   option      command lines by table: parsing. option_check: what goes together, operands;
#               option_value: kinds of arguments; option_help: --help; option_bash: completion
#   version     of the suite
#   publish     a file of the user's: complete or absent, and what it may replace
#   samefile    one file under two names, a loop device and its file included
#   text        bytes of files and peers as text for terminals and JSON
#   hostkey     the key in the state folder by which a host knows its own snapshots; HMAC-SHA-256
#   fault       ways to fail, in test builds only
#   client/     a VM seen from outside; may use format/, and nothing else here may use it
#     lease     the client's end of a VM's lease; lease_kinds: what it is for, of both ends;
#               lease_move: the verbs of a move
#     control   the client's end of a VM's control socket (QMP)
#     precopy   rounds over the dirty bitmap, the pause, the rest
#     copy_options  options that a save and a move have in common
#     progress  a live line or JSON lines on stderr
#     moves     records of who owns a VM across a move; moves_file: on disk; moves_lock: its claim
LIBS += libcommon
libcommon_client_SRCS := lease.c lease_move.c lease_kinds.c control.c copy_options.c precopy.c \
			 precopy_copy.c \
			 progress.c moves.c \
			 moves_file.c moves_lock.c
libcommon_SRCS := fail.c io.c thread.c bitmap.c pageset.c populated.c uuid.c paths.c pages.c \
		  page_sink.c page_apply.c fault.c note.c units.c publish.c samefile.c text.c \
		  hostkey.c option.c option_check.c option_value.c option_help.c option_bash.c \
		  $(addprefix client/,$(libcommon_client_SRCS))
