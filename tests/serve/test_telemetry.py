"""The figures are there under the names that the dashboard and the guide use, and they count."""

import json
import re
from pathlib import Path

from tests.serve.conftest import Running

DOCS = Path(__file__).parents[2] / "docs"
SUFFIXES = r"_(?:bucket|sum|count)$"


def figures(server: Running) -> dict[str, float]:
    page = server.ask("/metrics")[1].decode()
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if line and not line.startswith("#")
    }


def names(server: Running) -> set[str]:
    return {re.sub(SUFFIXES, "", name.partition("{")[0]) for name in figures(server)}


def test_the_dashboard_and_the_guide_ask_for_figures_that_exist(server: Running) -> None:
    server.ask("/classify", {"texts": ["i am happy"]})
    there = names(server) | {"tonewise_refusals_total"}  # it appears with the first refusal
    for path in (DOCS / "grafana.json", DOCS / "serving.md"):
        asked = {
            re.sub(SUFFIXES, "", name) for name in re.findall(r"tonewise_[a-z_]+[a-z]", path.read_text())
        }
        assert asked
        assert asked <= there, path
    assert len(json.loads((DOCS / "grafana.json").read_text())["panels"]) == 10


def test_requests_texts_and_batches_are_counted(server: Running) -> None:
    before = figures(server)
    server.ask("/classify", {"texts": ["i am happy", "so sad"]}, x_use_cache="false")
    server.ask("/classify", {"texts": 7})
    after = figures(server)

    def grown(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    assert grown('tonewise_requests_total{route="/classify",status="200"}') == 1
    assert grown('tonewise_requests_total{route="/classify",status="400"}') == 1
    assert grown('tonewise_texts_total{model="moods"}') == 2
    assert grown("tonewise_batch_tokens_count") >= 1
    assert grown("tonewise_padded_tokens_total") >= grown("tonewise_batch_tokens_sum") > 0
    assert after["tonewise_ready"] == 1
    assert after["tonewise_admitted_tokens"] == 0
