"""``python -m tercio.worker BOOT_FD``: started by a primary, never by a person.

With ``--template`` before the descriptor it is the process that workers are forked from.
"""

import sys

if sys.argv[1:2] == ["--template"]:
    from tercio.worker.template import main
else:
    from tercio.worker.boot import main

if __name__ == "__main__":  # multiprocessing's "spawn" imports this file again under another name
    sys.exit(main(sys.argv))
