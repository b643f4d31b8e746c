"""Downloads: what a good hub gives, and every way in which a bad one fails."""

import errno
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tonewise import store
from tonewise.config import StoreConfig
from tonewise.errors import HubError, IntegrityError, LicenceError, ModelError
from tonewise.store import pull, resolve
from tonewise.store.files import hub_snapshot

from .conftest import lock_table
from .hub_server import Hub, Model, tiny_model

COMMIT = "a" * 40
WEIGHTS = "model.safetensors"


def assert_one_line(error: BaseException) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 400


def test_a_pull_fetches_checks_and_pins_every_file(hub: Hub, home: Path) -> None:
    bundle = pull("acme/mood")
    assert bundle.heads["label"].labels == ("low", "high")
    assert bundle.manifest.origin == {"hub": "acme/mood", "commit": COMMIT}
    assert bundle.manifest.licence == "mit"
    assert bundle.weights.read_bytes() == hub.models["acme/mood"].files[WEIGHTS]
    entry = lock_table(home)["acme/mood"]
    assert entry["commit"] == COMMIT
    assert set(entry["files"]) == {"config.json", WEIGHTS, "tokenizer.json", "README.md"}  # type: ignore[call-overload]


def test_files_are_only_ever_asked_for_by_commit(hub: Hub) -> None:
    pull("acme/mood")
    paths = [path for _, path, _ in hub.requests if "resolve" in path]
    assert paths
    assert all(f"/resolve/{COMMIT}/" in path for path in paths)


def test_files_that_a_run_does_not_read_are_not_fetched(hub: Hub) -> None:
    hub.models["acme/mood"].files |= {"pytorch_model.bin": b"pickle", "notes/huge.txt": b"x"}
    pull("acme/mood")
    assert not hub.asked("GET", "pytorch_model.bin")
    assert not hub.asked("GET", "huge.txt")


def test_a_second_pull_downloads_nothing(hub: Hub) -> None:
    digest = pull("acme/mood").digest
    hub.requests.clear()
    assert pull("acme/mood").digest == digest
    assert hub.requests == []


def test_a_lock_from_elsewhere_is_fulfilled_by_its_commit_and_hashes(hub: Hub, home: Path) -> None:
    digest = pull("acme/mood").digest
    (home / "hf").rename(home / "elsewhere")
    hub.requests.clear()
    assert resolve("acme/mood").digest == digest
    assert not hub.asked("GET", "api/models")


def test_a_model_that_changed_upstream_stays_as_it_was_locked(hub: Hub) -> None:
    digest = pull("acme/mood").digest
    hub.add("acme/mood", Model(tiny_model(id2label={"0": "new"}), commit="b" * 40))
    assert pull("acme/mood").digest == digest
    assert pull(f"hub:acme/mood@{'b' * 40}").heads["label"].labels == ("new",)
    assert resolve("acme/mood").digest == digest


def test_a_renamed_model_is_followed(hub: Hub) -> None:
    hub.moved["old/mood"] = "acme/mood"
    assert pull("old/mood").heads["label"].labels == ("low", "high")


def test_wrong_bytes_are_refused_and_the_next_pull_is_good(hub: Hub, home: Path) -> None:
    hub.fail(WEIGHTS, "wrong", "wrong")
    with pytest.raises(
        IntegrityError, match=r"acme/mood@a{12} model\.safetensors: the hub sent other"
    ) as caught:
        pull("acme/mood")
    assert_one_line(caught.value)
    assert not (hub_snapshot("acme/mood", COMMIT) / WEIGHTS).exists()
    assert not (home / "data" / "tonewise" / "tonewise.lock").exists()
    assert pull("acme/mood").heads


def test_wrong_bytes_of_a_small_file_are_caught_by_its_git_id(hub: Hub) -> None:
    hub.fail("config.json", "wrong", "wrong")
    with pytest.raises(IntegrityError, match=r"config\.json"):
        pull("acme/mood")
    assert pull("acme/mood").heads


def test_a_single_damaged_transfer_is_repeated(hub: Hub) -> None:
    hub.fail(WEIGHTS, "wrong")
    assert pull("acme/mood").heads
    assert len(hub.asked("GET", f"cdn/acme/mood/{WEIGHTS}")) == 2


