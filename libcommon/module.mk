# libcommon: what all four tools share and nothing of what is saved.
#   fail        failures with a kind that decides the exit status
#   bytes       integers in memory, little- and big-endian, by value
#   io          whole reads and writes, descriptors over a socket, deadlines
#   bitmap      u64 words, one bit a page, runs
#   populated   where a sparse region has pages
#   uuid        random ids and their text
#   paths       runtime and state folders, VM names
#   pages       a batch of guest pages on its way
#   lease       the client's end of a VM's lease
#   control     the client's end of a VM's control socket (QMP)
#   precopy     rounds over the dirty bitmap, the pause, the rest
#   progress    a live line or JSON lines on stderr
#   units       sizes and durations on command lines
#   version     of the suite
#   moves       records of who owns a VM across a move
#   fault       ways to fail, in test builds only
LIBS += libcommon
libcommon_SRCS := fail.c io.c bitmap.c populated.c uuid.c paths.c pages.c fault.c control.c moves.c lease.c precopy.c progress.c units.c
