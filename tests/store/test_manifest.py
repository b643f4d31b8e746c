"""A manifest says only what is sensible, and its digest follows what it says and nothing else."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pytest

from tonewise.errors import ModelError
from tonewise.store import File, HeadSpec, Manifest, open_bundle, resolve
from tonewise.store.manifest import HEAD_READERS, MANIFEST_READERS
from tonewise.store.packaged import packaged_folder

from .conftest import write_bundle, write_folder
from .hub_server import tiny_model

FILE = {"sha256": "0" * 64, "size": 1}
HEAD = {"labels": ["a", "b"], "output": "x"}
MULTI = HEAD | {"problem_type": "multi_label_classification"}


def of_head(**change: Any) -> dict[str, Any]:
    return {"heads": {"x": HEAD | change}}


def of_ranges(*pair: Any) -> dict[str, Any]:
    return {"activation_ranges": {"layer.0.up": list(pair)}}


def of_factors(factors: dict[str, float]) -> dict[str, Any]:
    return {"smoothing": {"x": factors}}


def read(change: Mapping[str, Any]) -> Manifest:
    table = {"format": 1, "files": {"config.json": FILE}, "heads": {"x": HEAD}} | dict(change)
    return Manifest.from_json(json.dumps(table), "here")


def test_a_manifest_is_the_same_after_a_round_trip(tmp_path: Path) -> None:
    manifest = open_bundle(write_bundle(tmp_path / "m"), "./m").manifest
    manifest = replace(
        manifest,
        activation_ranges={"layer.0": (-1.5, 2.0)},
        smoothing={"layer.0": {"0": 4.0, "17": 8.0}},
        agreement={"onnxruntime": 0.9965},
        behaviours={"head": "head.v1", "tokenizer": "tokenizer.v1"},
        heads=dict(manifest.heads) | {"x": HeadSpec(("a",), "x", thresholds=(0.25,), temperature=1.5)},
    )
    again = Manifest.from_json(manifest.to_json(), "here")
    assert again == manifest
    assert again.digest == manifest.digest


def test_every_field_is_read_by_a_reader_of_its_own() -> None:
    assert set(MANIFEST_READERS) == {one.name for one in fields(Manifest)}
    assert set(HEAD_READERS) == {one.name for one in fields(HeadSpec)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "written in another format than 1"),
        ({"surprise": 1}, "unknown 'surprise'"),
        ({"files": None}, "files is None; wanted: a JSON object"),
        ({"files": {"../x": FILE}}, r"names files outside its folder: '\.\./x'"),
        ({"files": {"x": "0" * 64}}, r"files\.x is '0+\.\.\.0+'; wanted: a JSON object"),
        ({"files": {"x": FILE | {"sha256": 5}}}, r"files\.x\.sha256 is 5; wanted: 64 hex digits"),
        ({"files": {"x": FILE | {"sha256": "A" * 64}}}, r"files\.x\.sha256 is"),
        ({"files": {"x": FILE | {"size": -1}}}, r"files\.x\.size is -1"),
        ({"files": {"x": FILE | {"size": True}}}, r"files\.x\.size is True"),
        ({"files": {"x": {"size": 1}}}, r"no sha256 in files\.x"),
        ({"heads": None}, "heads is None"),
        ({"heads": {"x": {"labels": ["a"]}}}, r"no output in heads\.x"),
        (of_head(tempreature=2), r"unknown 'tempreature' in heads\.x"),
        (of_head(labels="abcdef"), r"heads\.x\.labels is 'abcdef'; wanted: a list of strings"),
        (of_head(labels=["a", 1]), r"heads\.x\.labels is 1; wanted: a string"),
        (of_head(labels=["a", "a"]), r"heads\.x\.labels names a label twice"),
        (of_head(labels=[]), r"heads\.x\.labels names no label"),
        (of_head(labels=["a", "\ud800"]), r"heads\.x\.labels is .*lone surrogates"),
        (of_head(output=None), r"heads\.x\.output is None"),
        (of_head(pooling=["first"]), r"heads\.x\.pooling is"),
        (of_head(dense=5), r"heads\.x\.dense is 5; wanted: a string"),
        (of_head(temperature="1"), r"heads\.x\.temperature is '1'; wanted: a finite number"),
        (of_head(temperature=float("nan")), r"heads\.x\.temperature is nan; wanted: a finite number"),
        (of_head(temperature=0), r"heads\.x has temperature 0\.0; wanted: a finite number above 0"),
        (of_head(temperature=1e-60), "wanted: a finite number above 0"),
        (of_head(temperature=10**400), "wanted: a finite number"),
        (of_head(temperature=True), r"temperature is True"),
        (of_head(abstain_below=float("nan")), r"heads\.x\.abstain_below is nan"),
        (of_head(mapping=["c"]), r"heads\.x has 2 labels but maps 1"),
        (of_head(mapping="cd"), r"heads\.x\.mapping is 'cd'; wanted: a list of strings"),
        (of_head(mapping=["c", "d"], problem_type="regression"), "mapping would be ignored"),
        (of_head(thresholds=[0.5, 0.5]), r"heads\.x\.thresholds would be ignored"),
        (of_head(thresholds=[0.5, 0.5], problem_type="regression"), "thresholds would be ignored"),
        ({"heads": {"x": MULTI | {"thresholds": []}}}, r"heads\.x has 2 labels but 0 thresholds"),
        ({"heads": {"x": MULTI | {"thresholds": "ab"}}}, r"heads\.x\.thresholds is 'ab'"),
        ({"heads": {"x": MULTI | {"thresholds": [0.5, None]}}}, r"heads\.x\.thresholds is None"),
        ({"heads": {"x": MULTI | {"thresholds": [0.5, float("nan")]}}}, r"heads\.x\.thresholds is nan"),
        (of_ranges(1.0, -1.0), r"activation_ranges\.layer\.0\.up is \[1\.0, -1\.0\]; wanted: the least"),
        (of_ranges(float("-inf"), 1.0), "is -inf; wanted: a finite number"),
        (of_ranges(0.0, float("nan")), "is nan; wanted: a finite number"),
        (of_ranges(0.0, 1e39), "is 1e[+]39; wanted: a finite number"),
        (of_ranges(0.0), "wanted: the least and the greatest"),
        ({"activation_ranges": []}, "activation_ranges is"),
        ({"smoothing": {"x": [1]}}, r"smoothing\.x is \[1\]; wanted: a JSON object"),
        (
            of_factors({"a": 2.0}),
            r"smoothing\.x is \{'a': 2\.0\}; wanted: channel numbers, each with a factor",
        ),
        (of_factors({"-1": 2.0}), "wanted: channel numbers"),
        (of_factors({"07": 2.0}), "wanted: channel numbers"),
        (of_factors({"²": 2.0}), "wanted: channel numbers"),
        (of_factors({"9" * 5000: 2.0}), "wanted: channel numbers"),
        (of_factors({"0": 0.5}), "wanted: channel numbers, each with a factor from 1 on"),
        (of_factors({"0": float("nan")}), r"smoothing\.x\.0 is nan; wanted: a finite number"),
        ({"agreement": 1}, "agreement is 1; wanted: a JSON object"),
        ({"agreement": {"onnxruntime": 1.01}}, r"onnxruntime is 1\.01; wanted: a share from 0 to 1"),
        ({"agreement": {"onnxruntime": -0.1}}, "wanted: a share from 0 to 1"),
        ({"agreement": {"onnxruntime": "1"}}, "is '1'; wanted: a finite number"),
        (
            {"behaviours": {"head": "head.v99"}},
            r"made for a newer tonewise \(behaviours: 'head\.v99'\); upgr",
        ),
        ({"behaviours": {"pooler": "pooler.v1"}}, r"newer tonewise \(behaviours: 'pooler\.v1'\); upgrade"),
        ({"behaviours": {"head": 1}}, r"behaviours\.head is 1; wanted: a string"),
        ({"embedding": None}, "embedding is None"),
        ({"embedding": {}}, "no normalize, pooling in embedding"),
        ({"embedding": {"pooling": "mean"}}, "no normalize in embedding"),
        ({"embedding": {"pooling": "max", "normalize": True}}, "pooling is 'max'; wanted: first | mean"),
        ({"embedding": {"pooling": "mean", "normalize": 1}}, "normalize is 1; wanted: true | false"),
        ({"embedding": {"pooling": "mean", "unsupported": "Dense"}}, "unknown 'pooling' in embedding"),
        ({"licence": 5}, "licence is 5; wanted: a string"),
        ({"data_terms": ["research"]}, "data_terms is"),
        ({"languages": "en"}, "languages is 'en'; wanted: a list of strings"),
        ({"origin": {"hub": 5}}, r"origin\.hub is 5"),
        ({"parent": 5}, "parent is 5"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused_naming_the_place(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message.replace(" | ", r" \| ")) as caught:
        read(change)
    assert str(caught.value).startswith("here: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "1", '{"a":' * 100_000, "\n"])
def test_a_file_that_is_no_manifest_at_all_is_named(tmp_path: Path, text: str) -> None:
    folder = write_bundle(tmp_path / "m")
    (folder / "tonewise.json").write_text(text)
    with pytest.raises(ModelError, match=r"\./m: .*tonewise\.json: ") as caught:
        open_bundle(folder, "./m")
    assert "\n" not in str(caught.value)


def test_whole_numbers_are_numbers() -> None:
    ones = {"heads": {"x": MULTI | {"temperature": 2, "thresholds": [0, 1]}}}
    as_floats = {"heads": {"x": MULTI | {"temperature": 2.0, "thresholds": [0.0, 1.0]}}}
    assert read(ones | of_ranges(0, 1)).digest == read(as_floats | of_ranges(0.0, 1.0)).digest


# The digest.


@dataclass(frozen=True, slots=True)
class LaterHead(HeadSpec):
    """A head as a later version may know it."""

    note: str | None = None


@dataclass(frozen=True, slots=True)
class LaterManifest(Manifest):
    """A manifest as a later version may know it."""

    tags: Mapping[str, str] = field(default_factory=dict)
    revised: int = 0


def later(manifest: Manifest) -> LaterManifest:
    values = {one.name: getattr(manifest, one.name) for one in fields(manifest)}
    heads = {
        name: LaterHead(**{one.name: getattr(head, one.name) for one in fields(head)})
        for name, head in manifest.heads.items()
    }
    return LaterManifest(**(values | {"heads": heads}))


def test_a_field_yet_to_be_invented_leaves_every_digest_as_it_is(tmp_path: Path) -> None:
    plain = open_bundle(write_folder(tmp_path / "plain", tiny_model()), "./plain").manifest
    own = open_bundle(write_bundle(tmp_path / "own"), "./own").manifest
    for manifest in (plain, own, resolve("emotion").manifest):
        assert later(manifest).digest == manifest.digest
        assert replace(later(manifest), revised=1).digest != manifest.digest
        heads = {name: replace(head, note="x") for name, head in later(manifest).heads.items()}  # type: ignore[call-arg]
        assert replace(later(manifest), heads=heads).digest != manifest.digest


def test_a_default_that_is_written_out_is_the_same_model_as_one_left_out() -> None:
    stated = {"parent": None, "embedding": {"pooling": "mean", "normalize": True}}
    assert read(stated | of_head(temperature=1, pooling="first")).digest == read({}).digest


CHANGES: dict[str, Any] = {
    "files": {"config.json": File("1" * 64, 1)},
    "heads": {"y": HeadSpec(("a", "b"), "x")},
    "embedding": {"pooling": "mean", "normalize": False},
    "name": "other",
    "origin": {"recipe": "x"},
    "licence": "mit",
    "data_terms": "research",
    "languages": ("en",),
    "activation_ranges": {"layer.0.up": (0.0, 1.0)},
    "smoothing": {"layer.0.up": {"0": 4.0}},
    "agreement": {"onnxruntime": 0.99},
    "parent": "sha256:0",
    "behaviours": {"head": "head.v1"},
}
HEAD_CHANGES: dict[str, Any] = {
    "labels": ("b", "a"),
    "output": "y",
    "problem_type": "multi_label_classification",
    "pooling": "mean",
    "dense": "d",
    "activation": "relu",
    "temperature": 1.5,
    "thresholds": (0.5, 0.5),
    "abstain_below": 0.0,
    "mapping": ("c", "c"),
}


def test_every_stated_value_is_in_the_digest() -> None:
    manifest = read({})
    assert set(CHANGES) == {one.name for one in fields(Manifest)}
    assert set(HEAD_CHANGES) == {one.name for one in fields(HeadSpec)}
    found = [manifest.digest]
    found += [replace(manifest, **{name: value}).digest for name, value in CHANGES.items()]
    for name, value in HEAD_CHANGES.items():
        head = replace(manifest.heads["x"], **{name: value})
        found.append(replace(manifest, heads={"x": head}).digest)
    found.append(replace(manifest, files={"config.json": File("0" * 64, 2)}).digest)
    assert len(set(found)) == len(found)


def test_the_digest_of_a_packaged_model_can_be_told_from_its_file_alone() -> None:
    table = json.loads((packaged_folder("emotion") / "tonewise.json").read_text())
    absent: tuple[object, ...] = (None, {}, [])
    mean = {"normalize": True, "pooling": "mean"}
    head = {"problem_type": "single_label_classification", "pooling": "first", "activation": "none"}
    table = {k: v for k, v in table.items() if v not in absent and (k, v) != ("embedding", mean)}
    table["heads"] = {
        name: {
            k: v
            for k, v in entry.items()
            if v is not None and head.get(k) != v and (k, v) != ("temperature", 1)
        }
        for name, entry in table["heads"].items()
    }
    text = json.dumps(table, sort_keys=True, separators=(",", ":"))
    assert resolve("emotion").digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
