"""The rivals side by side in one run: each beside `transformers.pipeline`, and ours beside the best."""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.measure import TONEWISE, data, write
from bench.peer import write_float_folder
from bench.rivals import BASELINES, OUR_VECTORS, OURS, RIVALS, Rival
from bench.rivals.ceiling import Shape, ceiling
from bench.rivals.process import Process, RivalError
from bench.rivals.protocol import Job
from bench.rivals.random_model import write_random_distilbert
from bench.rivals.sets import QUICK, TEXTS, Sample, draw
from tonewise.store import resolve

CEILING = "ceiling"
MINILM, DISTILBERT = "minilm-6x384", "distilbert-base"
GEMM = Rival("gemm", "transformers")
REST_SECONDS = 0.3
"""Before each pass: the threads of the one before spin for a while."""
Figures = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    asked = _parser().parse_args(arguments)
    work = asked.work.resolve()
    (work / "texts").mkdir(parents=True, exist_ok=True)
    folders = {MINILM: _given_model(asked.model, work), DISTILBERT: _random_model(work, asked.model)}
    counts = QUICK if asked.quick else TEXTS
    samples, calibration = draw(data(), counts, str(folders[MINILM]), work / "texts")
    (work / "texts" / "calibration.json").write_text(json.dumps(calibration))
    wanted = asked.only or [CEILING, *RIVALS]
    contests = {
        name: Contest(name, folder, _ours(name, folder, asked, calibration), work)
        for name, folder in folders.items()
        if not asked.models or name in asked.models
    }
    models, rates = {}, []
    for name, contest in contests.items():
        models[name] = contest.run(wanted, samples, asked.rounds, trained=name == MINILM)
        rates += contest.rates
    figures = {
        "machine": _machine(),
        "rounds": asked.rounds,
        "texts": {name: _sizes(sample) for name, sample in samples.items()},
        "rivals": _merged(contest.facts for contest in contests.values()),
        **_with_ceiling(models, folders, samples, rates),
    }
    print(table(figures))
    (work / "peers.json").write_text(json.dumps(figures, indent=2) + "\n")
    if asked.only or asked.models or asked.quick:
        print(f"not a complete run: the figures are kept in {work / 'peers.json'} alone")
        return
    check_complete(figures)
    write("peers", figures)


class Contest:
    """All rivals on one model, taking turns.

    rates  of the bf16 products, GFLOP/s, one a round
    facts  of each rival: its versions and what it chose, or why it does not run
    """

    def __init__(self, model: str, folder: Path, ours: Figures, work: Path) -> None:
        self.model, self.folder, self.ours, self.work = model, folder, ours, work
        self.rates: list[float] = []
        self.facts: dict[str, Figures] = {}
        self._digest = _digest(folder)

    def run(
        self, wanted: list[str], samples: Mapping[str, Sample], rounds: int, *, trained: bool
    ) -> dict[str, Figures]:
        """Figures by set. Agreement is told for trained weights alone: on random ones it means nothing."""
        running: dict[str, Process] = {}
        try:
            for name in wanted:
                self._open(name, running)
            sets = {
                name: self._set(name, sample, running, rounds, trained=trained)
                for name, sample in samples.items()
            }
            for name, process in running.items():
                if name != CEILING:
                    self.facts[name]["peak_mb"] = {self.model: process.ask(peak="")["peak_mb"]}
        finally:
            for process in running.values():
                process.close()
        return sets

    def _open(self, name: str, running: dict[str, Process]) -> None:
        rival = GEMM if name == CEILING else RIVALS[name]
        started = time.perf_counter()
        try:
            running[name] = Process(name, rival, self._job(name, rival), self.work)
        except RivalError as error:
            self.facts[name] = {"failed": {self.model: str(error)}}
            print(f"{self.model}: {name} does not run: {error}", flush=True)
            return
        process = running[name]
        print(f"{self.model}: {name} opened, {time.perf_counter() - started:.0f} s", flush=True)
        self.facts[name] = {"versions": process.versions, "chosen": {self.model: process.chosen}}

    def _job(self, name: str, rival: Rival) -> Job:
        ours = self.ours if rival.program == "ours" else {}
        # Inside its environment, so that what another version prepared goes with that version.
        home = self.work / "environments" / (rival.environment or "ours")
        return Job(
            str(self.folder),
            str(
                home
                / "prepared"
                / f"{rival.program}-{'-'.join(map(str, rival.options.values()))}-{self._digest}"
            ),
            str(self.work / "texts" / "calibration.json"),
            {**rival.options, **ours},
        )

    def _set(
        self, name: str, sample: Sample, running: dict[str, Process], rounds: int, *, trained: bool
    ) -> Figures:
        seconds: dict[str, list[float]] = {rival: [] for rival in running}
        answers: dict[str, Any] = {}
        failed: dict[str, str] = {}
        for turn in range(-1, rounds):  # the first is not counted
            for rival, process in running.items():
                if rival in failed:
                    continue
                time.sleep(REST_SECONDS)
                part = "some" if rival in RIVALS and RIVALS[rival].slow else "all"
                request = {"warm": sample.files["warm"]} if turn < 0 else {"pass": sample.files[part]}
                try:
                    answer = process.ask(**{key: str(path) for key, path in request.items()})
                except RivalError as error:
                    failed[rival] = str(error)
                    print(f"{self.model}: {name}: {rival} failed: {error}", flush=True)
                    continue
                if turn < 0:
                    continue
                if rival == CEILING:
                    self.rates.append(answer["answers"][0][1])
                else:
                    seconds[rival].append(answer["seconds"])
                    answers[rival] = answer["answers"]
            print(f"{self.model}: {name}: turn {turn + 1} of {rounds}", flush=True)
        found = {rival: _rates(rival, times, sample) for rival, times in seconds.items() if times}
        if trained:
            _add_agreement(found, answers, sample)
        return compared(found | {rival: {"failed": reason} for rival, reason in failed.items()})


