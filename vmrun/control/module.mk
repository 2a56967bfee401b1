# SPDX-License-Identifier: MIT
# vmrun/control: the VM seen from outside.
#   server       opens and closes everything here
#   socket       NAME.sock, its lock, the word a VM leaves behind
#   client       one QMP client: bounded lines in, bounded queue out
#   qmp          framing and shapes of QMP; knows no VM
#   events       events to all clients; the last of each name is remembered
#   commands     the table of commands, and in which phase each is allowed
#   query        QEMU's query-*
#   schema       query-qmp-schema, from the table
#   inspect      vmferry-inspect: the live tree
#   grant        vmrun's end of a lease: its thread, its deadline, what is given back
#   grant_verbs  what can be asked for over a lease
#   grant_log    dirty logging for a lease
#   grant_images kernel and initrd over a lease
#   handover     the rows of the hand-over table
#   records      this VM's record of who owns it
#   list, ctl    vmrun's commands for users
control_SRCS := server.c socket.c client.c qmp.c events.c commands.c query.c schema.c inspect.c grant.c grant_verbs.c grant_log.c grant_images.c \
		handover.c records.c list.c ctl.c ctl_wait.c