def test_a_truncated_download_is_refused_and_the_next_pull_is_good(hub: Hub) -> None:
    hub.fail(WEIGHTS, "short")
    with pytest.raises(HubError, match=r"model\.safetensors: the download came incomplete") as caught:
        pull("acme/mood")
    assert_one_line(caught.value)
    assert not (hub_snapshot("acme/mood", COMMIT) / WEIGHTS).exists()
    assert pull("acme/mood").heads


def test_a_dropped_connection_is_resumed_where_it_broke(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.fail(WEIGHTS, "drop", "drop")
    assert pull("acme/mood").heads
    first, *resumed = hub.asked("GET", f"cdn/acme/mood/{WEIGHTS}")
    assert first is None
    assert len(resumed) == 2
    starts = [int(span[len("bytes=") : -1]) for span in resumed if span]
    assert 0 < starts[0] < starts[1]


def test_a_hub_that_recovers_is_asked_again(hub: Hub) -> None:
    hub.fail("api", 503, 502)
    hub.fail(WEIGHTS, 503)
    assert pull("acme/mood").heads


def test_a_hub_that_stays_down_is_reported(hub: Hub) -> None:
    hub.fail("api", 503, 503, 503)
    with pytest.raises(HubError, match="acme/mood: the hub answered 503; try again later"):
        pull("acme/mood")


def test_too_many_requests_are_named(hub: Hub) -> None:
    hub.fail("api", 429, 429, 429)
    with pytest.raises(HubError, match="too many requests"):
        pull("acme/mood")


def test_an_unknown_or_private_model_says_both(hub: Hub) -> None:
    with pytest.raises(
        HubError, match=r"acme/nothing: .*no such model, or it is private.*HF_TOKEN"
    ) as caught:
        pull("acme/nothing")
    assert_one_line(caught.value)


def test_a_private_model_opens_with_the_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.models["acme/mood"].token = "hf_good"
    with pytest.raises(HubError, match="HF_TOKEN"):
        pull("acme/mood")
    monkeypatch.setenv("HF_TOKEN", "hf_bad")
    with pytest.raises(HubError, match=r"does not accept the token \(401\)"):
        pull("acme/mood")
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert pull("acme/mood").heads


def test_a_gated_model_says_so(hub: Hub) -> None:
    hub.models["acme/mood"].gated = True
    with pytest.raises(HubError, match="gated; accept its terms"):
        pull("acme/mood")


def test_an_unknown_commit_says_so(hub: Hub) -> None:
    with pytest.raises(HubError, match="no such commit"):
        pull(f"acme/mood@{'c' * 40}")


def test_a_file_that_is_listed_but_not_served_is_named(hub: Hub) -> None:
    hub.fail("tokenizer.json", "missing")
    with pytest.raises(HubError, match=r"tokenizer\.json: the hub lists this file"):
        pull("acme/mood")


def test_a_page_in_place_of_an_answer_is_no_hub(hub: Hub) -> None:
    hub.fail("api", "html")
    with pytest.raises(HubError, match="did not answer as a hub does") as caught:
        pull("acme/mood")
    assert_one_line(caught.value)


def test_a_hub_without_hashes_is_not_believed(hub: Hub) -> None:
    hub.models["acme/mood"].info = {"siblings": [{"rfilename": WEIGHTS}]}
    with pytest.raises(HubError, match=r"no hash for model\.safetensors"):
        pull("acme/mood")


def test_a_hub_that_answers_for_another_commit_is_not_believed(hub: Hub) -> None:
    hub.models["acme/mood"].info = {"sha": "d" * 40}
    with pytest.raises(HubError, match="answers for commit"):
        pull(f"acme/mood@{COMMIT}")


def test_a_refused_connection_names_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match=r"http://127\.0\.0\.1:9 cannot be reached") as caught:
        pull("acme/mood")
    assert_one_line(caught.value)


