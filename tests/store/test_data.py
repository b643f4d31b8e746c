"""Splits of hub data sets: found in every layout, by commit, pinned, whole, and offline from then on."""

import hashlib
import json
from pathlib import Path

import pytest

from tonewise.config import StoreConfig
from tonewise.errors import HubError, IntegrityError
from tonewise.store.data import SplitName, class_names, fetch_split, files_of_split

from .hub_server import Hub, Model

COMMIT, OTHER = "b" * 40, "d" * 40
WANTED = SplitName("acme/feelings", "test", commit=COMMIT)


@pytest.fixture
def data(hub: Hub) -> Model:
    """A data set whose repository holds Parquet, and its conversion."""
    own = Model({"README.md": b"# Data", "data/test-00000-of-00001.parquet": b"own"}, COMMIT, lfs=())
    name = "default/test/0000.parquet"
    own.branches["refs/convert/parquet"] = Model({name: b"converted"}, OTHER, lfs=(name,))
    return hub.add("datasets/acme/feelings", own)


def test_a_split_is_fetched_by_commit_and_pinned(home: Path, hub: Hub, data: Model) -> None:
    found = fetch_split(WANTED)
    assert [path.read_bytes() for path in found.paths] == [b"own"]
    assert (found.commit, found.converted) == (COMMIT, False)
    table = json.loads((home / "data" / "tonewise" / "tonewise.lock").read_text())
    pin = table["data"][f"acme/feelings@{COMMIT}:/test"]
    assert pin["commit"] == COMMIT
    file = pin["files"]["data/test-00000-of-00001.parquet"]
    assert file == {"sha256": hashlib.sha256(b"own").hexdigest(), "size": 3}
    assert hub.asked("GET", "data/test-00000-of-00001.parquet")


def test_a_pinned_split_needs_no_network(
    hub: Hub, data: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = fetch_split(WANTED)
    asked = len(hub.requests)
    assert fetch_split(WANTED, StoreConfig(offline=True)) == first == fetch_split(WANTED)
    assert len(hub.requests) == asked
    first.paths[0].unlink()
    with pytest.raises(HubError, match=r"is not in .* and offline is set"):
        fetch_split(WANTED, StoreConfig(offline=True))
    assert fetch_split(WANTED) == first


def test_an_altered_file_is_refused(hub: Hub, data: Model) -> None:
    path = fetch_split(WANTED).paths[0].resolve()
    path.write_bytes(b"new")
    with pytest.raises(IntegrityError, match=r"is not the file that .*tonewise\.lock pins"):
        fetch_split(WANTED)


def test_where_a_commit_has_no_parquet_the_conversion_stands_in_and_says_so(hub: Hub, data: Model) -> None:
    del data.files["data/test-00000-of-00001.parquet"]
    found = fetch_split(WANTED)
    assert [path.read_bytes() for path in found.paths] == [b"converted"]
    assert (found.commit, found.converted) == (OTHER, True)
    present = fetch_split(SplitName("acme/feelings", "test"))
    assert (present.commit, present.converted) == (OTHER, False)


def test_a_model_and_a_data_set_may_share_a_name_in_the_lock(home: Path, hub: Hub, data: Model) -> None:
    from tonewise.store import models, pull

    pull("acme/mood")
    fetch_split(WANTED)
    table = json.loads((home / "data" / "tonewise" / "tonewise.lock").read_text())
    assert list(table["models"]) == ["acme/mood"]
    assert [row.name for row in models() if row.kind in ("present", "locked")] == ["acme/mood"]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (
            SplitName("acme/feelings", "dev", commit=COMMIT),
            "no Parquet file of split 'dev'; it has: default/",
        ),
        (SplitName("acme/feelings", "test", "de", COMMIT), "no Parquet file of split 'test' of config 'de'"),
        (SplitName("acme/gone", "test"), "acme/gone@main: the hub knows no such data set, or it is private"),
        (SplitName("acme/feelings", "test", commit="e" * 40), "the data set has no such commit"),
        (SplitName("acme/feelings", "test", commit="v1"), "revision 'v1' is not a commit of 40 hex digits"),
        (SplitName("my own data", "test"), "'my own data' is no name of a data set on the hub"),
    ],
)
def test_what_cannot_be_had_is_told(hub: Hub, data: Model, wanted: SplitName, told: str) -> None:
    data.files["data/test-00000-of-00001.parquet"] = b"own"
    if wanted.config:
        data.files.clear()
    with pytest.raises(HubError) as caught:
        fetch_split(wanted)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("names", "config", "wanted"),
    [
        (["data/test-00000-of-00002.parquet", "data/train.parquet"], None, 1),
        (["split/test-00000-of-00001.parquet", "unsplit/train-00000-of-00001.parquet"], "split", 1),
        (["sst2/test/0000.parquet", "sst2/test/0001.parquet", "cola/test/0000.parquet"], "sst2", 2),
        (["test-00000-of-00001-ab12cd.parquet"], "default", 1),
        (["testing.parquet", "test.csv"], None, 0),
    ],
)
def test_each_layout_of_the_hub_is_known(names: list[str], config: str | None, wanted: int) -> None:
    assert files_of_split(names, SplitName("a/b", "test", config)) == names[:wanted]


