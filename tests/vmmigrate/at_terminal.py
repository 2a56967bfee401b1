# SPDX-License-Identifier: MIT
"""at_terminal.py OUT ANSWER MEANWHILE COMMAND...: runs COMMAND at a terminal of its own.
When it asks ("to confirm: "), the shell command MEANWHILE runs to its end, then ANSWER is typed.
What COMMAND prints goes to OUT; its exit status is ours."""
import os
import pty
import subprocess
import sys

out, answer, meanwhile, command = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
pid, fd = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
seen = b""
asked = False
while True:
    try:
        data = os.read(fd, 4096)
    except OSError:
        break
    if not data:
        break
    seen += data
    if not asked and b"to confirm: " in seen:
        asked = True
        subprocess.run(["bash", "-c", meanwhile], check=False)
        os.write(fd, answer.encode() + b"\n")
with open(out, "wb") as f:
    f.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
