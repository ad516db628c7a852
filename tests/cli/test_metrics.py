"""`tercio metrics` with what primaries may answer."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Tercio
from tests.cli.primary import always, running

ONE = {
    "name": "orders_total",
    "kind": "counter",
    "help": "Orders \x1b]0;evil\x07",
    "series": [{"labels": {"kind": "a\x1b[2J"}, "value": 3}],
}


def test_text_and_json_are_made_here_and_nothing_reaches_the_terminal_raw(
    tercio: Tercio, tmp_path: Path
) -> None:
    with running(tmp_path / "run", "shop", always({"result": {"metrics": [ONE]}})) as primary:
        shown = tercio("metrics")
        as_json = tercio("metrics", "--json")
    assert shown.exit_code == as_json.exit_code == 0
    assert "# TYPE orders_total counter" in shown.output
    assert "\x1b" not in shown.output
    assert json.loads(as_json.output)["metrics"][0]["series"] == ONE["series"]
    assert [request["do"] for request in primary.asked] == ["metrics", "metrics"]


@pytest.mark.parametrize(
    "answer",
    [{}, {"metrics": 1}, {"metrics": [{"name": "x"}]}, {"metrics": [{**ONE, "kind": "sum"}]}],
)
def test_an_answer_of_another_kind_is_one_message(
    tercio: Tercio, tmp_path: Path, answer: dict[str, object]
) -> None:
    with running(tmp_path / "run", "shop", always({"result": answer})):
        shown = tercio("metrics")
    assert shown.exit_code == 1
    assert "the cluster's metrics cannot be read" in shown.output


def test_the_help_teaches(tercio: Tercio) -> None:
    help = tercio("metrics", "--help").output
    assert "cluster.metrics.text()" in help
    assert "--watch" in help
    assert tercio("metrics", "--json", "--watch").exit_code == 2