def test_a_hub_that_does_not_answer_in_time_is_reported(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from tonewise.store import hub as room

    timeout = type("ReadTimeout", (room.TransportError,), {})

    def silent(*args: object, **kwargs: object) -> None:
        raise timeout("timed out")

    monkeypatch.setattr(HfApi, "model_info", silent)
    with pytest.raises(HubError, match="did not answer in time"):
        pull("acme/mood")


def test_a_pickle_only_model_is_refused_before_anything_is_downloaded(hub: Hub) -> None:
    files = tiny_model()
    files["pytorch_model.bin"] = files.pop(WEIGHTS)
    hub.add("acme/old", Model(files))
    with pytest.raises(
        ModelError, match=r"acme/old: no model\.safetensors; it has pytorch_model\.bin \(pickle"
    ):
        pull("acme/old")
    assert not hub.asked("GET", "resolve")


@pytest.mark.parametrize("licence", [None, "other", "unknown", "cc-by-nc-4.0"])
def test_the_licence_gate_closes_before_the_weights_are_fetched(hub: Hub, licence: str | None) -> None:
    hub.add("acme/gate", Model(tiny_model(licence)))
    with pytest.raises(LicenceError, match=f"--accept-licences {licence or 'unstated'}"):
        pull("acme/gate")
    assert not hub.asked("GET", WEIGHTS)
    config = StoreConfig(accept_licences=(licence or "unstated",))
    assert pull("acme/gate", config).heads
    with pytest.raises(LicenceError):
        resolve("acme/gate")


def test_a_full_disk_is_found_before_the_download(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(HubError, match=r"0 MB free in .*HF_HOME"):
        pull("acme/mood")
    assert not hub.asked("GET", "resolve")


def test_a_disk_that_fills_up_during_the_download_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    from tonewise.store import hub as room

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(room, "hf_hub_download", full)
    with pytest.raises(HubError, match="the disk is full; make room or access, or set HF_HOME"):
        pull("acme/mood")


def test_a_cached_file_that_was_damaged_is_refused_and_mended_by_a_pull(hub: Hub) -> None:
    path = pull("acme/mood").weights
    path.resolve().write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(
        IntegrityError, match=r"model\.safetensors has sha256 .*; run: tonewise pull acme/mood"
    ):
        resolve("acme/mood")
    assert pull("acme/mood").digest == resolve("acme/mood").digest


def test_a_damaged_blob_left_by_another_program_is_replaced(hub: Hub) -> None:
    path = pull("acme/mood").weights
    blob = path.resolve()
    blob.write_bytes(b"\0" * blob.stat().st_size)
    path.unlink()
    assert resolve("acme/mood").weights.read_bytes() == hub.models["acme/mood"].files[WEIGHTS]


def test_other_bytes_under_a_locked_commit_are_refused(hub: Hub, home: Path) -> None:
    pull("acme/mood")
    (home / "hf").rename(home / "elsewhere")
    hub.models["acme/mood"].files["config.json"] = b"{}"
    with pytest.raises(IntegrityError, match=r"config\.json: the hub sent other bytes"):
        resolve("acme/mood")


def test_offline_never_opens_a_socket(hub: Hub, home: Path, no_network: None) -> None:
    offline = StoreConfig(offline=True)
    for ref in ("acme/mood", f"hub:acme/mood@{COMMIT}"):
        with pytest.raises(HubError):
            resolve(ref, offline)
        with pytest.raises(HubError, match="offline is set"):
            pull(ref, offline)
    assert hub.requests == []


def test_offline_uses_what_is_here_and_names_what_is_not(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    bundle = pull("acme/mood")
    request.getfixturevalue("no_network")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert resolve("acme/mood").digest == pull("acme/mood").digest == bundle.digest
    bundle.weights.unlink()
    with pytest.raises(HubError, match=r"model\.safetensors is not in .* offline is set"):
        pull("acme/mood")


def test_nothing_is_printed_or_logged(
    hub: Hub, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    hub.fail(WEIGHTS, "drop")
    hub.fail("config.json", 503)
    pull("acme/mood")
    with pytest.raises(HubError):
        pull("acme/nothing")
    assert capfd.readouterr() == ("", "")
    assert [record.message for record in caplog.records if record.name.startswith("huggingface_hub")] == []


def test_two_processes_may_pull_at_once(hub: Hub, home: Path) -> None:
    source = str(Path(store.__file__).parents[2])
    code = "from tonewise.store import pull; print(pull('acme/mood').digest)"
    environment = os.environ | {"PYTHONPATH": source}
    pulls = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=60) for process in pulls]
    assert [process.returncode for process in pulls] == [0, 0], answers
    assert {out.strip().decode() for out, _ in answers} == {resolve("acme/mood").digest}
    assert [err for _, err in answers] == [b"", b""]
    assert list(lock_table(home)) == ["acme/mood"]


def test_a_connection_that_always_drops_is_given_up(hub: Hub) -> None:
    hub.faults[WEIGHTS].extend(["drop"] * 100)
    with pytest.raises(HubError, match=r"model\.safetensors: .* cannot be reached") as caught:
        pull("acme/mood")
    assert_one_line(caught.value)
