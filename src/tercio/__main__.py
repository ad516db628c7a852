"""``python -m tercio`` is the command ``tercio``."""

from tercio.cli.main import main

if __name__ == "__main__":
    main()
