"""An import that ends the process, as a missing variable often does."""

import sys

sys.exit("DATABASE_URL is not set")
