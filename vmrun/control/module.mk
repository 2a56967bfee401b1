# SPDX-License-Identifier: MIT
# vmrun/control: the VM seen from outside.
#   server       opens and closes everything here
#   socket       NAME.sock, its lock, the epitaph of a VM that has ended
#   client       one QMP client: bounded lines in, bounded queue out
#   qmp          framing and shapes of QMP; knows no VM
#   events       events to all clients; the last of each name is remembered
#   qmp_commands the table of commands, and in which phase each is allowed
#   query        QEMU's query-*
#   schema       query-qmp-schema, from the table
#   inspect      vmferry-inspect: the live tree
#   lease_session  vmrun's end of a lease: its thread, its deadline, what is given back
#   lease_verbs    what can be asked for over a lease
#   lease_log      dirty logging for a lease
#   lease_images   kernel and initrd over a lease
#   lease_handover the verbs of a hand-over, docs/control.md 8
#   records      this VM's record of who owns it
control_SRCS := server.c socket.c client.c qmp.c events.c qmp_commands.c query.c schema.c \
		inspect.c lease_session.c lease_verbs.c lease_log.c lease_images.c \
		lease_handover.c records.c
