"""A pytest plugin: the strategies' tests of `limits`, run on our storages and no others."""

import pytest
from tests import utils  # type: ignore[attr-defined]  # of limits

import tercio.integrations.limits  # noqa: F401  # registers the schemes

_ARGUMENTS = "uri, args, fixture"
_NOTHING = pytest.param("tercio://", {}, None, id="tercio")
_ASYNC = pytest.param("async+tercio://", {}, None, id="tercio")

for _name in ("all_storage", "moving_window_storage", "sliding_window_counter_storage"):
    setattr(utils, _name, pytest.mark.parametrize(_ARGUMENTS, [_NOTHING]))
    setattr(utils, f"async_{_name}", pytest.mark.parametrize(_ARGUMENTS, [_ASYNC]))
