"""The picture: for one row and for many, whatever the names."""

import struct
from dataclasses import replace

import pytest

from tonewise.benchmark import Model, Results, Row, picture
from tonewise.errors import MissingExtraError

pytest.importorskip("matplotlib")

ROW = Row(
    "m", "onnxruntime", "int8", 2, 2, None, 1555.0, 1.3, 2.0, 3.2, 0.4, 0.6, 300.0, 0.02, None, 1.0, 0.0
)
MACHINE = {"processor": "a processor", "processors": 2, "memory_gb": 25.1}


def drawn(*rows: Row) -> bytes:
    models = [Model(ref, "sha256:0", 22.0, 300, 0) for ref in dict.fromkeys(row.model for row in rows)]
    texts = {"source": "texts $of$ the [test]", "count": 9, "sha256": ""}
    return picture.draw(Results(MACHINE, texts, 3, models, rows))


def size_of(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def test_the_picture_grows_by_the_row_and_by_the_model() -> None:
    one, two = drawn(ROW), drawn(ROW, replace(ROW, engine="torch"))
    apart = drawn(ROW, replace(ROW, model="./another/$folder_{x}$"))
    sizes = [size_of(png) for png in (one, two, apart)]
    assert {width for width, _ in sizes} == {1600}
    assert sizes[0][1] < sizes[1][1] < sizes[2][1]
    assert drawn(ROW) == one


def test_fourteen_rows_and_reasons_can_be_drawn() -> None:
    failed = replace(ROW, error="the torch engine has no int8; " * 9, texts_per_second=None, p50_ms=None)
    rows = [replace(ROW, engine=f"engine{i}", precision=("int8", "bf16", "fp32")[i % 3]) for i in range(13)]
    assert size_of(drawn(*rows, failed))[1] > 900
    assert size_of(drawn(failed))[1] > 200


def test_lines_are_model_by_model_and_the_fastest_first() -> None:
    rows = [
        replace(ROW, engine="slow", texts_per_second=10.0),
        replace(ROW, model="n", engine="other"),
        replace(ROW, engine="none", error="why not", texts_per_second=None),
        replace(ROW, engine="fast", texts_per_second=30.0),
    ]
    models = [Model("m", "", 22.4, 9, 0), Model("n", "")]
    lines = list(picture._lines(Results(MACHINE, {}, 3, models, rows)))
    titles = [line.title for line in lines]
    assert titles == ["m  ·  22 tokens a text", "fast  int8", "slow  int8", "none  int8", "n", "other  int8"]
    places = [line.place for line in lines]
    assert places == sorted(set(places))


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tonewise\[plot\]'"):
        drawn(ROW)
