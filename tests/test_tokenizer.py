"""Text becomes the tokens that transformers would make of it, and what is too long is dealt with as told."""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models, pre_tokenizers
from transformers import AutoTokenizer

from tests.doubles import MakeModel
from tests.models import WORDS, changed, make_model, opened
from tonewise.config import TokenizerConfig, TooLong
from tonewise.errors import ConfigError, InputError, ModelError, RowError, TooLongError
from tonewise.tokenizer import Encoding, Row, Text, Tokenizer, open_tokenizer

Make = Callable[..., Path]
SPECIAL = WORDS[:5]

# Letters that tell one setting from another: cases, accents (whole and combining), CJK, kana, right to
# left, joined emoji, blanks of every kind, and characters that are cleaned away.
TRICKY = (
    "aAbBzZ09 .,!?-'[]#@_éÉüßİıñå\u0301\u0308\u0327ΣσςΩжЖёЁاأبשלом日本語中文한국어カがｶ゛ไทยहिन्दी"
    "\u00a0\u2009\u3000\u200b\u200d\ufeff\u00ad\t\n\r\0\x07\ufffd\u2028🙂👩\u200d👩\u200d👧🇫🇷ﬁ①𝐀\U0002f800"
)
TEXTS = (
    "",
    " ",
    "the day was good .",
    "The DAY was Good!",
    "Crème brûlée à la carte",
    "cre\u0300me bru\u0302le\u0301e",
    "日本語とEnglishの mix",
    "שלום عَرَبِيّ",
    "🙂👩\u200d👩\u200d👧 ok",
    "[CLS] the [SEP] day [PAD] [MASK] [UNK] ##s",
    "<s> the </s> day <pad>",
    "a\0b\x07c\ufffdd\u200be",
    "x" * 150 + " the",
    "\ud7ff\ue000\U0010ffff",
)
GRID = [
    (lower, strip, cjk) for lower in (True, False) for strip in (None, True, False) for cjk in (True, False)
]


@cache
def vocabulary() -> tuple[str, ...]:
    """Special tokens, some words, and every tricky letter at the beginning and inside of a word."""
    letters = dict.fromkeys(
        c for c in TRICKY + "the day was good ΑΒΓαβγ" if not c.isspace() and c.isprintable()
    )
    inside = [f"##{letter}" for letter in letters]
    words = ["the", "day", "Day", "was", "good", "Good", "Crème", "creme", "crème", "日本"]
    return tuple(dict.fromkeys([*SPECIAL, *words, *letters, *inside]))


@pytest.fixture(scope="module")
def word_piece(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[tuple[Any, ...]], tuple[Tokenizer, Any]]:
    """By its settings: our tokenizer of a vocabulary, and transformers' of the same folder."""

    @cache
    def make(setting: tuple[Any, ...]) -> tuple[Tokenizer, Any]:
        lower, strip, cjk = setting
        folder = make_model(tmp_path_factory.mktemp("words"), "bert", vocab_size=len(vocabulary()))
        (folder / "vocab.txt").write_text("\n".join(vocabulary()) + "\n", "utf-8")
        table = {"do_lower_case": lower, "strip_accents": strip, "tokenize_chinese_chars": cjk}
        (folder / "tokenizer_config.json").write_text(json.dumps(table))
        return tokenizer_of(folder), AutoTokenizer.from_pretrained(folder)

    return make


WordPiece = Callable[[tuple[Any, ...]], tuple[Tokenizer, Any]]


def tokenizer_of(folder: Path, types: bool = True, **config: Any) -> Tokenizer:
    return open_tokenizer(opened(folder), TokenizerConfig(**config), max_length=64, types=types)


def assert_as_theirs(ours: Tokenizer, theirs: Any, texts: list[Text]) -> None:
    """The same ids, types, length and cut."""
    for text, encoding in zip(texts, ours.encode(texts), strict=True):
        # In lists: alone, transformers takes a pair with an empty second text for a single text.
        parts = [[part] for part in (text if isinstance(text, tuple) else (text,))]
        whole = theirs(*parts, truncation=False, verbose=False)["input_ids"][0]
        wanted = theirs(*parts, truncation=True, max_length=ours.max_length)
        (row,) = encoding.rows
        assert list(row.input_ids) == wanted["input_ids"][0], text
        types = [0] * len(row.input_ids) if row.type_ids is None else list(row.type_ids)
        if "token_type_ids" in wanted:
            assert types == wanted["token_type_ids"][0], text
        assert encoding.n_tokens == len(whole), text
        assert encoding.truncated == (len(whole) > ours.max_length), text


