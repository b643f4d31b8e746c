"""The licence gate: which licences and data terms the operator accepts, and what a card states."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tonewise.errors import LicenceError

PERMISSIVE = frozenset(
    {"apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "cc0-1.0", "cc-by-4.0", "unlicense"}
)
UNSTATED = "unstated"
MOST_WORDS, LONGEST_WORD = 1000, 200  # of a card's value
ALL_OF = " and "  # joins the licences of a card that lists several


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What the front matter of a model card says."""

    licence: str | None = None
    languages: tuple[str, ...] = ()


def card_facts(path: Path) -> CardFacts:
    """Read licence and languages from a card's YAML front matter; nothing where there is none."""
    matter = front_matter(path)
    licences = [name.lower() for name in matter.get("license", ())]
    return CardFacts(ALL_OF.join(licences) or None, tuple(matter.get("language", ())))


def front_matter(path: Path) -> dict[str, list[str]]:
    """The words under each key of the YAML block that opens a card.

    Only a string or a list of strings is words; what else the block holds is never built, so that
    neither its aliases nor its depth can cost more than its length.
    """
    block = front_block(path)
    if block is None:
        return {}
    import yaml  # only a card without a manifest needs it

    try:
        table = yaml.compose(block, yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    if not isinstance(table, yaml.MappingNode):
        return {}
    return {key.value: _words(value) for key, value in table.value if isinstance(key, yaml.ScalarNode)}


def front_block(path: Path) -> str | None:
    """The YAML that opens a card, between its two lines of dashes; None where there is none."""
    if not path.is_file():
        return None
    lines = path.read_text("utf-8-sig", errors="replace").splitlines()
    if not lines or lines[0].rstrip() != "---":
        return None
    ends = [number for number, line in enumerate(lines[1:], 1) if line.rstrip() == "---"]
    return "\n".join(lines[1 : ends[0]]) if ends else None


def _words(node: Any) -> list[str]:
    """One word or a list of them, of nodes; none when anything else is among them."""
    nodes = node.value if node.id == "sequence" else [node]
    words = [_word(one) for one in nodes[:MOST_WORDS]]
    if None in words or len(nodes) > MOST_WORDS:
        return []
    return [word for word in words if word]


def _word(node: Any) -> str | None:
    """A scalar's text, empty for null. YAML takes an unquoted `no` (Norwegian) for a truth value."""
    kind = node.tag.rpartition(":")[2]
    if node.id != "scalar" or kind not in ("str", "null", "bool") or len(node.value) > LONGEST_WORD:
        return None
    text = " ".join(node.value.split())
    return {"str": text, "null": "", "bool": text.lower()}[kind]


def is_permissive(licence: str) -> bool:
    """Whether every licence stated runs without being accepted by name."""
    return PERMISSIVE.issuperset(_each(licence))


def _each(licence: str) -> list[str]:
    """The names that a licence statement joins, in lower case, as cards write them."""
    return [name.strip() for name in licence.lower().split(ALL_OF)]


def check_licence(ref: str, licence: str | None, accepted: Collection[str], *, own: bool) -> None:
    """Raise LicenceError unless every licence stated is permissive or accepted.

    `own` marks a folder of the user's: stating no licence is no obstacle there.
    """
    if own and not licence:
        return
    allowed = PERMISSIVE | {name.strip().lower() for name in accepted}
    for name in _each(licence or UNSTATED):
        if name in allowed:
            continue
        what = "states no licence" if name == UNSTATED else f"has licence '{name}'"
        raise LicenceError(
            f"{ref} {what}, which you have not accepted; if you may use it, run again with "
            f"--accept-licences {name} (or set accept_licences in tonewise.toml)"
        )


def check_data_terms(ref: str, terms: str | None, accepted: Collection[str]) -> None:
    """Raise LicenceError when the data behind a model carries terms that nobody accepted."""
    if not terms or ref in accepted or "*" in accepted:
        return
    raise LicenceError(
        f"{ref} was trained on data under terms: {terms}; if you may use it, run again with "
        f"--accept-data-terms {ref} (or set accept_data_terms in tonewise.toml)"
    )