def _rates(name: str, seconds: list[float], sample: Sample) -> Figures:
    texts = len(sample.slow if RIVALS[name].slow else sample.texts)
    rates = [texts / one for one in seconds]
    return {
        "texts_per_second": round(statistics.median(rates), 1),
        "spread": [round(min(rates), 1), round(max(rates), 1)],
    }


def _add_agreement(found: dict[str, Figures], answers: dict[str, Any], sample: Sample) -> None:
    """Share of labels like the fp32 pipeline's, on the texts that all read: tells a broken rival, no more."""
    base = next((answers[name] for name in BASELINES if name in answers), None)
    if base is None:
        return
    for name, figures in found.items():
        if RIVALS[name].embeds:
            continue
        texts = sample.slow if RIVALS[name].slow else sample.texts
        given = dict(zip(texts, answers[name], strict=True))
        same = sum(given[text][0] == one[0] for text, one in zip(sample.slow, base, strict=True))
        figures["labels_agree"] = round(same / len(base), 4)


def compared(found: dict[str, Figures]) -> Figures:
    """Ratios to the pipeline at its best batch size in fp32, and of ours to the best rival of its kind."""
    rates = {name: one["texts_per_second"] for name, one in found.items() if "failed" not in one}
    summary: Figures = {}
    baseline = max((name for name in BASELINES if name in rates), key=lambda name: rates[name], default=None)
    if baseline:
        summary["baseline"] = baseline
        for name, rate in rates.items():
            found[name]["of_pipeline"] = round(rate / rates[baseline], 2)
    for ours, embeds, key in ((OURS, False, "classify"), (OUR_VECTORS, True, "embed")):
        others = [name for name in rates if RIVALS[name].embeds is embeds and name != ours]
        if ours in rates and others:
            best = max(others, key=lambda name: rates[name])
            summary[key] = {"best_rival": best, "ours_of_best_rival": round(rates[ours] / rates[best], 2)}
    return summary | {"rivals": found}


def _with_ceiling(
    models: dict[str, dict[str, Figures]],
    folders: dict[str, Path],
    samples: Mapping[str, Sample],
    rates: list[float],
) -> Figures:
    if not rates:
        return {"models": models}
    gflops = statistics.median(rates)
    for model, sets in models.items():
        shape = Shape.of(json.loads((folders[model] / "config.json").read_text("utf-8")))
        for name, figures in sets.items():
            figures["ceiling"] = ceiling(shape, list(samples[name].tokens.values()), gflops)
            ours = figures["rivals"].get(OURS, {}).get("texts_per_second")
            if ours:
                figures["ceiling"]["ours_of_ceiling"] = round(
                    ours / figures["ceiling"]["texts_per_second"], 3
                )
    spread = [round(min(rates)), round(max(rates))]
    return {"bf16_gemm": {"gflops": round(gflops), "spread": spread}, "models": models}


def table(figures: Figures) -> str:
    """The figures for a terminal: a block for each model and set, a line for each rival."""
    lines = []
    if "bf16_gemm" in figures:
        lines.append(f"bf16 products: {figures['bf16_gemm']['gflops']} GFLOP/s")
    for model, sets in figures["models"].items():
        for name, one in sets.items():
            lines += ["", f"{model} · {name}, {figures['texts'][name]['mean_tokens']} tokens"]
            for rival, found in one["rivals"].items():
                if "failed" in found:
                    lines.append(f"  {rival:<30} failed: {found['failed']}")
                    continue
                least, most = found["spread"]
                ratio = f"{found['of_pipeline']:6.2f} ×" if "of_pipeline" in found else ""
                agree = f"  labels agree {found['labels_agree']:.1%}" if "labels_agree" in found else ""
                rate = f"{found['texts_per_second']:8.1f} texts/s ({least}–{most})"
                lines.append(f"  {rival:<30} {rate:<34} {ratio}{agree}")
            for key in ("classify", "embed"):
                if key in one:
                    ratio, best = one[key]["ours_of_best_rival"], one[key]["best_rival"]
                    lines.append(f"  {key}: ours is {ratio} × the best rival, {best}")
            if "ceiling" in one:
                top = one["ceiling"]
                share = f", ours {top['ours_of_ceiling']:.1%}" if "ours_of_ceiling" in top else ""
                cost = f"{top['gflop_per_text']} GFLOP a text"
                lines.append(f"  int8 ceiling: {top['texts_per_second']} texts/s ({cost}){share}")
    lines.append("")
    for rival, facts in figures["rivals"].items():
        peaks = ", ".join(f"{model} {peak} MB" for model, peak in facts.get("peak_mb", {}).items())
        reasons = ", ".join(f"{model}: {reason}" for model, reason in facts.get("failed", {}).items())
        lines.append(f"{rival:<32} {peaks}{reasons}")
    return "\n".join(lines)


