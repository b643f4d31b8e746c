"""Stage 2 · text or pair → Encoding: token ids, with a stated choice for what is too long."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from numbers import Integral
from operator import index
from pathlib import Path
from typing import Any, Self

from tokenizers import Encoding as RawEncoding
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from tonewise.config import TokenizerConfig
from tonewise.errors import ConfigError, InputError, ModelError, RowError, TooLongError
from tonewise.store import Bundle
from tonewise.store.bundle import read_json

Text = str | tuple[str, str]
LEAST_LENGTH = 4
SPARE_ROWS = 256
"""Vocabularies are padded to a round number; more rows than this without a token mean another model's."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one row of a batch holds: a text, or a window of one. `type_ids` None means all zero."""

    input_ids: Sequence[int]
    type_ids: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Encoding:
    """One text or pair as tokens.

    rows       its windows; one row for all that fits or was cut
    n_tokens   of the whole text, special tokens included, before any cut
    truncated  a part of the text is in no row
    """

    rows: tuple[Row, ...]
    n_tokens: int
    truncated: bool = False

    @classmethod
    def of(cls, input_ids: Sequence[int], type_ids: Sequence[int] | None = None) -> Self:
        """Wrap ids from elsewhere, special tokens included. Raises InputError when they are no ids."""
        try:
            ids = tuple(map(index, input_ids))
            types = None if type_ids is None else tuple(map(index, type_ids))
        except TypeError:
            raise InputError("an Encoding holds token ids and type ids, which are whole numbers") from None
        if not ids:
            raise InputError("an Encoding needs at least one token id")
        if types is not None and len(types) != len(ids):
            raise InputError(f"an Encoding has {len(ids)} token ids but {len(types)} type ids")
        return cls((Row(ids, types),), len(ids))


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a text; `start` and `stop` count its characters, None for special tokens."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class Tokenizer:
    """The model's own vocabulary and rules, read once; safe to share between threads."""

    def __init__(self, raw: RawTokenizer, *, max_length: int, types: bool, config: TokenizerConfig) -> None:
        """`max_length` is the model's own limit; `types` says whether it tells the texts of a pair apart."""
        self.config = config
        self.max_length = _limit(max_length, config)
        self.padding_id = _padding_id(raw)
        self._types = types
        self._raw = raw
        self._raw.no_truncation()
        self._raw.no_padding()

    def under(self, config: TokenizerConfig) -> "Tokenizer":
        """The same vocabulary and rules with another policy for what is too long; costs nothing.

        Raises ConfigError for a `max_length` above that of this tokenizer.
        """
        other = copy(self)
        other.config, other.max_length = config, _limit(self.max_length, config)
        return other

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Every token and its id, added ones included."""
        return self._raw.get_vocab()

    def encode(self, texts: Sequence[Text]) -> list[Encoding]:
        """Tokenize each text or pair.

        Raises RowError naming the first that is no text, or that is too long where the policy is `error`.
        """
        encodings = self.encode_each(texts)
        for i, encoding in enumerate(encodings):
            if isinstance(encoding, InputError):
                raise RowError(f"text {i + 1}", encoding)
        return encodings  # type: ignore[return-value]  # no errors are left

    def encode_each(self, texts: Sequence[Text]) -> list[Encoding | InputError]:
        """The same, with each failure in its text's place."""
        faults = [_fault(text) for text in texts]
        good = [text for text, fault in zip(texts, faults, strict=True) if fault is None]
        try:
            raw: Sequence[RawEncoding | InputError] = self._raw.encode_batch_fast(good)
        except Exception:  # the library raises bare Exception, for the whole batch
            raw = [self._encode_one(text) for text in good]
        found = iter(zip(good, raw, strict=True))
        return [self._encoding(*next(found)) if fault is None else fault for fault in faults]

    def tokens(self, text: str) -> list[Token]:
        """The tokens of a whole text, to be looked at. Raises InputError when it cannot be tokenized."""
        if fault := _fault(text):
            raise fault
        try:
            raw = self._raw.encode(text)
        except Exception as error:  # the library raises bare Exception
            raise InputError(f"the tokenizer cannot read this text: {error}") from None
        rows = zip(raw.ids, raw.tokens, raw.special_tokens_mask, raw.offsets, strict=True)
        return [
            Token(i, token, bool(special), *((None, None) if special else place))
            for i, token, special, place in rows
        ]

    def _encode_one(self, text: Text) -> RawEncoding | InputError:
        try:
            return self._raw.encode_batch_fast([text])[0]
        except Exception as error:  # the library raises bare Exception
            return InputError(f"the tokenizer cannot read this text: {' '.join(str(error).split())[:200]}")

    def _encoding(self, text: Text, raw: RawEncoding | InputError) -> Encoding | InputError:
        if isinstance(raw, InputError):
            return raw
        ids = raw.ids
        if len(ids) <= self.max_length:
            return Encoding((self._row(raw, ids, text),), len(ids))
        if self.config.too_long == "error":
            return TooLongError(
                f"{len(ids)} tokens, where the model takes {self.max_length}; shorten it, or choose "
                "another policy for what is too long: truncate or window"
            )
        if self.config.too_long == "window":
            if isinstance(text, tuple):
                return InputError(
                    f"a pair of {len(ids)} tokens is too long, and only single texts have windows"
                )
            return Encoding(tuple(self._windows(ids)), len(ids))
        return Encoding((self._cut(raw, text),), len(ids), truncated=True)

    def _row(self, raw: RawEncoding, ids: list[int], text: Text) -> Row:
        # Only a pair has ones among its type ids; skipping the rest saves a list per text.
        return Row(ids, raw.type_ids if self._types and isinstance(text, tuple) else None)

    def _windows(self, ids: list[int]) -> Iterable[Row]:
        """Rows of `max_length` over the text's tokens, each with the special tokens of a whole text."""
        before, after = self._specials()
        body = ids[len(before) : len(ids) - len(after)]
        room = self.max_length - len(before) - len(after)
        step = max(1, room - self.config.stride)
        for start in range(0, len(body), step):
            yield Row([*before, *body[start : start + room], *after])
            if start + room >= len(body):
                return

    def _specials(self) -> tuple[list[int], list[int]]:
        """The special tokens before and after a single text."""
        raw = self._raw.encode("a")
        inner = [i for i, special in enumerate(raw.special_tokens_mask) if not special]
        return raw.ids[: inner[0]], raw.ids[inner[-1] + 1 :]

    def _cut(self, raw: RawEncoding, text: Text) -> Row:
        """The row cut as `transformers` does: the longer text of a pair gives way first, by its end."""
        if isinstance(text, str):
            return next(iter(self._windows(raw.ids)))
        sides = raw.sequence_ids
        parts = [[i for i, side in enumerate(sides) if side == of] for of in (0, 1)]
        first, second = _room(len(parts[0]), len(parts[1]), self.max_length - sides.count(None))
        dropped = {*parts[0][first:], *parts[1][second:]}
        kept = [i for i in range(len(sides)) if i not in dropped]
        ids, types = raw.ids, raw.type_ids
        return Row([ids[i] for i in kept], [types[i] for i in kept] if self._types else None)


