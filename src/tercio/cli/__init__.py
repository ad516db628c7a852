"""The command line. Each command is its own module, imported when it is asked for."""
