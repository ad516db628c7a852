"""What options are made of; the options themselves are declared in `tercio.config`."""

from tercio.options.option import ATTACH_VARIABLE, PREFIX, Group, Option, options_of

__all__ = ["ATTACH_VARIABLE", "PREFIX", "Group", "Option", "options_of"]
