"""Q27, right: the limit is on what the process has, and a successor serves before it goes.

tercio run examples.problems.q27_right:app -w 4 --limit-max-memory 100MiB
"""

from examples.problems.plain import application
from examples.problems.q27_naive import leak, memory

app = application({"/leak": leak, "/memory": memory})