any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
tricky_text = st.text(st.sampled_from(TRICKY), max_size=40)
text = st.one_of(any_text, tricky_text, st.sampled_from(TEXTS))
pair = st.tuples(text, text)


@pytest.mark.parametrize("setting", GRID, ids=str)
def test_a_vocabulary_with_its_settings_is_transformers_tokenizer(
    word_piece: WordPiece, setting: tuple[Any, ...]
) -> None:
    ours, theirs = word_piece(setting)
    assert_as_theirs(ours, theirs, [*TEXTS, *TRICKY, TRICKY, TRICKY.upper(), *pairwise(TEXTS)])


@settings(max_examples=150, deadline=None)
@given(setting=st.sampled_from(GRID), texts=st.lists(st.one_of(text, pair), min_size=1, max_size=4))
def test_any_text_of_unicode_is_cut_into_transformers_tokens(
    word_piece: WordPiece, setting: tuple[Any, ...], texts: list[Text]
) -> None:
    ours, theirs = word_piece(setting)
    assert_as_theirs(ours, theirs, texts)


def test_the_settings_matter(word_piece: WordPiece) -> None:
    """Else the tests above would compare nothing."""
    found = {
        setting: tuple(
            tuple(one.rows[0].input_ids) for one in word_piece(setting)[0].encode(["Crème 日本 Éé"])
        )
        for setting in GRID
    }
    assert len(set(found.values())) >= 8


def test_without_settings_a_vocabulary_is_lower_case(word_piece: WordPiece, tmp_path: Path) -> None:
    plain, _ = word_piece((True, None, True))
    folder = make_model(tmp_path / "bare", "bert", vocab_size=len(vocabulary()))
    (folder / "vocab.txt").write_text("\n".join(vocabulary()), "utf-8")
    (folder / "tokenizer_config.json").unlink()
    assert tokenizer_of(folder).encode(TEXTS) == plain.encode(TEXTS)


def test_lines_of_a_vocabulary_may_end_as_windows_ends_them(word_piece: WordPiece, tmp_path: Path) -> None:
    plain, _ = word_piece((True, None, True))
    folder = make_model(tmp_path / "windows", "bert", vocab_size=len(vocabulary()))
    (folder / "vocab.txt").write_bytes(("\r\n".join(vocabulary()) + "\r\n").encode())
    assert tokenizer_of(folder).encode(TEXTS) == plain.encode(TEXTS)