def checked(encoding: Encoding, words: int, most: int) -> Encoding | InputError:
    """An Encoding from elsewhere, or why it is not one of a model of so many words and tokens a row."""
    if not encoding.rows:
        return InputError("an Encoding needs at least one row")
    for row in encoding.rows:
        ids, types = row.input_ids, row.type_ids
        if not 1 <= len(ids) <= most:
            return InputError(f"an Encoding has a row of {len(ids)} tokens; wanted: 1 to {most}")
        if types is not None and len(types) != len(ids):
            return InputError(f"an Encoding has a row of {len(ids)} tokens but {len(types)} type ids")
        if not all(isinstance(one, (int, Integral)) for one in (*ids, *(types or ()))):
            return InputError("an Encoding holds an id that is not a whole number")
        if not 0 <= min(ids) <= max(ids) < words:
            return InputError(f"an Encoding holds a token id outside 0 to {words - 1}")
    return encoding


def estimated_length(text: Any) -> int:
    """Tokens of a text before it is tokenized, at about four characters each."""
    if isinstance(text, Encoding):
        return sum(len(row.input_ids) for row in text.rows)
    parts = text if isinstance(text, tuple) else (text,)
    return 2 + sum(len(part) for part in parts if isinstance(part, str)) // 4


def open_tokenizer(bundle: Bundle, config: TokenizerConfig, *, max_length: int, types: bool) -> Tokenizer:
    """Read a bundle's tokenizer: `tokenizer.json`, else `vocab.txt` with `tokenizer_config.json`.

    Raises ModelError when there is none, or when its vocabulary or special tokens do not fit the model.
    """
    raw = _read(bundle)
    _check_fit(raw, bundle)
    if config.max_length is None:
        config = replace(config, max_length=_stated_length(bundle, max_length))
    return Tokenizer(raw, max_length=max_length, types=types, config=config)


def _stated_length(bundle: Bundle, most: int) -> int:
    """The `model_max_length` of transformers where the model can read so much; else the most it reads.

    A model that was trained on shorter texts states it; transformers writes 1e30 where nothing is known.
    """
    path = bundle.folder / "tokenizer_config.json"
    stated = read_json(path, bundle.ref).get("model_max_length") if path.is_file() else None
    return stated if isinstance(stated, int) and LEAST_LENGTH <= stated <= most else most


def _read(bundle: Bundle) -> RawTokenizer:
    whole, vocabulary = bundle.folder / "tokenizer.json", bundle.folder / "vocab.txt"
    if whole.is_file():
        try:
            return RawTokenizer.from_file(str(whole))
        except Exception as error:  # the library raises bare Exception
            raise ModelError(f"{bundle.ref}: {whole} is not a tokenizer: {error}") from None
    if vocabulary.is_file():
        return _word_piece(vocabulary, bundle)
    raise ModelError(f"{bundle.ref}: no tokenizer.json and no vocab.txt in {bundle.folder}")


