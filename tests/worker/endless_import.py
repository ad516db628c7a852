"""An import that takes for ever; it says when it began."""

import os
import threading

os.write(int(os.environ["RIG_NEWS"]), b"importing\n")
threading.Event().wait()