def test_special_tokens_may_have_other_names(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "named", "bert")
    names = {"cls_token": "<c>", "sep_token": {"content": "<e>", "lstrip": False}, "unk_token": "<u>"}
    words = ["[PAD]", "<u>", "<c>", "<e>", *WORDS[4:]]
    (folder / "vocab.txt").write_text("\n".join(words), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    (encoding,) = tokenizer_of(folder).encode(["the zebra"])
    assert list(encoding.rows[0].input_ids) == [2, words.index("the"), 1, 3]


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
def test_a_whole_tokenizer_is_read_as_it_is(model: Make, family: str) -> None:
    folder = model(family)
    ours = tokenizer_of(folder, max_length=20, types=False)
    assert_as_theirs(
        ours, AutoTokenizer.from_pretrained(folder), [*TEXTS, *zip(TEXTS, TEXTS[2:], strict=False)]
    )


def test_a_whole_tokenizer_goes_before_a_vocabulary(model: Make, tmp_path: Path) -> None:
    folder = changed(model("bert"), tmp_path / "both")
    theirs = AutoTokenizer.from_pretrained(folder)
    theirs.backend_tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("nonsense")
    assert tokenizer_of(folder).encode(TEXTS) == tokenizer_of(model("bert")).encode(TEXTS)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_what_a_tokenizer_says_of_cutting_and_padding_is_not_obeyed(
    model: Make, tmp_path: Path, family: str
) -> None:
    """As saved by sentence-transformers, which cuts and pads every text to 128."""
    folder = changed(model(family), tmp_path / "fixed")
    theirs = AutoTokenizer.from_pretrained(model(family))
    raw = theirs.backend_tokenizer
    raw.enable_padding(pad_id=theirs.pad_token_id, pad_token=theirs.pad_token, length=10)
    raw.enable_truncation(6)
    raw.save(str(folder / "tokenizer.json"))
    fixed, plain = tokenizer_of(folder), tokenizer_of(model(family))
    assert fixed.padding_id == theirs.pad_token_id
    texts = ["", "the day", "the day was good and so was the film !"]
    assert fixed.encode(texts) == plain.encode(texts)


# Too long.


@settings(max_examples=80, deadline=None)
@given(texts=st.lists(st.one_of(text, pair), min_size=1, max_size=3), most=st.integers(4, 40))
def test_a_cut_is_transformers_cut(word_piece: WordPiece, texts: list[Text], most: int) -> None:
    plain, theirs = word_piece((False, None, True))
    ours = Tokenizer(
        RawTokenizer.from_str(plain._raw.to_str()),
        max_length=64,
        types=True,
        config=TokenizerConfig(max_length=most),
    )
    assert_as_theirs(ours, theirs, texts)


@pytest.mark.parametrize("lengths", [(50, 3), (3, 50), (40, 41), (30, 30), (0, 90), (90, 0), (19, 60)])
def test_of_a_pair_the_longer_text_gives_way_first(word_piece: WordPiece, lengths: tuple[int, int]) -> None:
    ours, theirs = word_piece((True, None, True))
    first, second = ("the " * lengths[0], "day " * lengths[1])
    assert_as_theirs(ours, theirs, [(first, second)])
    (encoding,) = ours.encode([(first, second)])
    assert encoding.truncated is (sum(lengths) > 61)
    assert encoding.n_tokens == sum(lengths) + 3


def test_the_same_rules_under_another_policy_leave_the_first_as_they_were(model: Make) -> None:
    ours = tokenizer_of(model("bert"))
    text = "the day was good . the day was good ."
    short = ours.under(TokenizerConfig(max_length=6, too_long="window", stride=0))
    assert len(short.encode([text])[0].rows) == 3
    assert len(ours.encode([text])[0].rows) == 1
    assert ours.under(TokenizerConfig()).encode([text]) == ours.encode([text])
    with pytest.raises(ConfigError, match="max_length is 65, but this model takes 64"):
        ours.under(TokenizerConfig(max_length=65))


def test_tokens_can_be_looked_at_with_their_places_in_the_text(model: Make) -> None:
    ours = tokenizer_of(model("bert"))
    text = "The day"
    found = ours.tokens(text)
    assert [one.id for one in found] == list(ours.encode([text])[0].rows[0].input_ids)
    assert [one.special for one in found] == [True, False, False, True]
    assert (found[0].text, found[0].start, found[0].stop) == ("[CLS]", None, None)
    assert [text[one.start : one.stop] for one in found[1:3]] == ["The", "day"]
    with pytest.raises(InputError, match="lone surrogate"):
        ours.tokens("a \ud800 b")


def test_what_fits_exactly_is_not_cut(model: Make) -> None:
    ours = tokenizer_of(model("bert"))
    fits, cut = ours.encode(["the " * 62, "the " * 63])
    assert (fits.n_tokens, fits.truncated, len(fits.rows[0].input_ids)) == (64, False, 64)
    assert (cut.n_tokens, cut.truncated, len(cut.rows[0].input_ids)) == (65, True, 64)


def test_with_the_policy_error_what_is_too_long_is_refused_in_its_place(model: Make) -> None:
    ours = tokenizer_of(model("bert"), too_long="error", max_length=10)
    texts: list[Text] = ["the day", "the " * 9, ("the " * 4, "day " * 5), "the " * 8]
    good, long, long_pair, fits = ours.encode_each(texts)
    assert isinstance(good, Encoding)
    assert isinstance(fits, Encoding)
    assert isinstance(long, TooLongError)
    assert str(long).startswith("11 tokens, where the model takes 10")
    assert isinstance(long_pair, TooLongError)
    with pytest.raises(RowError, match=r"^text 2: 11 tokens") as caught:
        ours.encode(texts)
    assert caught.value.code == "too_long"


@st.composite
def windowing(draw: st.DrawFn) -> tuple[int, int, int]:
    """Words of the text, the greatest length of a row, and the stride."""
    most = draw(st.integers(5, 30))
    return draw(st.integers(0, 150)), most, draw(st.integers(0, most - 3))


@settings(max_examples=200, deadline=None)
@given(windowing())
def test_windows_cover_every_token_and_share_the_stride(
    tmp_path_factory: pytest.TempPathFactory, asked: tuple[int, int, int]
) -> None:
    words, most, stride = asked
    ours = windowed(tmp_path_factory.getbasetemp() / "windowed", most, stride)
    body = [5 + i % 30 for i in range(words)]
    (encoding,) = ours.encode([" ".join(WORDS[token] for token in body)])
    assert encoding.n_tokens == words + 2
    assert not encoding.truncated
    rows = [list(row.input_ids) for row in encoding.rows]
    assert all(len(row) <= most and row[0] == 2 and row[-1] == 3 for row in rows)
    assert all(len(row) == most for row in rows[:-1])
    inner = [row[1:-1] for row in rows]
    joined = inner[0] + [token for one in inner[1:] for token in one[stride:]]
    assert joined == body, "every token, in order, the shared ones apart"
    for one, following in pairwise(inner):
        assert len(following) > stride, "each window has something new"
        assert stride == 0 or one[-stride:] == following[:stride]
    assert (len(rows) == 1) == (words + 2 <= most)


@cache
def windowed(folder: Path, most: int, stride: int) -> Tokenizer:
    if not folder.exists():
        make_model(folder, "bert")
    return tokenizer_of(folder, too_long="window", max_length=most, stride=stride)


def test_windows_of_a_roberta_have_its_special_tokens(model: Make) -> None:
    ours = tokenizer_of(model("roberta"), types=False, too_long="window", max_length=8, stride=2)
    (encoding,) = ours.encode(["the day was good " * 4])
    assert len(encoding.rows) == 4
    assert all(row.input_ids[0] == 0 and row.input_ids[-1] == 2 for row in encoding.rows)


def test_a_pair_has_no_windows_and_says_so_only_when_it_is_too_long(model: Make) -> None:
    ours = tokenizer_of(model("bert"), too_long="window", max_length=10, stride=2)
    long, fits = ours.encode_each([("the " * 9, "day"), ("the", "day")])
    assert isinstance(long, InputError)
    assert str(long) == "a pair of 13 tokens is too long, and only single texts have windows"
    assert isinstance(fits, Encoding)


@pytest.mark.parametrize(("most", "stride"), [(10, 8), (10, 100), (None, 62), (None, 100)])
def test_a_stride_that_leaves_windows_nothing_new_is_refused(
    model: Make, most: int | None, stride: int
) -> None:
    with pytest.raises(ConfigError, match=rf"^stride is {stride}"):
        tokenizer_of(model("bert"), too_long="window", max_length=most, stride=stride)
    assert tokenizer_of(model("bert"), too_long="truncate", max_length=most, stride=stride)


def test_more_than_the_model_takes_is_refused(model: Make) -> None:
    with pytest.raises(ConfigError, match="max_length is 65, but this model takes 64 tokens at most"):
        tokenizer_of(model("bert"), max_length=65)
    assert tokenizer_of(model("bert")).max_length == 64


# Which texts are none.


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (None, "missing (None)"),
        (3, "of type int"),
        (2.5, "of type float"),
        (float("nan"), "of type float"),
        (True, "of type bool"),
        (b"bytes", "of type bytes"),
        (["the", "day"], "of type list"),
        ({"text": "the"}, "of type dict"),
        (("the", None), "missing (None)"),
        ((None, "the"), "missing (None)"),
        (("the",), "of type tuple"),
        (("the", "day", "was"), "of type tuple"),
        ((), "of type tuple"),
        ("a \ud800 b", "lone surrogate"),
        ("\udcff", "lone surrogate"),
        (("the", "\udfff"), "lone surrogate"),
    ],
    ids=repr,
)
def test_what_is_no_text_is_refused_in_its_place_and_the_rest_is_answered(
    model: Make, wrong: Any, told: str
) -> None:
    ours = tokenizer_of(model("bert"))
    before, fault, after = ours.encode_each(["the day", wrong, "was good"])
    assert isinstance(fault, InputError)
    assert told in str(fault)
    assert [before, after] == ours.encode(["the day", "was good"])
    with pytest.raises(RowError, match=r"^text 2: the text ") as caught:
        ours.encode(["the day", wrong])
    assert caught.value.code == "bad_input"


