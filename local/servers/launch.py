"""Become another program that ends when the process that asked for it ends.

Run by path, not imported: ``python launch.py PARENT_PID DEATH_SIGNAL UID GID PROGRAM [ARGUMENT …]``. Linux tells a
process of its parent's death (prctl PR_SET_PDEATHSIG), which holds even when the parent is killed and can run no
clean-up. A change of user clears that wish, so the user is changed first. UID and GID are ``-`` to stay who we are.
A separate program and not a `preexec_fn`: those are unsafe in a process with threads, and Python 3.12 warns of them.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, death_signal: int, uid: str, gid: str, *command: str) -> None:
    """Change the user, tie our life to `parent`'s, and become `command`."""
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:  # it died before we could say so
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
