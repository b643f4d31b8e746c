"""The models of a server: opened on demand, shared by their heads' names, swapped whole, bounded in bytes."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from tonewise.classifier import Classifier
from tonewise.config import Config
from tonewise.engines.machine import resident_bytes
from tonewise.errors import EngineError, ModelError, NotFoundError, TonewiseError, UnavailableError
from tonewise.serve.scheduler import Scheduler
from tonewise.serve.waiting import Lane
from tonewise.store import Bundle, resolve
from tonewise.tokenizer import Encoding

OWNER = "tonewise"

State = Literal["loaded", "loading", "unloaded", "mending"]
Kind = Literal["classify", "logits", "embed"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Opened:
    """A classifier in memory, and what uses it."""

    def __init__(self, bundle: Bundle, classifier: Classifier, number: int, held: int) -> None:
        """`held` is the memory that it took."""
        self.bundle, self.classifier = bundle, classifier
        self.in_use = 0
        self.retired = False
        self.bytes = held
        budget, rows = classifier.config.batch.budget, classifier.config.batch.max_batch_rows
        self.lanes = {
            kind: Lane(f"{bundle.digest[:12]}/{kind}/{number}", self._compute(kind), budget, rows)
            for kind in KINDS
        }

    def _compute(self, kind: Kind) -> Any:
        classifier = self.classifier

        def classify(encodings: Sequence[Encoding]) -> Sequence[Any]:
            return classifier.decode(encodings, classifier.infer(encodings, streams=1))

        def logits(encodings: Sequence[Encoding]) -> Sequence[Any]:
            states = classifier.infer(encodings, streams=1)
            answers = zip(
                classifier.decode(encodings, states), classifier.decode_logits(encodings, states), strict=True
            )
            return [one if isinstance(one, EngineError) else (one, raw) for one, raw in answers]

        def embed(encodings: Sequence[Encoding]) -> Sequence[Any]:
            states = classifier.infer(encodings, to_embed=True, streams=1)
            return classifier.decode_vectors(encodings, states, normalize=False)

        return {"classify": classify, "logits": logits, "embed": embed}[kind]

    def mended(self, classifier: Classifier, scheduler: Scheduler) -> None:
        """Go on with a fresh engine; the one that hung is left behind."""
        self.classifier = classifier
        for kind in KINDS:
            scheduler.reopen(self.lanes[kind], self._compute(kind))

    def has(self, heads: Iterable[str]) -> bool:
        """Whether it answers with all of these."""
        return set(heads) <= self.classifier.heads.keys()

    def release(self) -> None:
        """One use less; the last one of a retired model closes it."""
        self.in_use -= 1
        if self.retired and self.in_use == 0:
            self.classifier.close()

    def retire(self) -> None:
        """Nothing new uses it; it is closed once nothing does."""
        self.retired = True
        if self.in_use == 0:
            self.classifier.close()


@dataclass
class Model:
    """A name under which a model is asked for.

    heads   that this name answers with, in order
    opened  None while it is not in memory
    """

    name: str
    ref: str
    bundle: Bundle
    opened: Opened | None = None
    state: State = "unloaded"
    used: float = 0.0
    opening: "asyncio.Task[Opened] | None" = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """`owner/name`, as clients of hubs name it."""
        return self.name if "/" in self.name else f"{OWNER}/{self.name}"

    @property
    def heads(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(self.bundle.heads)


class Models:
    """All models by name. Belongs to one event loop; models are opened in a thread beside it."""

    def __init__(
        self,
        config: Config,
        scheduler: Scheduler,
        workers: int,
        retired: Callable[[Opened], None] = lambda opened: None,
    ) -> None:
        """`retired` is told of what is in use no longer."""
        self.config = replace(config, engine=replace(config.engine, streams=workers))
        self.scheduler, self._retired = scheduler, retired
        self._models: dict[str, Model] = {}
        self._opener = ThreadPoolExecutor(1, thread_name_prefix="tonewise-open")
        self._numbers = 0

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def __len__(self) -> int:
        """How many names there are."""
        return len(self._models)

    @property
    def default(self) -> Model:
        """The first one, which answers where none is named."""
        return next(iter(self._models.values()))

    def add(self, spec: str) -> Model:
        """Take in `REF` or `NAME=REF`; its files are checked, and opened when it is first asked for.

        Raises ModelError and its kin for the model, also for a name that is there already.
        """
        name, mark, ref = spec.partition("=")
        ref = ref if mark else spec
        bundle = resolve(ref, self.config.store)
        return self._add(name if mark else _name(bundle, ref), ref, bundle)

    def _add(self, name: str, ref: str, bundle: Bundle) -> Model:
        if name in self._models:
            raise ModelError(f"two models are called '{name}'; give one a name: NAME={ref}")
        self._models[name] = Model(name, ref, bundle)
        return self._models[name]

    def find(self, name: str | None) -> Model:
        """The model of a name or an id, the default one for None. Raises NotFoundError."""
        if name is None:
            return self.default
        for model in (self._models.get(name), self._models.get(name.removeprefix(f"{OWNER}/"))):
            if model is not None:
                return model
        raise self._unknown(name)

    async def open_all(self) -> None:
        """Open the first model, and each other one that has room. Raises what opening raises."""
        for model in self._models.values():
            most, held = self.config.serve.max_model_bytes, sum(one.bytes for one in self._open_ones())
            if most is None or model is self.default or held + model.bundle.weights.stat().st_size <= most:
                await self._opened(model)

    async def use(self, model: Model) -> Opened:
        """The model in memory, opened when it is not; `release` it afterwards. Raises what opening raises."""
        model.used = time.monotonic()
        opened = model.opened or await self._opened(model)
        opened.in_use += 1
        return opened

    async def load(self, name: str, ref: str | None = None) -> Model:
        """Open a model, or another version of it; from then on requests go to that one.

        What the old one has in hand it finishes. Raises as `Classifier.load` does; then all stays as it was.
        """
        model = self._models.get(name) or self._models.get(name.removeprefix(f"{OWNER}/"))
        if model is None:
            if ref is None:
                raise self._unknown(name)
            name = name.removeprefix(f"{OWNER}/")
            model = self._add(name, ref, await self._in_thread(resolve, ref, self.config.store))
            try:
                await self._opened(model)
            except TonewiseError:
                del self._models[name]
                raise
            return model
        if ref is None or (ref == model.ref and model.opened is not None):
            await self._opened(model)
            return model
        bundle = await self._in_thread(resolve, ref, self.config.store)
        opened = await self._open(bundle)
        old, model.opened, model.ref, model.bundle, model.state = model.opened, opened, ref, bundle, "loaded"
        model.opening = None
        self._retire(old)
        return model

    def unload(self, name: str) -> Model:
        """Let go of a model's memory once nothing uses it; it is opened again when it is asked for."""
        model = self.find(name)
        old, model.opened, model.state = model.opened, None, "unloaded"
        self._retire(old)
        return model

    async def mend(self, lane: Lane) -> None:
        """Open a fresh engine for the model whose batch hung. Raises EngineError when none can be had."""
        if (opened := self.owner(lane)) is not None:
            for one in opened.lanes.values():
                one.open = False
            fresh = await self._in_thread(self._classifier, opened.bundle)
            opened.mended(fresh, self.scheduler)

    def owner(self, lane: Lane) -> Opened | None:
        """What is open under a name and has this lane."""
        return next((one for one in self._open_ones() if lane in one.lanes.values()), None)

    def close(self) -> None:
        """Close what is open."""
        self._opener.shutdown(wait=False, cancel_futures=True)
        for opened in {id(one.opened): one.opened for one in self._models.values() if one.opened}.values():
            opened.classifier.close()

    # How.

    def _unknown(self, name: str) -> NotFoundError:
        return NotFoundError(f"no model is called '{name}' here; there are: {', '.join(self._models)}")

    async def _opened(self, model: Model) -> Opened:
        if model.opened is not None:
            return model.opened
        if model.opening is None:
            model.state = "loading"
            model.opening = asyncio.get_running_loop().create_task(self._open(model.bundle))
        opening = model.opening
        try:
            opened = await asyncio.shield(opening)
        except asyncio.CancelledError:
            raise
        except BaseException:
            model.opening, model.state = None, "unloaded"
            raise
        if model.opening is opening:
            model.opened, model.opening, model.state = opened, None, "loaded"
            opened.retired = False
        return opened

    async def _open(self, bundle: Bundle) -> Opened:
        """In memory already under another name, or opened now, after room was made for it."""
        for model in self._models.values():
            opened = model.opened
            if opened is not None and opened.bundle.digest == bundle.digest and opened.has(bundle.heads):
                return opened
        stored = bundle.weights.stat().st_size
        self._make_room(stored)
        before = resident_bytes()
        classifier = await self._in_thread(self._classifier, bundle)
        self._numbers += 1
        return Opened(bundle, classifier, self._numbers, max(stored, resident_bytes() - before))

    def _classifier(self, bundle: Bundle) -> Classifier:
        """With all of the bundle's heads, so that names of single heads share one encoder."""
        whole = bundle if self.config.head.map is not None else replace(bundle, heads=bundle.manifest.heads)
        classifier = Classifier.of(whole, self.config)
        classifier.warm(32)
        return classifier

    def _make_room(self, wanted: int) -> None:
        """Unload what was unused longest until `wanted` bytes fit. Raises UnavailableError."""
        most = self.config.serve.max_model_bytes
        if most is None:
            return
        if wanted > most:
            raise UnavailableError(f"the model takes {wanted:,} bytes, and max_model_bytes is {most:,}")
        while sum(one.bytes for one in self._open_ones()) + wanted > most:
            idle = [model for model in self._models.values() if model.opened and not model.opened.in_use]
            if not idle:
                raise UnavailableError("there is no room for the model while others are in use; ask again")
            self.unload(min(idle, key=lambda one: one.used).name)

    def _open_ones(self) -> list[Opened]:
        return list({id(one.opened): one.opened for one in self._models.values() if one.opened}.values())

    def _retire(self, old: Opened | None) -> None:
        if old is not None and all(model.opened is not old for model in self._models.values()):
            old.retire()
            self._retired(old)

    async def _in_thread(self, call: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._opener, call, *arguments)


def _name(bundle: Bundle, ref: str) -> str:
    """A hub model's `owner/name`, a packaged model's name, a folder's last part."""
    plain, _, heads = ref.partition("#")
    if plain.startswith((".", "/", "~")) or plain.endswith("/"):
        base = bundle.folder.resolve().name
    else:
        base = plain.removeprefix("hub:").partition("@")[0]
    return f"{base}.{heads}" if heads else base
