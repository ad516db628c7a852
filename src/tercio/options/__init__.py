"""What options are made of; the options themselves are declared in `tercio.config`."""

from tercio.options.option import PREFIX, Group, Option, options_of

__all__ = ["PREFIX", "Group", "Option", "options_of"]
