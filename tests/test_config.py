"""Settings: default < TOML < environment < flag; what is unknown or of the wrong kind is named."""

from contextlib import suppress
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonewise.config import BATCH_TOKENS, CONCERNS, KNOBS, Config, Settings, load_config
from tonewise.errors import ConfigError


def config(flags: dict[str, Any] | None = None, **environment: str) -> Config:
    return load_config(flags, environment=environment)


def test_without_settings_everything_is_at_its_default(here: Path) -> None:
    assert config() == Config()


def test_each_layer_covers_the_one_below(here: Path) -> None:
    (here / "tonewise.toml").write_text(
        'max_batch_rows = 1\nmax_batch_tokens = 1\nthreads = 1\nengine = "stub"\n'
    )
    found = config({"threads": 3}, TONEWISE_MAX_BATCH_TOKENS="2", TONEWISE_THREADS="2")
    assert found.batch.max_batch_rows == 1, "from the file"
    assert found.batch.max_batch_tokens == 2, "from the environment"
    assert found.engine.threads == 3, "from the flag"
    assert found.engine.engine == "stub"
    assert found.engine.precision == "auto", "the default"


def test_a_flag_that_was_not_given_covers_nothing() -> None:
    assert config(
        {"threads": None, "offline": None}, TONEWISE_THREADS="2", TONEWISE_OFFLINE="yes"
    ) == load_config({"threads": 2, "offline": True}, environment={})


def test_a_flag_may_say_no() -> None:
    assert config({"offline": False}, TONEWISE_OFFLINE="1").store.offline is False


def test_another_file_may_be_named(here: Path) -> None:
    (here / "tonewise.toml").write_text("threads = 1")
    (here / "other.toml").write_text("threads = 2")
    assert load_config(environment={}, path="other.toml").engine.threads == 2
    assert config(TONEWISE_CONFIG="other.toml").engine.threads == 2
    with pytest.raises(ConfigError, match=r"^none\.toml: .*No such file"):
        load_config(environment={}, path="none.toml")


def test_variables_of_other_programs_are_left_alone() -> None:
    assert config(TONEWISE_DATA="/data", HF_HOME="/x", TONEWISEX="1") == Config()
    links: Any = {"TONEWISE_PORT": "tcp://10.0.0.1:80", "TONEWISE_PORT_80_TCP_ADDR": "10.0.0.1"}
    assert config(TONEWISE_SERVICE_HOST="10.0.0.1", TONEWISE_SERVICE_PORT="80", **links) == Config()
    assert config(TONEWISE_PORT="9000").serve.port == 9000


def test_an_unknown_key_names_its_origin_and_the_nearest_known_one(here: Path) -> None:
    (here / "tonewise.toml").write_text("max_batch_token = 7")
    with pytest.raises(
        ConfigError, match=r"^tonewise\.toml: no setting 'max_batch_token'; did you mean max_batch_tokens\?$"
    ):
        config()
    (here / "tonewise.toml").unlink()
    with pytest.raises(
        ConfigError,
        match=r"^environment variable TONEWISE_TREADS: no setting 'treads'; did you mean threads\?$",
    ):
        config(TONEWISE_TREADS="1")
    with pytest.raises(ConfigError, match=r"^argument: no setting 'xyzzy'; known: accept_data_terms, "):
        config({"xyzzy": 1})


WRONG = [
    ("threads", "two", "a whole number"),
    ("threads", 1.5, "a whole number"),
    ("threads", True, "a whole number"),
    ("max_wait_seconds", "soon", "a number"),
    ("offline", "maybe", "true or false"),
    ("too_long", "cut", "truncate | error | window"),
    ("precision", "int4", "auto | int8 | bf16 | fp32"),
    ("device", "gpu", "cpu | cuda"),
    ("tune", "maybe", "true or false"),
    ("input_format", "xml", "csv | tsv | json | jsonl | parquet | lines"),
    ("accept_licences", 5, "names separated by commas"),
    ("max_wait_seconds", 10**400, "a number"),
    ("text_column", ["a", "b"], "text"),
]


