"""``python -m tercio.worker BOOT_FD``: started by a primary, never by a person."""

import sys

from tercio.worker.boot import main

if __name__ == "__main__":  # multiprocessing's "spawn" imports this file again under another name
    sys.exit(main(sys.argv))
