"""From flags, environment and files to one valid `config.Config`, with the origin of each value."""

from tercio.settings.loading import Settings, changes, load, refused_changes

__all__ = ["Settings", "changes", "load", "refused_changes"]
