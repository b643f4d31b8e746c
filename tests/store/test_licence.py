"""What a card states, and what the gate lets through."""

from pathlib import Path

import pytest

from tonewise.errors import LicenceError
from tonewise.store.licence import CardFacts, card_facts, check_data_terms, check_licence, is_permissive


@pytest.mark.parametrize(
    ("card", "facts"),
    [
        ("---\nlicense: Apache-2.0\nlanguage: en\n---\n# X", CardFacts("apache-2.0", ("en",))),
        ("\ufeff---\r\nlicense: mit\r\nlanguage:\r\n- en\r\n- no\r\n---\r\n", CardFacts("mit", ("en", "no"))),
        ("---\nlicense: [mit, cc-by-nc-4.0]\n---\n", CardFacts("mit and cc-by-nc-4.0")),
        ("---\nwidget: 'a --- b'\nlicense: mit\n---\n", CardFacts("mit")),
        ("---\nlicense:\n---\n", CardFacts()),
        ("---\nlicense: {mit: apache-2.0}\nlanguage: en\n---\n", CardFacts(None, ("en",))),
        ("---\nlicense: [mit, [other]]\n---\n", CardFacts()),
        ("---\nlicense: [mit, 5]\nlanguage: [en, null]\n---\n", CardFacts(None, ("en",))),
        (f"---\nlicense: {'x' * 1000}\nlanguage: [{'en, ' * 2000}]\n---\n", CardFacts()),
        ("---\nwhen: 2024-13-45\nlicense: mit\n---\n", CardFacts("mit")),
        (f"---\nlicense: {'[' * 100_000}\n---\n", CardFacts()),
        ("---\n{ broken\n---\n", CardFacts()),
        ("---\njust text\n---\n", CardFacts()),
        ("---\nlicense: mit\n", CardFacts()),
        ("# no front matter\nlicense: mit\n", CardFacts()),
        ("", CardFacts()),
    ],
)
def test_a_card_is_read_as_it_stands(tmp_path: Path, card: str, facts: CardFacts) -> None:
    (tmp_path / "README.md").write_text(card, "utf-8")
    assert card_facts(tmp_path / "README.md") == facts


@pytest.mark.parametrize("form", ["[{}]", "{{<<: [{}]}}"])
def test_a_card_costs_no_more_than_its_length(tmp_path: Path, form: str) -> None:
    """Each line stands for ten of the one before: 10^30 words, or merged tables, if it were built."""
    first = "a0: &a0 [mit]" if form == "[{}]" else "a0: &a0 {mit: mit}"
    lines = [f"a{i}: &a{i} {form.format(', '.join([f'*a{i - 1}'] * 10))}" for i in range(1, 31)]
    card = "\n".join(["---", first, *lines, "license: *a30", "language: en", "---"])
    (tmp_path / "README.md").write_text(card)
    assert card_facts(tmp_path / "README.md") == CardFacts(None, ("en",))


def test_no_card_states_nothing(tmp_path: Path) -> None:
    assert card_facts(tmp_path / "README.md") == CardFacts()


@pytest.mark.parametrize("licence", ["apache-2.0", "mit", "bsd-3-clause", "mit and apache-2.0"])
def test_permissive_licences_pass(licence: str) -> None:
    check_licence("a/b", licence, (), own=False)


def test_a_licence_is_the_same_in_capitals() -> None:
    for licence in ("Apache-2.0", "MIT AND Apache-2.0"):
        assert is_permissive(licence)
        check_licence("./m", licence, (), own=True)
    assert not is_permissive("GPL-3.0")
    with pytest.raises(LicenceError, match=r"--accept-licences gpl-3\.0 "):
        check_licence("./m", "GPL-3.0", (), own=True)
    for accepted in ("gpl-3.0", "GPL-3.0"):
        check_licence("./m", "GPL-3.0", (accepted,), own=True)


@pytest.mark.parametrize("licence", ["other", "unknown", "cc-by-nc-4.0", "openrail", "mit and cc-by-nc-4.0"])
def test_others_are_refused_until_accepted(licence: str) -> None:
    name = licence.removeprefix("mit and ")
    with pytest.raises(LicenceError, match=f"a/b has licence '{name}'.*--accept-licences {name}"):
        check_licence("a/b", licence, (), own=False)
    check_licence("a/b", licence, (name.upper(),), own=False)


def test_no_licence_is_refused_from_the_hub_and_no_obstacle_in_a_folder() -> None:
    with pytest.raises(LicenceError, match=r"a/b states no licence.*--accept-licences unstated"):
        check_licence("a/b", None, (), own=False)
    check_licence("a/b", None, ("unstated",), own=False)
    check_licence("./b", None, (), own=True)


def test_data_terms_are_accepted_by_name_or_all_at_once() -> None:
    check_data_terms("a/b", None, ())
    with pytest.raises(LicenceError, match=r"data under terms: research only.*--accept-data-terms a/b"):
        check_data_terms("a/b", "research only", ("c/d",))
    check_data_terms("a/b", "research only", ("a/b",))
    check_data_terms("a/b", "research only", ("*",))
