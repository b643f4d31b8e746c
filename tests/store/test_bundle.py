"""A folder becomes a bundle only when every file that a run reads is vouched for."""

import json
from pathlib import Path

import pytest

from tonewise.errors import IntegrityError, ModelError
from tonewise.store import HeadSpec, Manifest, open_bundle
from tonewise.store.bundle import heads_of
from tonewise.store.files import sha256_of

from .conftest import write_bundle, write_folder
from .hub_server import tiny_model


def test_a_plain_folder_is_described_by_its_config_and_card(tmp_path: Path) -> None:
    bundle = open_bundle(write_folder(tmp_path / "m", tiny_model()), "./m")
    assert bundle.heads == {
        "label": HeadSpec(("low", "high"), "classifier", dense="pre_classifier", activation="relu")
    }
    assert (bundle.manifest.licence, bundle.manifest.languages) == ("mit", ("en",))
    assert bundle.manifest.files["config.json"].sha256 == sha256_of(tmp_path / "m" / "config.json")
    assert bundle.digest.startswith("sha256:")


def test_the_digest_follows_the_bytes_and_not_the_place(tmp_path: Path) -> None:
    one = open_bundle(write_folder(tmp_path / "one", tiny_model()), "./one")
    two = open_bundle(write_folder(tmp_path / "two", tiny_model()), "./two")
    assert one.digest == two.digest
    (tmp_path / "two" / "tokenizer.json").write_text("{}")
    assert open_bundle(tmp_path / "two", "./two").digest != one.digest


def test_heads_are_selected_by_name_in_the_order_asked(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "m"), "./m")
    assert list(bundle.select(["topic", "mood"]).heads) == ["topic", "mood"]
    assert bundle.select([]) is bundle
    with pytest.raises(ModelError, match=r"\./m: no head 'x'; it has mood, topic"):
        bundle.select(["x"])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "README.md"])
def test_a_file_that_differs_from_the_manifest_is_named(tmp_path: Path, name: str) -> None:
    folder = write_bundle(tmp_path / "m")
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(IntegrityError, match=f"{name} has sha256 .* altered or damaged"):
        open_bundle(folder, "./m")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(IntegrityError, match=r"\./m: tokenizer\.json is missing"):
        open_bundle(folder, "./m")


def test_a_file_that_nothing_vouches_for_is_not_read(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "m")
    (folder / "NOTICE").write_text("a document may stand there")
    assert open_bundle(folder, "./m").heads
    (folder / "vocab.txt").write_text("[PAD]\n")
    with pytest.raises(IntegrityError, match=r"vocab\.txt is not named by tonewise\.json"):
        open_bundle(folder, "./m")


def test_the_lock_is_believed_over_the_manifest(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "m")
    pinned = {path.name: sha256_of(path) for path in folder.iterdir()}
    assert open_bundle(folder, "a/b", pinned=pinned).heads
    with pytest.raises(IntegrityError, match=r"tonewise\.json has sha256"):
        open_bundle(folder, "a/b", pinned=pinned | {"tonewise.json": "0" * 64})
    del pinned["config.json"]
    with pytest.raises(IntegrityError, match=r"config\.json is not named by the lock"):
        open_bundle(folder, "a/b", pinned=pinned)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["pytorch_model.bin"], r"it has pytorch_model\.bin \(pickle: can run code when opened\); ask for"),
        (["model.pt", "model.onnx"], r"it has model\.pt \(pickle"),
        (["model.onnx", "tf_model.h5"], r"it has model\.onnx, tf_model\.h5; ask for"),
        (
            ["model.safetensors.index.json", "model-00001-of-00002.safetensors"],
            "its weights are split over several files",
        ),
        ([], "it has no weights at all"),
    ],
)
def test_a_folder_without_safetensors_is_refused_naming_what_it_has(
    tmp_path: Path, names: list[str], message: str
) -> None:
    files = tiny_model()
    del files["model.safetensors"]
    write_folder(tmp_path / "m", files | dict.fromkeys(names, b""))
    with pytest.raises(ModelError, match=rf"\./m: no model\.safetensors; {message}"):
        open_bundle(tmp_path / "m", "./m")