def test_no_texts_are_no_encodings(model: Make) -> None:
    assert tokenizer_of(model("bert")).encode([]) == []


def test_a_string_of_numpy_is_a_string(model: Make) -> None:
    ours = tokenizer_of(model("bert"))
    assert ours.encode(list(np.array(["the day"]))) == ours.encode(["the day"])


def test_threads_share_a_tokenizer(model: Make) -> None:
    texts: list[Text] = ["the " * n for n in range(1, 100)]
    texts += [("day " * n, "the " * (70 - n)) for n in range(1, 70)]
    for too_long in ("truncate", "window"):
        ours = tokenizer_of(model("bert"), too_long=too_long)
        asked = texts if too_long == "truncate" else texts[:99]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(ours.encode, [asked] * 12))
        assert all(one == found[0] for one in found)
        assert found[0] == tokenizer_of(model("bert"), too_long=too_long).encode(asked)


# A tokenizer of another model.


def with_tokenizer(model: Make, tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A RoBERTa whose tokenizer.json was changed."""
    folder = changed(model("roberta"), tmp_path / "other")
    table = json.loads((folder / "tokenizer.json").read_text())
    change(table)
    (folder / "tokenizer.json").write_text(json.dumps(table))
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        tokenizer_of(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{folder.name}: ")
    return message


@pytest.mark.parametrize(
    ("family", "config", "part"),
    [
        (
            "bert",
            {"vocab_size": len(WORDS) - 1},
            f"has {len(WORDS)} tokens, the model's vocabulary {len(WORDS) - 1}",
        ),
        ("bert", {"vocab_size": len(WORDS) + 257}, "do not belong together"),
        ("bert", {"pad_token_id": 3}, "padding is token 0 in the tokenizer but 3 in config.json"),
        ("roberta", {"pad_token_id": 0}, "padding is token 1 in the tokenizer but 0 in config.json"),
        ("roberta", {"bos_token_id": 3}, "with tokens 0 and 2, but config.json names 3 and 2"),
        ("xlm-roberta", {"eos_token_id": 3}, "with tokens 0 and 2, but config.json names 0 and 3"),
    ],
)
def test_a_tokenizer_that_does_not_fit_the_config_is_refused(
    model: Make, tmp_path: Path, family: str, config: Mapping[str, Any], part: str
) -> None:
    assert part in refusal(changed(model(family), tmp_path / "other", config=config))


def test_some_spare_rows_are_usual(model: Make, tmp_path: Path) -> None:
    """Vocabularies are padded to a round number."""
    assert tokenizer_of(changed(model("bert"), tmp_path / "round", config={"vocab_size": len(WORDS) + 100}))


def test_a_tokenizer_without_special_tokens_is_refused(model: Make, tmp_path: Path) -> None:
    bare = with_tokenizer(model, tmp_path, lambda table: table.update(post_processor=None))
    assert "adds no special tokens" in refusal(bare)


def test_padding_does_not_hide_that_special_tokens_are_missing(model: Make, tmp_path: Path) -> None:
    padding: dict[str, Any] = {"strategy": {"Fixed": 10}, "direction": "Right", "pad_to_multiple_of": None}
    padding |= {"pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>"}
    bare = with_tokenizer(model, tmp_path, lambda table: table.update(post_processor=None, padding=padding))
    assert "adds no special tokens" in refusal(bare)


def test_a_folder_without_a_tokenizer_is_refused(model: Make, tmp_path: Path) -> None:
    folder = changed(model("bert"), tmp_path / "none")
    (folder / "vocab.txt").unlink()
    assert "no tokenizer.json and no vocab.txt" in refusal(folder)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"{\xff}", b'{"version": "1.0"}'])
def test_a_broken_tokenizer_is_refused_in_one_line(model: Make, tmp_path: Path, content: bytes) -> None:
    folder = changed(model("bert"), tmp_path / "broken")
    (folder / "tokenizer.json").write_bytes(content)
    assert "tokenizer.json is not a tokenizer" in refusal(folder)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"the\nday\n", "vocab.txt lacks the unk_token '[UNK]'"),
        (b"", "vocab.txt lacks the unk_token '[UNK]'"),
        (b"[UNK]\n[CLS]\n[PAD]\n", "vocab.txt lacks the sep_token '[SEP]'"),
        ("[UNK]\né".encode("latin-1"), "vocab.txt cannot be read"),
    ],
)
def test_a_broken_vocabulary_is_refused_in_one_line(
    model: Make, tmp_path: Path, content: bytes, part: str
) -> None:
    folder = changed(model("bert"), tmp_path / "broken")
    (folder / "vocab.txt").write_bytes(content)
    assert part in refusal(folder)


# Tokens from elsewhere.


def test_token_ids_from_elsewhere_are_one_row() -> None:
    assert Encoding.of([2, 5, 3]) == Encoding((Row((2, 5, 3)),), 3)
    assert Encoding.of([2, 5, 3], [0, 0, 1]) == Encoding((Row((2, 5, 3), (0, 0, 1)),), 3)
    assert not Encoding.of([2]).truncated


def test_token_ids_may_be_an_array() -> None:
    ids, types = np.array([2, 5, 3]), np.array([0, 0, 1])
    assert Encoding.of(ids, types) == Encoding.of([2, 5, 3], [0, 0, 1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ids", "types", "part"),
    [
        ([], None, "at least one token id"),
        ([2, 3], [0], "2 token ids but 1 type ids"),
        ([2, 3], [], "2 token ids but 0 type ids"),
        ([2.5, 3], None, "whole numbers"),
        (["2"], None, "whole numbers"),
        ([2, None], None, "whole numbers"),
        ([2, 3], [0, 0.5], "whole numbers"),
    ],
)
def test_what_is_no_row_of_token_ids_is_refused(ids: Any, types: Any, part: str) -> None:
    with pytest.raises(InputError, match=part):
        Encoding.of(ids, types)


@pytest.mark.parametrize("too_long", ["truncate", "error", "window"])
def test_what_fits_is_the_same_under_every_policy(model: Make, too_long: TooLong) -> None:
    texts: list[Text] = ["", "the day was good", ("the day", "was good")]
    assert tokenizer_of(model("bert"), too_long=too_long).encode(texts) == tokenizer_of(model("bert")).encode(
        texts
    )


def test_a_text_that_the_tokenizer_cannot_read_is_that_texts_error(tmp_path: Path) -> None:
    raw = RawTokenizer(models.WordPiece({"[CLS]": 0, "[SEP]": 1, "so": 2}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = Tokenizer(raw, max_length=8, types=False, config=TokenizerConfig())
    good, bad = tokenizer.encode_each(["so", "what"])
    assert isinstance(good, Encoding)
    assert isinstance(bad, InputError)
    assert "the tokenizer cannot read this text" in str(bad)


@pytest.mark.parametrize(
    ("stated", "wanted"), [(20, 20), (64, 64), (65, 64), (10**30, 64), (3, 64), ("many", 64), (None, 64)]
)
def test_a_model_reads_as_much_as_it_states_unless_told(
    model: MakeModel, tmp_path: Path, stated: object, wanted: int
) -> None:
    folder = changed(model("bert"), tmp_path / "m")
    path = folder / "tokenizer_config.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**known, "model_max_length": stated}))
    assert tokenizer_of(folder).max_length == wanted
    assert tokenizer_of(folder, max_length=50).max_length == 50
