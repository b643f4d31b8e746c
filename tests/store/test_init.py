"""The room's door: what a ref opens, and what it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest

from tonewise import store
from tonewise.config import StoreConfig
from tonewise.errors import HubError, IntegrityError, LicenceError, ModelError
from tonewise.store import describe, pull, resolve
from tonewise.store.files import hub_snapshot
from tonewise.store.lock import Pin, lock_path, read_lock, record

from .conftest import write_bundle, write_folder
from .hub_server import Hub, Model, tiny_model


def test_a_packaged_model_opens_whatever_its_terms(packaged_mood: Path, no_network: None) -> None:
    bundle = resolve("mood")
    assert bundle.folder == packaged_mood
    assert bundle.ref == "mood"
    assert list(bundle.heads) == ["mood", "topic"]
    assert bundle.manifest.data_terms == "research only"
    assert pull("mood").digest == bundle.digest


def test_only_folders_with_a_manifest_are_packaged_models(packaged_mood: Path) -> None:
    write_folder(packaged_mood.parent / "unfinished", tiny_model())
    assert store.packaged_names() == ["mood"]


def test_heads_are_selected_after_the_hash(packaged_mood: Path) -> None:
    bundle = resolve("mood#topic")
    assert list(bundle.heads) == ["topic"]
    assert bundle.ref == "mood#topic"
    assert bundle.digest == resolve("mood").digest
    with pytest.raises(ModelError, match="no head 'x'; it has mood, topic"):
        resolve("mood#x")


def test_a_head_with_a_name_of_its_own_is_a_packaged_model(packaged_topic: Path, no_network: None) -> None:
    assert store.packaged_names() == ["mood", "topic"]
    bundle = resolve("topic")
    assert (bundle.ref, bundle.folder, list(bundle.heads)) == ("topic", packaged_topic, ["topic"])
    assert bundle.digest == resolve("mood").digest == resolve("topic#topic").digest
    with pytest.raises(ModelError, match="topic is one head; for others write mood#mood"):
        resolve("topic#mood")


def test_an_altered_packaged_model_says_to_install_again(packaged_mood: Path) -> None:
    (packaged_mood / "config.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"config\.json has sha256 .*; install tonewise again"):
        resolve("mood")


def test_a_folder_opens_by_its_path_as_text_or_path(home: Path, no_network: None) -> None:
    folder = write_folder(home / "work" / "mine", tiny_model(None))
    assert resolve("./mine").digest == resolve(folder).digest == resolve("mine/").digest
    assert resolve("./mine").manifest.licence is None


def test_a_folder_of_a_licence_that_forbids_is_refused_until_accepted(home: Path) -> None:
    write_folder(home / "work" / "mine", tiny_model("cc-by-nc-4.0"))
    with pytest.raises(LicenceError, match=r"\./mine has licence 'cc-by-nc-4\.0'"):
        resolve("./mine")
    assert resolve("./mine", StoreConfig(accept_licences=("cc-by-nc-4.0",))).heads


def test_a_pickle_only_folder_is_refused_naming_the_pickle(home: Path) -> None:
    write_folder(home / "work" / "old", {"config.json": b"{}", "pytorch_model.bin": b""})
    with pytest.raises(ModelError, match=r"it has pytorch_model\.bin \(pickle"):
        resolve("./old")


def test_a_hub_model_that_was_never_pulled_says_how_to(no_network: None) -> None:
    with pytest.raises(
        HubError, match=r"acme/mood is not in .*tonewise\.lock; run: tonewise pull acme/mood$"
    ):
        resolve("acme/mood")


def test_a_local_folder_of_a_hub_name_is_pointed_at(home: Path) -> None:
    write_folder(home / "work" / "acme" / "mood", tiny_model())
    with pytest.raises(HubError, match=r"there is a folder acme/mood here: write \./acme/mood"):
        resolve("acme/mood")


def test_a_commit_is_enough_to_pull_and_is_recorded(hub: Hub) -> None:
    ref = f"hub:acme/mood@{'a' * 40}"
    bundle = resolve(ref)
    assert bundle.ref == ref
    assert list(read_lock(lock_path())) == [f"acme/mood@{'a' * 40}"]
    hub.requests.clear()
    assert resolve(ref).digest == bundle.digest
    assert hub.requests == []


def test_in_a_project_the_lock_is_written_beside_it(hub: Hub) -> None:
    Path("pyproject.toml").touch()
    pull("acme/mood")
    assert list(read_lock(Path("tonewise.lock"))) == ["acme/mood"]


def test_a_catalogued_model_under_a_forbidding_licence_is_refused_without_a_request(
    no_network: None,
) -> None:
    for door in (resolve, pull):
        with pytest.raises(LicenceError, match=r"--accept-licences cc-by-nc-4\.0"):
            door("tabularisai/multilingual-sentiment-analysis")


def test_data_terms_are_refused_until_accepted(hub: Hub, home: Path) -> None:
    folder = write_bundle(home / "made", data_terms="research only")
    hub.add("acme/terms", Model({path.name: path.read_bytes() for path in folder.iterdir()}))
    with pytest.raises(LicenceError, match="--accept-data-terms acme/terms"):
        pull("acme/terms")
    accepted = StoreConfig(accept_data_terms=("acme/terms",))
    assert pull("acme/terms", accepted).manifest.data_terms == "research only"
    with pytest.raises(LicenceError):
        resolve("acme/terms")


def test_the_catalogue_speaks_where_the_card_is_silent(hub: Hub) -> None:
    name = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
    hub.add(name, Model(tiny_model(None)))
    assert pull("distilbert-base-uncased-finetuned-sst-2-english").manifest.licence == "apache-2.0"
    assert list(read_lock(lock_path())) == [name]


def test_a_hub_model_may_bring_its_own_manifest(hub: Hub, home: Path) -> None:
    folder = write_bundle(home / "made", data_terms="research only")
    (folder / "extra.json").write_text("{}")
    hub.add("acme/two", Model({path.name: path.read_bytes() for path in folder.iterdir()}))
    with pytest.raises(LicenceError, match="--accept-data-terms acme/two"):
        pull("acme/two")
    assert not hub.asked("GET", "model.safetensors")
    bundle = pull("acme/two#topic", StoreConfig(accept_data_terms=("*",)))
    assert list(bundle.heads) == ["topic"]
    assert not (bundle.folder / "extra.json").exists()
    with pytest.raises(LicenceError, match="research only"):
        resolve("acme/two")


def test_a_model_that_cannot_run_does_not_enter_the_lock(hub: Hub) -> None:
    hub.add("acme/gpt", Model(tiny_model(model_type="gpt2")))
    with pytest.raises(ModelError, match="model_type 'gpt2' is not supported"):
        pull("acme/gpt")
    assert read_lock(lock_path()) == {}


def test_the_entry_of_a_faster_process_is_the_one_that_is_opened(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = pull(f"acme/mood@{'a' * 40}")
    faster = Pin("a" * 40, other.manifest.files, "isc")
    real = record

    def late(path: Path, name: str, pin: Pin) -> Pin:
        real(path, name, faster)
        return real(path, name, pin)

    monkeypatch.setattr(store, "record", late)
    lock_path().unlink()
    assert pull("acme/mood").manifest.licence == "isc"


def test_a_broken_lock_stops_everything_that_needs_it(home: Path) -> None:
    Path("tonewise.lock").write_text("<<<<<<< HEAD")
    with pytest.raises(ModelError, match="not a lock"):
        resolve("acme/mood")


def test_a_snapshot_that_lacks_files_is_completed(hub: Hub) -> None:
    bundle = pull("acme/mood")
    (hub_snapshot("acme/mood", "a" * 40) / "tokenizer.json").unlink()
    assert resolve("acme/mood").digest == bundle.digest


def test_opening_a_model_with_a_manifest_imports_neither_yaml_nor_the_hub(packaged_mood: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tonewise.store import resolve;"
        f"resolve(Path({str(packaged_mood)!r}));"
        "print(sorted({'yaml', 'huggingface_hub', 'numpy', 'safetensors'} & set(sys.modules)))"
    )
    source = str(Path(store.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": source}
    )
    assert done.stdout.strip() == "[]"


def test_no_word_accepts_every_licence(hub: Hub) -> None:
    hub.add("acme/odd", Model(tiny_model("other")))
    with pytest.raises(LicenceError):
        pull("acme/odd", StoreConfig(accept_licences=("*",)))


def test_a_model_is_described_before_its_terms_are_accepted_and_nothing_is_fetched_for_it(hub: Hub) -> None:
    hub.add("acme/odd", Model(tiny_model("other")))
    with pytest.raises(HubError, match="its files are not here; run: tonewise pull acme/odd"):
        describe("acme/odd")
    assert hub.requests == []
    pull("acme/odd", StoreConfig(accept_licences=("other",)))
    assert describe("acme/odd").manifest.licence == "other"
    with pytest.raises(LicenceError):
        resolve("acme/odd")
