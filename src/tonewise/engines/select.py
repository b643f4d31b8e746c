"""What `auto` picks: by what was measured on this machine, else what is right everywhere."""

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from math import inf, isfinite
from pathlib import Path
from typing import Any, Literal

from tonewise.config import BATCH_TOKENS, EngineConfig
from tonewise.engines.base import Engine, Options
from tonewise.engines.feed import LEAST_BUDGET
from tonewise.engines.kinds import ENGINES, Kind, check_engine, open_named
from tonewise.engines.machine import flags, has_bf16, has_int8, memory_limit, processor, processors
from tonewise.engines.trial import Cost, deviation, is_right, race, sample_rows, states_of
from tonewise.errors import ConfigError, EngineError
from tonewise.store import Bundle, Pooling
from tonewise.store.files import cache_folder, parse_json, reason, replacing

AGREEMENT = 0.99
"""int8 is taken on its own where at least this share of labels agrees with fp32."""
RUNTIMES = ("openvino", "onnxruntime", "torch")
"""What is measured: the others are for programs that have their runtime anyway."""
Precision = Literal["int8", "bf16", "fp32"]
PRECISIONS: tuple[Precision, ...] = ("int8", "bf16", "fp32")

log = logging.getLogger("tonewise")


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine, how to open it, and the tokens of its batches."""

    name: str
    options: Options
    batch_tokens: int = BATCH_TOKENS


def choose(
    config: EngineConfig, bundle: Bundle, poolings: Sequence[Pooling], cache_dir: str | None = None
) -> Choice:
    """The engine and its precision as configured, or as `auto` finds them.

    `auto` takes what was measured fastest on this machine, which `tune` does where it was not done before;
    else ONNX Runtime, in int8 where the bundle's ranges agree, the processor has it and a self-test does
    too. Raises ConfigError for what does not exist, MissingExtraError, and what opening an engine raises.
    """
    name = _default_engine(config) if config.engine == "auto" else config.engine
    kind = check_engine(name)
    _check_precision(config, name, kind)
    _check_device(config, name, kind)
    options = Options(
        precision="fp32" if config.precision == "auto" else config.precision,
        threads=choose_threads(config.threads),
        streams=config.streams or 1,
        device=config.device,
        cache=cache_folder(cache_dir),
    )
    unsure = "auto" in (config.engine, config.precision)
    if unsure and config.device == "cpu" and name in RUNTIMES:
        found = costs(config, bundle, poolings, options)
        if found:
            return _fastest(found, options)
    if config.precision == "auto" and _int8_is_right(name, options, bundle, poolings):
        options = replace(options, precision="int8")
    return Choice(name, options)


def choose_threads(wanted: int | None) -> int:
    """The threads asked for, else the processors that this process may use."""
    return wanted or processors()


def costs(config: EngineConfig, bundle: Bundle, poolings: Sequence[Pooling], options: Options) -> list[Cost]:
    """What the engines of `auto` cost here: as measured before, or now if `tune` says so; else nothing.

    One that is not right here is told at each start. Raises EngineError when none is.
    """
    path = options.cache / "tuning" / _name(config, bundle, poolings, options)
    found = _read(path)
    if not found and config.tune:
        found = _measured(config, bundle, poolings, options)
        _write(path, found)
    for cost in found:
        _tell(cost)
    return [cost for cost in found if cost.right]


def _fastest(found: Sequence[Cost], options: Options) -> Choice:
    """The most tokens a second where several streams are wanted, else the least time for one text."""
    many = options.streams > 1
    best = max(found, key=lambda cost: cost.tokens_per_second if many else -cost.single_seconds)
    precision: Any = best.precision
    tokens = _within(memory_limit(), best, options.streams)
    return Choice(best.engine, replace(options, precision=precision), tokens)


def _within(limit: int | None, cost: Cost, streams: int) -> int:
    """The best size of a batch, or less where all streams together would take half of what memory is left."""
    if limit is None or cost.bytes_per_token <= 0:
        return cost.batch_tokens
    return max(LEAST_BUDGET, min(cost.batch_tokens, int(limit / 2 / cost.bytes_per_token / streams)))


def _candidates(config: EngineConfig, bundle: Bundle, precision: Precision) -> list[str]:
    """The installed engines that may be taken in a precision, which the processor has in hardware."""
    names = _racers() if config.engine == "auto" else [config.engine]
    able = [name for name in names if precision in ENGINES[name].precisions]
    if config.precision != "auto":
        return able if config.precision == precision else []
    if precision == "int8":
        return [name for name in able if _agrees(name, bundle)] if has_int8() else []
    return able if precision == "fp32" or has_bf16() else []


def _racers() -> list[str]:
    """The installed runtimes; torch, which is slow to import and won nowhere, only where OpenVINO is none."""
    names = [name for name in RUNTIMES if ENGINES[name].installed]
    return [name for name in names if name != "torch" or "openvino" not in names]


def _agrees(name: str, bundle: Bundle) -> bool:
    return bundle.manifest.agreement.get(name, 0.0) >= AGREEMENT


def _measured(
    config: EngineConfig, bundle: Bundle, poolings: Sequence[Pooling], options: Options
) -> list[Cost]:
    """What engines cost in the lowest precision in which one is right here, and which were not right."""
    rows, padding_id = sample_rows(bundle)
    exact = _exact(bundle, poolings, options)
    found: list[Cost] = []
    for precision in PRECISIONS:
        right: list[tuple[Engine, float]] = []
        with ExitStack() as opened:
            for name in _candidates(config, bundle, precision):
                try:
                    engine = open_named(name, bundle, poolings, replace(options, precision=precision))
                    opened.callback(engine.close)
                    off = deviation(states_of(engine, rows, padding_id), exact)
                except EngineError as error:
                    log.warning("%s in %s fails here: %s", name, precision, error)
                    off = inf
                if is_right(precision, off):
                    right.append((engine, off))
                else:
                    found.append(Cost(name, precision, off, right=False))
            found += race(right, rows, padding_id)
        if any(cost.right for cost in found):
            return found
    for cost in found:
        _tell(cost)
    told = f"{bundle.ref}: no engine that may be taken here passes its self-test"
    raise EngineError(f"{told}; choose another engine or precision")


def _exact(bundle: Bundle, poolings: Sequence[Pooling], options: Options) -> Any:
    """float32[R, P, H]: the self-test's states by ONNX Runtime in fp32."""
    rows, padding_id = sample_rows(bundle)
    yardstick = replace(options, precision="fp32", streams=1, device="cpu")
    with closing(open_named("onnxruntime", bundle, poolings, yardstick)) as engine:
        return states_of(engine, rows, padding_id)