def _word_piece(vocabulary: Path, bundle: Bundle) -> RawTokenizer:
    """BERT's tokenizer from its vocabulary and settings (google-research/bert, tokenization.py)."""
    path = bundle.folder / "tokenizer_config.json"
    settings: Mapping[str, Any] = read_json(path, bundle.ref) if path.is_file() else {}
    try:
        tokens = vocabulary.read_text("utf-8").rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{bundle.ref}: {vocabulary} cannot be read: {error}") from None
    table = {token.rstrip("\r"): i for i, token in enumerate(tokens)}
    names = {kind: _token(settings, kind) for kind in ("unk_token", "cls_token", "sep_token", "pad_token")}
    for kind, token in names.items():
        if token not in table:
            raise ModelError(f"{bundle.ref}: {vocabulary} lacks the {kind} {token!r}")
    return _assemble(table, names, settings)


def _assemble(
    table: Mapping[str, int], names: Mapping[str, str], settings: Mapping[str, Any]
) -> RawTokenizer:
    raw = RawTokenizer(
        models.WordPiece(dict(table), unk_token=names["unk_token"], max_input_chars_per_word=100)
    )
    lower, strip = bool(settings.get("do_lower_case", True)), settings.get("strip_accents")
    raw.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        strip_accents=None if strip is None else bool(strip),
        lowercase=lower,
    )
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cls, sep = names["cls_token"], names["sep_token"]
    raw.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, table[cls]), (sep, table[sep])],
    )
    raw.decoder = decoders.WordPiece()
    mask = _token(settings, "mask_token")
    raw.add_special_tokens([*names.values(), *([mask] if mask in table else [])])
    return raw


_DEFAULT_TOKENS = {
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
}


def _token(settings: Mapping[str, Any], kind: str) -> str:
    value = settings.get(kind) or _DEFAULT_TOKENS[kind]
    return str(value.get("content", _DEFAULT_TOKENS[kind]) if isinstance(value, Mapping) else value)


def _check_fit(raw: RawTokenizer, bundle: Bundle) -> None:
    """A tokenizer of another model would give wrong answers, not errors: refuse it here."""
    config = bundle.network
    rows, highest = config.get("vocab_size"), max(raw.get_vocab().values(), default=-1)
    if isinstance(rows, int) and not rows - SPARE_ROWS <= highest + 1 <= rows:
        raise ModelError(
            f"{bundle.ref}: the tokenizer has {highest + 1} tokens, the model's vocabulary {rows}; "
            "they do not belong together"
        )
    empty = raw.encode("")  # which a tokenizer with padding of its own may have padded
    special = [token for token, real in zip(empty.ids, empty.attention_mask, strict=True) if real]
    if not special:
        raise ModelError(
            f"{bundle.ref}: the tokenizer adds no special tokens, which this model was trained with"
        )
    ends = (config.get("bos_token_id"), config.get("eos_token_id"))
    if "roberta" in str(config.get("model_type")) and None not in ends and ends != (special[0], special[-1]):
        raise ModelError(
            f"{bundle.ref}: the tokenizer begins and ends a text with tokens {special[0]} and {special[-1]}, "
            f"but config.json names {ends[0]} and {ends[1]}"
        )
    wanted, found = config.get("pad_token_id"), _padding_id(raw)
    if isinstance(wanted, int) and found != wanted:
        raise ModelError(
            f"{bundle.ref}: padding is token {found} in the tokenizer but {wanted} in config.json"
        )


def _padding_id(raw: RawTokenizer) -> int:
    if raw.padding is not None:
        return int(raw.padding["pad_id"])
    for token in ("[PAD]", "<pad>"):
        if (found := raw.token_to_id(token)) is not None:
            return found
    return 0


def _limit(model: int, config: TokenizerConfig) -> int:
    most = model if config.max_length is None else config.max_length
    if most > model:
        raise ConfigError(f"max_length is {most}, but this model takes {model} tokens at most")
    if config.too_long == "window" and config.stride >= most - 2:
        raise ConfigError(f"stride is {config.stride}, which leaves windows of {most} nothing new")
    return most


def _fault(text: object) -> InputError | None:
    """Why this is no text, if it is not."""
    parts = text if isinstance(text, tuple) and len(text) == 2 else (text,)
    for part in parts:
        if not isinstance(part, str):
            return InputError(f"the text is {_named(part)}; wanted: a string, or a tuple of two")
        try:
            part.encode()
        except UnicodeEncodeError:
            return InputError(
                "the text holds a lone surrogate, which is no character; decode it with errors='replace'"
            )
    return None


def _room(first: int, second: int, most: int) -> tuple[int, int]:
    """How much of two texts is kept: the longer gives way until they are equal, then both do.

    Of an odd number the shorter one has the smaller half (tokenizers, utils/truncation.rs).
    """
    if first + second <= most:
        return first, second
    less, more = min(first, second), max(first, second)
    more = less if less > most else max(less, most - less)
    if less + more > most:
        less, more = most // 2, most - most // 2
    return (less, more) if first <= second else (more, less)


def _named(value: object) -> str:
    return "missing (None)" if value is None else f"of type {type(value).__name__}"
