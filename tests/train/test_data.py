"""What training asks of its data: fatal findings stop it in one line, warnings do not."""

import pytest

from tonewise.errors import InputError
from tonewise.source.labelled import Labelled, read_labelled
from tonewise.train.data import Finding, check, folds, raise_fatal, split


def made(*labels: object, text: str = "text {}") -> Labelled:
    return read_labelled([{"text": text.format(i), "label": one} for i, one in enumerate(labels)])


@pytest.mark.parametrize(
    ("labelled", "told"),
    [
        (made("a", "a", "a"), r"all 3 rows have the same label \(a\); two are the least \(text 1 and on\)"),
        (made("a", "b", text="same"), r"all 2 texts are the same \(text 1 and on\)"),
        (made(*range(10_000)), "10,000 different labels .* name the right one with --label-column"),
        (made("a", "a", text="same"), "all 2 texts are the same; all 2 rows have the same label"),
    ],
)
def test_nothing_sensible_can_follow(labelled: Labelled, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        raise_fatal(check(labelled))
    assert "\n" not in str(caught.value)


def test_warnings_pass() -> None:
    labelled = made("a", "b", "b")
    findings = check(labelled, labelled)
    assert {one.code for one in findings} == {"rare_label", "leak"}
    raise_fatal(findings)
    raise_fatal([Finding("x", "warning", "odd", 1)])


def test_the_two_sides_of_a_split_share_no_text() -> None:
    labelled = made(*("ab" * 20))
    train, held = split(labelled)
    assert (len(train), len(held)) == (36, 4)
    assert check(train, held) == ()
    assert sorted(row for part in folds(labelled, 4) for row in part.tolist()) == list(range(40))
