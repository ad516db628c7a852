"""State and messages over Redis 6 or later, or Valkey. Not Redis Cluster."""

from tercio.errors import ConfigError

try:
    import hiredis  # noqa: F401
except ImportError:
    raise ConfigError("--redis: hiredis is not installed; pip install 'tercio[redis]'") from None
