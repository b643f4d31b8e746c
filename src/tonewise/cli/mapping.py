"""`tonewise map`: a bundle that answers in its consumer's labels, and what becomes what."""

from pathlib import Path

from tonewise.config import StoreConfig
from tonewise.evaluate.stale_figures import mapped_card
from tonewise.store import mapped, resolve, write_mapped


def map_labels(ref: str, file: str, config: StoreConfig, output: str) -> None:
    """Write the mapped bundle; tell its digest and labels. Raises ModelError, ConfigError, OutputError."""
    bundle = mapped(resolve(ref, config), Path(file))
    print(f"{output}  {write_mapped(bundle, Path(output), mapped_card)}")
    for name, head in bundle.heads.items():
        pairs = zip(head.labels, head.mapping or head.labels, strict=True)
        print(f"{name}: {', '.join(f'{label} → {other}' for label, other in pairs)}")