@pytest.mark.parametrize(
    ("names", "config", "wanted"),
    [
        (["data/test.parquet", "other/test.parquet"], "default", "data/test.parquet"),
        (["data/test.parquet", "other/test.parquet"], None, "data/test.parquet"),
        (["other/test.parquet"], "default", None),
    ],
)
def test_files_of_no_config_are_those_of_the_default_one(
    names: list[str], config: str | None, wanted: str | None
) -> None:
    assert files_of_split(names, SplitName("a/b", "test", config)) == ([wanted] if wanted else [])


@pytest.mark.parametrize(("names", "has"), [(["test.parquet"], "default"), (["b/test.parquet"], "b")])
def test_files_of_another_config_are_not_taken(names: list[str], has: str) -> None:
    told = rf"no Parquet file of split 'test' of config 'a'; configs with such a split: {has}"
    with pytest.raises(HubError, match=told):
        files_of_split(names, SplitName("a/b", "test", "a"))


def test_a_config_that_only_the_conversion_has_is_found_there(hub: Hub, data: Model) -> None:
    name = "plain/test/0000.parquet"
    conversion = Model({name: b"plain"}, OTHER, lfs=(name,))
    data.branches["refs/convert/parquet"] = conversion
    found = fetch_split(SplitName("acme/feelings", "test", "plain", COMMIT))
    assert [path.read_bytes() for path in found.paths] == [b"plain"]
    assert found.converted


def test_names_of_classes_are_those_of_the_column(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    of = datasets.ClassLabel
    features = {"text": datasets.Value("string"), "scenario": of(names=["home", "work"])}
    features |= {"intent": of(names=["ask", "tell"]), "moods": datasets.List(of(names=["sad", "glad"]))}
    rows = {"text": ["a"], "scenario": [0], "intent": [1], "moods": [[0, 1]]}
    path = tmp_path / "x.parquet"
    datasets.Dataset.from_dict(rows, features=datasets.Features(features)).to_parquet(path)
    assert class_names(path, "intent") == ("ask", "tell")
    assert class_names(path, "moods") == ("sad", "glad")
    assert class_names(path, "text") == class_names(path, None) == class_names(path, "gone") == ()


def test_older_versions_wrote_lists_of_classes_otherwise(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    one = {"names": ["sad", "glad"], "_type": "ClassLabel"}
    told = {"info": {"features": {"a": [one], "b": {"feature": one, "_type": "Sequence"}}}}
    table = pa.table({"a": [[0]]}).replace_schema_metadata({"huggingface": json.dumps(told)})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    assert [class_names(tmp_path / "x.parquet", name) for name in "ab"] == [("sad", "glad")] * 2


def test_a_config_must_be_told_where_several_have_the_split() -> None:
    with pytest.raises(HubError, match=r"which config is meant\? It has: cola, sst2"):
        files_of_split(["sst2/test/0000.parquet", "cola/test/0000.parquet"], SplitName("a/b", "test"))