def test_a_git_lfs_pointer_is_not_mistaken_for_weights(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    write_folder(tmp_path / "m", tiny_model() | {"model.safetensors": pointer})
    with pytest.raises(ModelError, match=r"Git LFS pointer.*git lfs pull"):
        open_bundle(tmp_path / "m", "./m")


def test_a_folder_that_is_not_there_or_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("none", "file"):
        with pytest.raises(ModelError, match=f"there is no folder .*{name}"):
            open_bundle(tmp_path / name, "./m")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"a":' * 100_000])
def test_a_broken_config_is_named(tmp_path: Path, data: bytes) -> None:
    write_folder(tmp_path / "m", tiny_model() | {"config.json": data})
    with pytest.raises(ModelError, match=r"\./m: .*config\.json"):
        open_bundle(tmp_path / "m", "./m")


def test_a_manifest_that_is_not_text_is_named(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "m")
    (folder / "tonewise.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match="is not UTF-8"):
        open_bundle(folder, "./m")


@pytest.mark.parametrize(
    ("model_type", "architecture", "dense", "activation", "output"),
    [
        ("distilbert", "DistilBert", "pre_classifier", "relu", "classifier"),
        ("bert", "Bert", "bert.pooler.dense", "tanh", "classifier"),
        ("roberta", "Roberta", "classifier.dense", "tanh", "classifier.out_proj"),
        ("xlm-roberta", "XLMRoberta", "classifier.dense", "tanh", "classifier.out_proj"),
    ],
)
def test_each_family_keeps_its_head_where_its_library_does(
    model_type: str, architecture: str, dense: str, activation: str, output: str
) -> None:
    network = {"model_type": model_type, "architectures": [f"{architecture}ForSequenceClassification"]}
    (head,) = heads_of(network, "m").values()
    assert (head.dense, head.activation, head.output) == (dense, activation, output)
    assert head.labels == ("LABEL_0", "LABEL_1")


@pytest.mark.parametrize("architectures", [None, [], ["BertModel"], "BertForSequenceClassification"])
def test_a_bare_encoder_has_no_head(architectures: object) -> None:
    assert heads_of({"model_type": "bert", "architectures": architectures}, "m") == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2' is not supported; supported: bert"),
        ({"problem_type": "ranking"}, "problem_type 'ranking'"),
        ({"id2label": {"1": "a"}}, "does not number its labels from 0"),
        ({"id2label": {"0": "a", "1": "a"}}, "names a label twice"),
        ({"id2label": {}}, "names no label"),
        ({"id2label": ["a"]}, "does not number"),
        ({"id2label": None, "num_labels": "many"}, "num_labels is 'many'; wanted: a whole number from 1"),
        ({"num_labels": 0}, "num_labels is 0"),
        ({"num_labels": True}, "num_labels is True"),
        ({"num_labels": 10**15}, "num_labels is 1000000000000000"),
    ],
)
def test_a_head_that_cannot_be_read_is_an_error(change: dict[str, object], message: str) -> None:
    network = {"model_type": "bert", "architectures": ["BertForSequenceClassification"]} | change
    with pytest.raises(ModelError, match=message):
        heads_of(network, "m")


def test_a_count_of_labels_names_them_by_number() -> None:
    network = {"model_type": "bert", "architectures": ["BertForSequenceClassification"], "num_labels": 3}
    assert heads_of(network, "m")["label"].labels == ("LABEL_0", "LABEL_1", "LABEL_2")


MODES = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")
POOLING: dict[str, object] = {f"pooling_mode_{mode}": False for mode in MODES}


