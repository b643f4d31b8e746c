"""What a model is and where it came from: `models`, `show`, `pull`, `verify`."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tonewise.config import StoreConfig
from tonewise.errors import HubError, IntegrityError
from tonewise.store import (
    UNSTATED,
    Bundle,
    ModelRow,
    catalogued,
    describe,
    is_permissive,
    models,
    pull,
    verify,
)
from tonewise.store.ref import parse

KINDS = {
    "packaged": "In the package",
    "present": "Pulled and pinned, here",
    "locked": "Pulled and pinned, files not here (tonewise pull REF fetches them)",
    "catalogued": "Known, to be had by: tonewise pull REF",
}


def list_models(*, as_json: bool) -> None:
    """Print packaged, pulled and catalogued models."""
    rows = models()
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
        return
    for kind, told in KINDS.items():
        some = [row for row in rows if row.kind == kind]
        if some:
            print(f"{told}\n" + "".join(f"  {line}\n" for row in some for line in _row(row)))


def _row(row: ModelRow) -> list[str]:
    """A model's lines; its name stands alone on the first, to be copied."""
    size = "" if row.size is None else f" · {row.size / 1e6:.0f} MB"
    size = f" · a head of {row.head_of}" if row.head_of else size
    gate = "" if is_permissive(row.licence) else f" (needs --accept-licences {row.licence})"
    terms = f" · data terms: {row.data_terms or UNSTATED}"
    languages = f" · {' '.join(row.languages)}" if row.languages else ""
    published = [
        f"    published: {one.metric} {one.value:.1%} on {one.data} ({one.source})" for one in row.figures
    ]
    heads = [f"    {head}: {', '.join(labels)}" for head, labels in row.labels.items()]
    return [
        row.name,
        f"    {row.licence}{gate}{terms}{languages}{size}",
        *(heads or ["    no head: it embeds"]),
        *published,
    ]


def show_model(ref: str, *, as_json: bool) -> None:
    """Print all that is known of a model. Raises ModelError and its kin as `describe` does."""
    try:
        bundle = describe(ref)
    except HubError:
        known = catalogued(parse(ref).name)
        if known is None:
            raise
        _show_known(known.repo, as_json=as_json)
        return
    print(json.dumps(_facts(bundle), indent=2, ensure_ascii=False) if as_json else _page(bundle))


def _show_known(repo: str, *, as_json: bool) -> None:
    """What the catalogue tells of a model whose files are not here."""
    row = next(row for row in models() if row.name.partition("@")[0] == repo)
    if as_json:
        print(json.dumps(asdict(row), indent=2, ensure_ascii=False))
    else:
        print(
            "\n".join(_row(row))
            + f"\n    its files are not here; they are to be had by: tonewise pull {repo}"
        )


def pull_model(ref: str, config: StoreConfig) -> None:
    """Fetch, check and pin a model. Raises ModelError and its kin as `pull` does."""
    bundle = pull(ref, config)
    size = sum(file.size for file in bundle.manifest.files.values())
    commit = bundle.manifest.origin.get("commit")
    pinned = f"commit {commit}" if commit else "nothing to fetch"
    what = f"{len(bundle.manifest.files)} files, {size / 1e6:.0f} MB"
    print(f"{bundle.ref}: {what}, {pinned}, {bundle.digest}")


def verify_model(ref: str) -> None:
    """Print each file's state. Raises IntegrityError unless every file that a run reads is as pinned."""
    checks = verify(ref)
    for check in checks:
        told = check.found or "-"
        print(f"{check.state:<8}  {told:<64}  {check.name}")
    if all(check.state == "unpinned" for check in checks):
        raise IntegrityError(f"{ref}: nothing vouches for these files: no manifest and no lock")
    altered = [check.name for check in checks if check.state in ("differs", "missing")]
    unpinned = [check.name for check in checks if check.state == "unpinned"]
    wrong = [f"not as pinned: {', '.join(altered)}"] if altered else []
    wrong += [f"pinned by nothing: {', '.join(unpinned)}; move out of the folder"] if unpinned else []
    if wrong:
        raise IntegrityError(f"{ref}: {'; '.join(wrong)}")


def _facts(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "ref": bundle.ref,
        "digest": bundle.digest,
        "licence": manifest.licence or UNSTATED,
        "data_terms": manifest.data_terms,
        "languages": list(manifest.languages),
        "origin": dict(manifest.origin),
        "parent": manifest.parent,
        "heads": {name: asdict(head) for name, head in bundle.heads.items()},
        "embedding": dict(manifest.embedding),
        "int8": bool(manifest.activation_ranges),
        "files": {name: asdict(file) for name, file in manifest.files.items()},
        "card": _text(bundle, "README.md"),
        "licence_text": _text(bundle, "LICENSE"),
        "notice": _text(bundle, "NOTICE"),
    }


def _page(bundle: Bundle) -> str:
    facts = _facts(bundle)
    told = {
        "model": facts["ref"],
        "digest": facts["digest"],
        "licence": facts["licence"],
        "data terms": facts["data_terms"] or UNSTATED,
        "languages": ", ".join(facts["languages"]) or "not said",
        "origin": ", ".join(f"{key} {value}" for key, value in facts["origin"].items()) or str(bundle.folder),
        "int8 ranges": "yes" if facts["int8"] else "no",
    }
    lines = [f"{name:<12} {value}" for name, value in told.items()]
    lines += [f"head         {name}: {_head(head)}" for name, head in facts["heads"].items()]
    lines += [
        f"file         {file['sha256']}  {file['size']:>10,}  {name}" for name, file in facts["files"].items()
    ]
    for title, key in (("CARD", "card"), ("NOTICE", "notice"), ("LICENCE", "licence_text")):
        if facts[key]:
            lines += ["", f"── {title} " + "─" * 60, facts[key].strip()]
    return "\n".join(lines)


def _head(head: Mapping[str, Any]) -> str:
    labels = head["labels"]
    if head["mapping"] is not None:
        labels = [f"{own} → {other}" for own, other in zip(labels, head["mapping"], strict=True)]
    return f"{', '.join(labels)} ({head['problem_type']}, temperature {head['temperature']:g})"


def _text(bundle: Bundle, name: str) -> str | None:
    path = bundle.folder / name
    return path.read_text("utf-8", errors="replace") if path.is_file() else None
