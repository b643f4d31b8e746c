"""`tonewise quantize`: texts from a file, and at the end where the bundle is and how well int8 agrees."""

from pathlib import Path

from tonewise.cli.texts import read_texts, told_on_terminal
from tonewise.config import Config
from tonewise.quantize import Quantized
from tonewise.quantize import quantize as run


def quantize(ref: str, config: Config, *, texts: str, target: float, output: str) -> None:
    """Read the texts, fit, measure, write, and tell. Raises as `tonewise.quantize.quantize` does."""
    found, _ = read_texts(texts, config.source)
    with told_on_terminal() as progress:
        done = run(ref, found, Path(output), config=config, target=target, progress=progress)
    print(f"{done.folder}  {done.digest}\n{_measured(done)}")


def _measured(done: Quantized) -> str:
    agreement = ", ".join(
        f"{engine} {one.labels:.2%} (Δscore {one.scores:.4f})" for engine, one in done.agreement.items()
    )
    return (
        f"labels as in fp32: {agreement} of {done.compared:,} texts; ranges of {done.fitted:,} others; "
        f"layers in higher precision: {', '.join(done.kept) or 'none'}"
    )