def sentence_folder(folder: Path, pooling: dict[str, object] | None, kinds: list[str] | None) -> Path:
    """A folder as sentence-transformers saves it."""
    files = tiny_model()
    if pooling is not None:
        files["1_Pooling/config.json"] = json.dumps(pooling).encode()
    if kinds is not None:
        modules = [
            {
                "idx": i,
                "name": str(i),
                "path": f"{i}_{kind}" if i else "",
                "type": f"sentence_transformers.models.{kind}",
            }
            for i, kind in enumerate(kinds)
        ]
        files["modules.json"] = json.dumps(modules).encode()
    return write_folder(folder, files)


PLAIN = ["Transformer", "Pooling"]


@pytest.mark.parametrize(
    ("modes", "kinds", "embedding"),
    [
        (None, None, {"pooling": "mean", "normalize": True}),
        (["cls_token"], None, {"pooling": "first", "normalize": True}),
        (["cls_token"], PLAIN, {"pooling": "first", "normalize": False}),
        (["mean_tokens"], PLAIN, {"pooling": "mean", "normalize": False}),
        (["mean_tokens"], [*PLAIN, "Normalize"], {"pooling": "mean", "normalize": True}),
        (["max_tokens"], None, {"unsupported": "pooling max"}),
        (["max_tokens"], PLAIN, {"unsupported": "pooling max"}),
        (["mean_sqrt_len_tokens"], PLAIN, {"unsupported": "pooling mean_sqrt_len"}),
        (["cls_token", "mean_tokens"], PLAIN, {"unsupported": "pooling cls + mean"}),
        ([], PLAIN, {"unsupported": "pooling none"}),
        (["mean_tokens"], [*PLAIN, "Dense"], {"unsupported": "module Dense"}),
        (["mean_tokens"], [*PLAIN, "Normalize", "Normalize"], {"unsupported": "modules"}),
        (["mean_tokens"], ["Transformer"], {"unsupported": "modules Transformer"}),
        (["mean_tokens"], ["Transformer", "Normalize", "Pooling"], {"unsupported": "modules"}),
        (None, PLAIN, {"unsupported": "1_Pooling/config.json is missing"}),
    ],
)
def test_a_sentence_transformers_folder_embeds_as_it_says_or_says_why_not(
    tmp_path: Path, modes: list[str] | None, kinds: list[str] | None, embedding: dict[str, object]
) -> None:
    pooling = None if modes is None else POOLING | {f"pooling_mode_{mode}": True for mode in modes}
    bundle = open_bundle(sentence_folder(tmp_path / "m", pooling, kinds), "./m")
    found = dict(bundle.manifest.embedding)
    if "unsupported" in embedding:
        assert found.pop("unsupported").startswith(embedding["unsupported"])
        assert not found
    else:
        assert found == embedding
    assert bundle.heads, "its heads do not need its vectors"
    assert Manifest.from_json(bundle.manifest.to_json(), "here") == bundle.manifest


@pytest.mark.parametrize(
    ("pooling", "embedding"),
    [
        ({"pooling_mode_cls_token": True}, "first"),
        ({"word_embedding_dimension": 8}, "mean"),
        ({"pooling_mode": "cls"}, "first"),
        ({"pooling_mode": "mean"}, "mean"),
    ],
)
def test_a_short_pooling_config_means_what_its_library_makes_of_it(
    tmp_path: Path, pooling: dict[str, object], embedding: str
) -> None:
    folder = sentence_folder(tmp_path / "m", pooling, PLAIN)
    assert open_bundle(folder, "./m").manifest.embedding == {"pooling": embedding, "normalize": False}


def test_modules_are_vouched_for_and_must_be_a_list(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "m", POOLING | {"pooling_mode_mean_tokens": True}, PLAIN)
    before = open_bundle(folder, "./m")
    assert {"modules.json", "1_Pooling/config.json"} <= set(before.manifest.files)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    after = open_bundle(folder, "./m")
    assert after.manifest.embedding == {"unsupported": "modules in '0_Transformer' and '1_Pooling'"}
    assert after.digest != before.digest
    for data in ("{}", "[1]", "[" * 100_000):
        (folder / "modules.json").write_text(data)
        with pytest.raises(ModelError, match=r"\./m: .*modules\.json "):
            open_bundle(folder, "./m")