@pytest.mark.parametrize(("name", "value", "wanted"), WRONG)
def test_a_value_of_the_wrong_kind_says_what_is_wanted(name: str, value: Any, wanted: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config({name: value})
    assert str(caught.value) == f"argument: {name} cannot be {value!r}; wanted: {wanted}"


@pytest.mark.parametrize(
    "values",
    [
        {"threads": 0},
        {"streams": 0},
        {"max_length": 3},
        {"stride": -1},
        {"top_k": 0},
        {"max_batch_tokens": 0},
        {"max_batch_rows": 0},
        {"buffer_rows": 0},
        {"buffer_tokens": 0},
        {"max_wait_seconds": -0.1},
        {"max_wait_seconds": float("nan")},
        {"max_wait_seconds": float("inf")},
    ],
)
def test_a_value_under_which_nothing_runs_is_refused(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(ConfigError, match=f"^{name} is .*; "):
        config(values)


def test_text_becomes_the_type_of_its_knob() -> None:
    found = config(
        TONEWISE_ACCEPT_LICENCES="cc-by-nc-4.0, gpl-3.0,",
        TONEWISE_MAX_WAIT_SECONDS="2",
        TONEWISE_QUOTING="on",
        TONEWISE_TEXT_COLUMN="7",
        TONEWISE_DEVICE="cuda",
        TONEWISE_TUNE="1",
    )
    assert found.store.accept_licences == ("cc-by-nc-4.0", "gpl-3.0")
    assert (found.batch.max_wait_seconds, found.source.quoting, found.source.text_column) == (2.0, True, "7")
    assert (found.engine.device, found.engine.tune) == ("cuda", True)


def test_a_mapping_is_a_file_or_a_table(here: Path) -> None:
    assert config(TONEWISE_MAP="mine.csv").head.map == "mine.csv"
    assert config({"map": {"joy": "good"}}).head.map == {"joy": "good"}
    (here / "tonewise.toml").write_text('map = {joy = "good"}')
    assert config().head.map == {"joy": "good"}
    with pytest.raises(ConfigError, match="argument: text_column cannot be"):
        config({"text_column": {"joy": "good"}})


def test_a_budget_that_is_not_told_is_a_thousand_tokens() -> None:
    assert (config().batch.max_batch_tokens, config().batch.budget) == (None, BATCH_TOKENS)
    assert config({"max_batch_tokens": 7}).batch.budget == 7


@pytest.mark.parametrize("broken", [b"threads = ", b"\xff", b"[engine]\nthreads = 1"])
def test_a_broken_file_is_named(here: Path, broken: bytes) -> None:
    (here / "tonewise.toml").write_bytes(broken)
    with pytest.raises(ConfigError, match=r"^tonewise\.toml: "):
        config()


def test_every_knob_has_one_name_and_a_line_that_tells_it() -> None:
    assert sum(len(fields(kind)) for kind in CONCERNS.values()) == len(KNOBS)
    for name, concern in KNOBS.items():
        assert f"\n    {name} " in str(CONCERNS[concern].__doc__), name


def test_settings_by_name_are_knobs_of_the_same_type() -> None:
    for name, hint in get_type_hints(Settings).items():
        own = get_type_hints(CONCERNS[KNOBS[name]])[name]
        same = (
            str(hint)
            .replace("collections.abc.Sequence[str]", "tuple[str, ...]")
            .replace("<class ", "")
            .strip("'>")
        )
        assert same in str(own) or hint == own, name


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Config().engine.threads = 2  # type: ignore[misc]


@given(
    st.text(), st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.text()))
)
def test_no_setting_whatever_ends_in_anything_but_a_config_error(name: str, value: Any) -> None:
    for key in (name, *KNOBS):
        with suppress(ConfigError):
            load_config({key: value}, environment={})
