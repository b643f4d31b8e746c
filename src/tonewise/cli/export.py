"""`tonewise export`: one line of what was written, and how near it came to the oracle."""

from typing import Any

from tonewise.config import Config
from tonewise.export import Exported, export


def export_model(ref: str, config: Config, **options: Any) -> None:
    """Export and tell; `options` are those of `export`, and it raises what that does."""
    done = export(ref, store=config.store, **options)
    size = f"{done.files} files, {done.size / 1e6:.1f} MB"
    print(f"{done.ref} → {done.folder}: {done.to} in {done.precision}, {size}; {_proof(done)}")


def _proof(done: Exported) -> str:
    proof = done.proof
    furthest = f"at most {proof.greatest_difference:.1g} from the oracle on {proof.rows} rows"
    if done.precision == "fp32":
        return f"read again, {furthest}"
    return f"read again, {furthest}, {proof.close_rows} of them as near as in fp32"