def _given_model(model: Path | None, work: Path) -> Path:
    """The folder that all open: the one named, or the packaged model as float32."""
    if model is not None:
        return Path(model).resolve()
    folder = work / "models" / f"emotion-{resolve('emotion').digest[:12]}"
    return folder if folder.is_dir() else write_float_folder(folder)


def _random_model(work: Path, model: Path | None) -> Path:
    folder = work / "models" / "distilbert-base-random"
    shutil.rmtree(folder, ignore_errors=True)
    return write_random_distilbert(folder, _given_model(model, work))


def _ours(name: str, folder: Path, asked: argparse.Namespace, calibration: list[str]) -> Figures:
    """How ours is opened: the folder itself, the packaged model as packaged, or with ranges fitted here."""
    how = {"engine": asked.engine, "precision": asked.precision}
    if name == MINILM and asked.model is None:
        return how | {"ref": "emotion"}
    texts = asked.work.resolve() / "texts" / "calibration.jsonl"
    texts.write_text("".join(json.dumps({"text": text}) + "\n" for text in calibration))
    # Random weights agree with nothing: nothing is asked of them, and `auto` would rightly refuse int8.
    random = name == DISTILBERT
    output = quantized(folder, texts, target=0 if random else None)
    return (
        how | {"ref": str(output)} | ({"precision": "int8"} if random and asked.precision == "auto" else {})
    )


def quantized(folder: Path, texts: Path, target: float | None) -> Path:
    """The folder with int8 ranges, fitted now or by an earlier run on the same weights and texts."""
    fitted = hashlib.sha256(texts.read_bytes()).hexdigest()[:12]
    output = folder.with_name(f"{folder.name}-int8-{_digest(folder)}-{fitted}")
    if not output.is_dir():
        asked = () if target is None else ("--target", str(target))
        command = (*TONEWISE, "quantize", str(folder), "--texts", str(texts), "--output", str(output), *asked)
        if subprocess.run(command, check=False).returncode:
            sys.exit(f"{' '.join(command)}: failed")
    return output


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:12]


def _machine() -> Figures:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    flags = facts.get("flags", "").split()
    return {
        "processor": facts.get("model name", "unknown"),
        "processors": len(os.sched_getaffinity(0)),
        "has": [flag for flag in ("avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8") if flag in flags],
    }


def _sizes(sample: Sample) -> Figures:
    return {
        "texts": len(sample.texts),
        "mean_tokens": sample.mean_tokens(sample.texts),
        "slow_texts": len(sample.slow),
        "slow_mean_tokens": sample.mean_tokens(sample.slow),
    }


def _merged(facts: Iterable[dict[str, Figures]]) -> dict[str, Figures]:
    """One entry a rival; what differs by model stands under the model's name."""
    merged: dict[str, Figures] = {}
    for by_rival in facts:
        for rival, one in by_rival.items():
            into = merged.setdefault(rival, {})
            for key, value in one.items():
                into[key] = into.get(key, {}) | value
    return merged


def check_complete(figures: Figures) -> None:
    for model, sets in figures["models"].items():
        for name, one in sets.items():
            if "ours_of_ceiling" not in one.get("ceiling", {}) or "baseline" not in one:
                sys.exit(
                    f"{model}, {name}: ours, the baseline or the ceiling is missing; nothing was written"
                )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="BERT classifier's folder; default: the packaged model")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "tonewise-peers",
        help="environments, exported models and logs, kept between runs",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[CEILING, *RIVALS],
        metavar="NAME",
        help=f"try one (again for more): {' | '.join([CEILING, *RIVALS])}",
    )
    parser.add_argument(
        "--models",
        action="append",
        choices=[MINILM, DISTILBERT],
        metavar="MODEL",
        help=f"try one model: {MINILM} or {DISTILBERT}",
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the texts; not kept")
    parser.add_argument("--rounds", type=int, default=3, help="counted passes of each rival over each set")
    parser.add_argument("--engine", default="auto", help="ours")
    parser.add_argument("--precision", default="auto", help="ours")
    return parser


if __name__ == "__main__":
    main()
