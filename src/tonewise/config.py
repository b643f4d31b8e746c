"""Settings: one frozen dataclass per concern, filled from default < TOML < environment < flag."""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args, get_origin, get_type_hints

from tonewise.errors import ConfigError

TooLong = Literal["truncate", "error", "window"]
WindowPooling = Literal["mean", "max"]
OnError = Literal["stop", "skip"]
Precision = Literal["auto", "int8", "bf16", "fp32"]
Device = Literal["cpu", "cuda"]
InputFormat = Literal["csv", "tsv", "json", "jsonl", "parquet", "lines"]
OutputFormat = Literal["jsonl", "csv", "parquet", "table"]

PREFIX = "TONEWISE_"
BATCH_TOKENS = 1024
"""Of a batch where nothing was measured: enough for every runtime here to be near its best."""
OTHER_VARIABLES = frozenset({"TONEWISE_CONFIG", "TONEWISE_DATA", "TONEWISE_ENVIRONMENTS"})
SERVICE_LINKS = re.compile(r"TONEWISE_(SERVICE_(HOST|PORT)(_\w+)?|PORT_\w+)=.*|TONEWISE_PORT=\w+://.*", re.S)
"""What Kubernetes sets in every pod beside a service that is called tonewise."""


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Which models may be fetched and run.

    offline            never touch the network
    accept_licences    licences accepted beyond the permissive ones; `unstated` for none at all
    accept_data_terms  refs whose restrictive data terms are accepted (`*` for all)
    cache_dir          built graphs; default: the user's cache folder
    """

    offline: bool = False
    accept_licences: tuple[str, ...] = ()
    accept_data_terms: tuple[str, ...] = ()
    cache_dir: str | None = None


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """How texts become tokens.

    max_length      tokens of a row, special ones included; default: what the model states, or its limit
    too_long        truncate | error | window
    stride          tokens that neighbouring windows share
    window_pooling  how the scores of a text's windows are joined: mean | max
    """

    max_length: int | None = None
    too_long: TooLong = "truncate"
    stride: int = 32
    window_pooling: WindowPooling = "mean"

    def __post_init__(self) -> None:
        """Refuse lengths that leave no room for text."""
        if self.max_length is not None and self.max_length < 4:
            raise ConfigError(f"max_length is {self.max_length}; the least is 4")
        if self.stride < 0:
            raise ConfigError(f"stride is {self.stride}; it cannot be negative")


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """How rows are grouped.

    max_batch_tokens  tokens of a batch, padding included; default: what was measured best here, else 1024
    max_batch_rows    rows of a batch
    buffer_tokens     tokens held back at most to be sorted by length
    buffer_rows       examples held back at most
    max_wait_seconds  after this long a slow source's examples are answered unsorted
    """

    max_batch_tokens: int | None = None
    max_batch_rows: int = 256
    buffer_tokens: int = 131_072
    buffer_rows: int = 4096
    max_wait_seconds: float = 0.5

    def __post_init__(self) -> None:
        """Refuse sizes under which nothing could be batched."""
        for name in ("max_batch_tokens", "max_batch_rows", "buffer_tokens", "buffer_rows"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ConfigError(f"{name} is {count}; the least is 1")
        if not 0 <= self.max_wait_seconds <= 86_400:
            raise ConfigError(f"max_wait_seconds is {self.max_wait_seconds}; wanted: 0 to 86,400")

    @property
    def budget(self) -> int:
        """Tokens of a batch, whether told or not."""
        return self.max_batch_tokens or BATCH_TOKENS


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What runs the network.

    engine     auto | openvino | onnxruntime | torch | jax | tensorflow | reference | stub
    precision  auto | int8 | bf16 | fp32
    device     cpu | cuda
    threads    of the forward passes, all together; default: the processors this process may use
    streams    forward passes in flight, which share the threads: 1 answers one text soonest, and as many
               as there are threads get most out of many; default: 1, and for files one a thread
    tune       where engine or precision is auto, measure what is installed if that was not done before,
               which takes seconds; what was measured is kept in the cache folder
    """

    engine: str = "auto"
    precision: Precision = "auto"
    device: Device = "cpu"
    threads: int | None = None
    streams: int | None = None
    tune: bool = False

    def __post_init__(self) -> None:
        """Refuse counts that run nothing."""
        for name in ("threads", "streams"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ConfigError(f"{name} is {count}; the least is 1")


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """What the heads answer in.

    map  file (.json, .toml, .csv), or a table, that maps each of the model's labels to the consumer's;
         default: the model's labels
    """

    map: str | Path | Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """How input files are read.

    input_format      csv | tsv | json | jsonl | parquet | lines; default: by the file's name
    text_column       default: the one obvious column
    text_pair_column  the second text of a pair; default: none
    encoding          of text files
    delimiter         of CSV; default: comma, or semicolon, tab or bar where the header shows it
    quoting           read quotes in TSV, which are plain characters otherwise
    """

    input_format: InputFormat | None = None
    text_column: str | None = None
    text_pair_column: str | None = None
    encoding: str = "utf-8"
    delimiter: str | None = None
    quoting: bool = False


@dataclass(frozen=True, slots=True)
class SinkConfig:
    """How answers are written.

    output_format  jsonl | csv | parquet | table; default: by the file's name
    scores         one column per label in CSV and Parquet
    top_k          scores kept per head, best first; default: all, in the model's order
    uncertainty    add to each head's answer its entropy (nats) and its margin
    """

    output_format: OutputFormat | None = None
    scores: bool = False
    top_k: int | None = None
    uncertainty: bool = False

    def __post_init__(self) -> None:
        """Refuse a top_k that keeps nothing."""
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k is {self.top_k}; the least is 1")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What a command runs.

    model     ref of the model
    on_error  what a row that cannot be used does: stop | skip
    """

    model: str = "emotion"
    on_error: OnError = "stop"


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """How models are served over HTTP.

    host               address to listen on; any but the loopback's needs keys
    port               to listen on; 0 takes a free one
    models             refs to serve, or NAME=REF; the first answers where none is named; default: model
    keys               file of the keys that `tonewise key` makes; default: whoever reaches the port may ask
    without_keys       listen beyond the loopback although there are no keys
    max_queue_tokens   admitted and not yet answered, at four bytes of a request each; beyond, 429
    max_queue_seconds  of work before a request, for a minute after there were too many tokens; beyond, 429
    max_body_bytes     of a request; beyond, 413
    max_texts          of a request; beyond, too_many_status
    too_many_status    422, or 413 for old clients of TEI
    timeout_seconds    for an answer, from the first byte; a caller may ask for less
    hang_seconds       for one batch; after that the engine is given up and opened anew
    grace_seconds      to finish what is in hand when told to stop
    max_model_bytes    of all loaded models; the one unused longest goes first; default: no limit
    cache_bytes        of answers kept to be given again; 0 keeps none
    cors_origins       pages of other origins that may ask; `*` for all
    log_texts          write texts to the log of requests
    """

    host: str = "127.0.0.1"
    port: int = 8321
    models: tuple[str, ...] = ()
    keys: str | None = None
    without_keys: bool = False
    max_queue_tokens: int = 65_536
    max_queue_seconds: float = 1.0
    max_body_bytes: int = 2_000_000
    max_texts: int = 1_024
    too_many_status: int = 422
    timeout_seconds: float = 30.0
    hang_seconds: float = 20.0
    grace_seconds: float = 20.0
    max_model_bytes: int | None = None
    cache_bytes: int = 64_000_000
    cors_origins: tuple[str, ...] = ()
    log_texts: bool = False

    def __post_init__(self) -> None:
        """Refuse limits that let nothing through."""
        for name in ("max_queue_tokens", "max_body_bytes", "max_texts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; the least is 1")
        for name in ("max_queue_seconds", "timeout_seconds", "hang_seconds", "grace_seconds"):
            if not 0 < getattr(self, name) <= 86_400:
                raise ConfigError(f"{name} is {getattr(self, name)}; wanted: above 0 and at most 86,400")
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port is {self.port}; wanted: 0 to 65535")
        if self.too_many_status not in (413, 422):
            raise ConfigError(f"too_many_status is {self.too_many_status}; wanted: 422 or 413")
        if self.cache_bytes < 0:
            raise ConfigError(f"cache_bytes is {self.cache_bytes}; 0 keeps nothing")


@dataclass(frozen=True, slots=True)
class Config:
    """All concerns together; `load_config` fills it."""

    store: StoreConfig = field(default_factory=StoreConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    source: SourceConfig = field(default_factory=SourceConfig)
    sink: SinkConfig = field(default_factory=SinkConfig)
    run: RunConfig = field(default_factory=RunConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)


class Settings(TypedDict, total=False):
    """The knobs that `Classifier.load` takes by name; each is told in its concern above."""

    offline: bool
    accept_licences: Sequence[str]
    accept_data_terms: Sequence[str]
    cache_dir: str
    max_length: int
    too_long: TooLong
    stride: int
    window_pooling: WindowPooling
    max_batch_tokens: int
    max_batch_rows: int
    buffer_tokens: int
    buffer_rows: int
    max_wait_seconds: float
    engine: str
    precision: Precision
    device: Device
    threads: int
    streams: int
    tune: bool
    map: str | Path | Mapping[str, Any]
    text_column: str
    text_pair_column: str


CONCERNS: dict[str, type] = {
    "store": StoreConfig,
    "tokenizer": TokenizerConfig,
    "batch": BatchConfig,
    "engine": EngineConfig,
    "head": HeadConfig,
    "source": SourceConfig,
    "sink": SinkConfig,
    "run": RunConfig,
    "serve": ServeConfig,
}
KNOBS = {knob.name: concern for concern, kind in CONCERNS.items() for knob in fields(kind)}


def load_config(
    flags: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    path: str | Path | None = None,
) -> Config:
    """Join the layers: defaults, then `tonewise.toml`, then `TONEWISE_*`, then flags that are not None.

    `path` (or `TONEWISE_CONFIG`) names the TOML file; without one, `./tonewise.toml` is read when it
    exists. Raises ConfigError for an unknown key or a value of the wrong kind, naming its origin.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    values.update(_from_toml(path or environment.get("TONEWISE_CONFIG")))
    values.update(_from_environment(environment))
    for name, value in (flags or {}).items():
        if value is not None:
            values[name] = _checked(name, value, "argument")
    return _assemble(values)


def _assemble(values: Mapping[str, Any]) -> Config:
    grouped: dict[str, dict[str, Any]] = {concern: {} for concern in CONCERNS}
    for name, value in values.items():
        grouped[KNOBS[name]][name] = value
    return Config(**{concern: kind(**grouped[concern]) for concern, kind in CONCERNS.items()})


def _from_toml(path: str | Path | None) -> dict[str, Any]:
    where = Path(path or "tonewise.toml")
    if path is None and not where.is_file():
        return {}
    try:
        table = tomllib.loads(where.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{where}: {error}") from None
    return {name: _checked(name, value, str(where)) for name, value in table.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for variable, text in environment.items():
        if SERVICE_LINKS.fullmatch(f"{variable}={text}"):
            continue
        if variable.startswith(PREFIX) and variable not in OTHER_VARIABLES:
            name = variable.removeprefix(PREFIX).lower()
            values[name] = _checked(name, text, f"environment variable {variable}")
    return values


def _checked(name: str, value: Any, origin: str) -> Any:
    """Convert `value` to the type of the knob `name`, or say why not."""
    if name not in KNOBS:
        close = difflib.get_close_matches(name, KNOBS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(KNOBS))}"
        raise ConfigError(f"{origin}: no setting '{name}'; {hint}")
    wanted = get_type_hints(CONCERNS[KNOBS[name]])[name]
    try:
        return _convert(wanted, value)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{origin}: {name} cannot be {value!r}; wanted: {_words(wanted)}") from None


def _convert(wanted: Any, value: Any) -> Any:
    choices = get_args(wanted)
    if get_origin(wanted) is Literal:
        return _one_of(choices, value)
    if isinstance(value, Mapping) and any(get_origin(kind) is Mapping for kind in choices):
        return value
    if isinstance(value, Mapping) or (wanted is str and isinstance(value, (list, tuple))):
        raise TypeError
    if get_origin(wanted) is tuple:
        items = value.split(",") if isinstance(value, str) else value
        return tuple(str(item).strip() for item in items if str(item).strip())
    if type(None) in choices:  # an optional knob
        return _convert(next(kind for kind in choices if kind is not type(None)), value)
    if wanted is bool:
        return _boolean(value)
    if isinstance(value, bool) or (wanted is int and isinstance(value, float)):
        raise TypeError
    return wanted(value)


def _one_of(choices: tuple[Any, ...], value: Any) -> Any:
    if value not in choices:
        raise ValueError
    return value


def _boolean(value: Any) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False, "": False}
    if str(value).lower() not in words:
        raise ValueError
    return words[str(value).lower()]


def _words(wanted: Any) -> str:
    choices = get_args(wanted)
    if get_origin(wanted) is Literal:
        return " | ".join(choices)
    if get_origin(wanted) is tuple:
        return "names separated by commas"
    if type(None) in choices:  # an optional knob
        return _words(next(kind for kind in choices if kind is not type(None)))
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(wanted, "text")
