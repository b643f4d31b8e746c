from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tonewise.errors import InputError
from tonewise.source import Example, examples_of

from .reading import good, told


def test_texts_pairs_examples_and_dicts_may_be_mixed() -> None:
    items = good(list(examples_of(["a", ("b", "c"), Example("d", id="x"), {"text": "e", "n": 1}])))
    assert items == [
        Example("a", None, 1, (), {}, "text 1"),
        Example("b", "c", 2, (), {}, "text 2"),
        Example("d", None, "x", (), {}, "text 3"),
        Example("e", None, 4, (), {"n": 1}, "text 4"),
    ]


def test_an_endless_generator_is_read_as_far_as_asked() -> None:
    def endless() -> Any:
        while True:
            yield "a"

    items = examples_of(endless())
    assert told([next(items) for _ in range(3)]) == ["a", "a", "a"]


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (None, "text 2: the text is null; a text is wanted"),
        (float("nan"), "text 2: the text is null; a text is wanted"),
        (5, "text 2: the text is a number (5); a text is wanted"),
        (b"x", "text 2: the text is of type bytes; a text is wanted"),
        (("a", None), "text 2: the pair's second text is null; a text is wanted"),
        (("a", "b", "c"), "text 2: the text is of type tuple; a text is wanted"),
        ("\ud83d", "text 2: the text holds half a surrogate pair (such as \\ud83d alone), which is no text"),
        (Example(None), "text 2: the text is null; a text is wanted"),  # type: ignore[arg-type]
        ({"text": None}, "text 2: column 'text' is null; a text is wanted"),
        ({"n": 1}, "text 2: no column 'text'; columns are n (name one with --text-column)"),
    ],
)
def test_an_item_that_is_no_text_is_an_error_in_its_place(item: object, why: str) -> None:
    assert told(list(examples_of([{"text": "a", "n": 1}, item, "c"]))) == ["a", why, "c"]


@pytest.mark.parametrize("data", ["text", b"text", {"text": "a"}, 5, None])
def test_what_is_no_collection_of_texts_is_an_error_at_once(data: Any) -> None:
    with pytest.raises(InputError, match="wanted texts in a list, an iterable or a data frame"):
        examples_of(data)


def test_a_dict_is_not_changed() -> None:
    row = {"text": "a", "n": 1}
    list(examples_of([row]))
    assert row == {"text": "a", "n": 1}


def test_the_columns_of_dicts_can_be_named() -> None:
    (item,) = good(list(examples_of([{"q": "a", "r": "b"}], "q", "r")))
    assert (item.text, item.text_pair) == ("a", "b")


def test_strings_of_numpy_become_plain_strings() -> None:
    import numpy as np

    assert [type(item.text) for item in good(list(examples_of(np.array(["a", "b"]))))] == [str, str]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_text_is_handed_on_as_it_is(texts: list[str]) -> None:
    assert told(list(examples_of(texts))) == texts