def _int8_is_right(name: str, options: Options, bundle: Bundle, poolings: Sequence[Pooling]) -> bool:
    """Whether int8 may be taken unasked: its ranges agree, the processor has it, the self-test too."""
    if "int8" not in ENGINES[name].precisions or options.device != "cpu":
        return False
    if not (_agrees(name, bundle) and has_int8()):
        return False
    path = options.cache / "tuning" / f"int8-{_name(EngineConfig(name), bundle, poolings, options)}"
    found = _read(path)
    if not found:
        rows, padding_id = sample_rows(bundle)
        exact = _exact(bundle, poolings, options)
        try:
            engine = open_named(name, bundle, poolings, replace(options, precision="int8", streams=1))
            with closing(engine):
                off = deviation(states_of(engine, rows, padding_id), exact)
        except EngineError as error:
            log.warning("%s in int8 fails here: %s", name, error)
            off = inf
        found = [Cost(name, "int8", off, right=is_right("int8", off))]
        _write(path, found)
    _tell(found[0])
    return found[0].right


def _tell(cost: Cost) -> None:
    """Warn of an engine that is not right."""
    if not cost.right:
        how = f"off by {cost.deviation:.0%}" if isfinite(cost.deviation) else "no answer"
        log.warning(
            "%s in %s fails its self-test here (%s); it is not used", cost.engine, cost.precision, how
        )


def _default_engine(config: EngineConfig) -> str:
    """ONNX Runtime; what else has the device or the precision that was asked for, installed ones first."""
    if config.device == "cuda":
        return "torch"
    if config.precision in ("auto", *ENGINES["onnxruntime"].precisions):
        return "onnxruntime"
    having = [name for name in RUNTIMES if config.precision in ENGINES[name].precisions]
    return next((name for name in having if ENGINES[name].installed), having[0])


def _check_precision(config: EngineConfig, name: str, kind: Kind) -> None:
    if config.precision not in ("auto", *kind.precisions):
        having = [other for other, one in ENGINES.items() if config.precision in one.precisions]
        told = f"leave out the precision, or choose {' or '.join(having)}"
        raise ConfigError(f"the {name} engine has no {config.precision}; {told}")


def _check_device(config: EngineConfig, name: str, kind: Kind) -> None:
    if config.device not in kind.devices:
        having = [other for other, one in ENGINES.items() if config.device in one.devices]
        raise ConfigError(f"the {name} engine does not run on {config.device}; {' and '.join(having)} do")


def _name(config: EngineConfig, bundle: Bundle, poolings: Sequence[Pooling], options: Options) -> str:
    """A file name for what was measured: of this model, this machine, these runtimes, this work."""
    told = [
        config.engine,
        config.precision,
        options.threads,
        options.streams,
        *poolings,
        processor(),
        sorted(flags()),
        processors(),
        [_version(str(ENGINES[name].module)) for name in RUNTIMES],
        _version("tonewise"),
    ]
    machine = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    return f"{bundle.digest.removeprefix('sha256:')[:32]}-{machine}.json"


def _version(module: str) -> str | None:
    try:
        return version(module)
    except PackageNotFoundError:
        return None


def _read(path: Path) -> list[Cost]:
    """What was measured before; nothing where that cannot be read."""
    try:
        found = [Cost(**row) for row in parse_json(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError):
        return []
    return found if all(map(_is_sound, found)) else []


def _is_sound(cost: Cost) -> bool:
    numbers = asdict(cost)
    named = numbers.pop("engine") in RUNTIMES and numbers.pop("precision") in PRECISIONS
    return named and all(isinstance(number, (int, float)) for number in numbers.values())


def _write(path: Path, found: Sequence[Cost]) -> None:
    try:
        with replacing(path) as file:
            file.write(json.dumps([asdict(cost) for cost in found], indent=1).encode())
    except OSError as error:
        told = "%s cannot be written (%s); it is measured again at each start"
        log.warning(told, path.parent, reason(error))
