"""What a user installs: what the wheel holds, that it classifies alone and offline, and what it imports."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import pytest

import tonewise

ROOT = Path(__file__).parents[1]
PACKAGED = "tonewise/store/packaged/emotion"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree."""
    for tool in ("build", "hatchling"):
        if find_spec(tool) is None:
            pytest.skip(f"{tool} is not installed, which builds the wheel")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages that holds the wheel, what it requires, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (own,) = folder.glob("*.dist-info")
    for name, needed in required(Distribution.at(own)).items():
        assert needed is not None, f"{name} is required and not installed here"
        for entry in {Path(str(file)).parts[0] for file in needed.files or ()} - {"..", "__pycache__"}:
            if not (folder / entry).exists():
                (folder / entry).symlink_to(Path(str(needed.locate_file(entry))))
    return folder


def required(own: Distribution) -> dict[str, Distribution | None]:
    """Every distribution that `own` requires without extras, and those that they do."""
    from packaging.requirements import Requirement

    found: dict[str, Distribution | None] = {}
    waiting = [Requirement(one) for one in own.requires or ()]
    while waiting:
        one = waiting.pop()
        if one.name in found or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        try:
            found[one.name] = distribution(one.name)
        except PackageNotFoundError:
            found[one.name] = None
        else:
            waiting += [Requirement(text) for text in distribution(one.name).requires or ()]
    return found


def alone(site: Path, here: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a bare interpreter that has `site` and no network."""
    start = f"import sys; sys.path.append({str(site)!r})\n"
    blocked = ["unshare", "--net", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*blocked, "true"], check=False).returncode:
        blocked = []
        start += "import socket\ndef refuse(*a): raise AssertionError('the network was asked')\n"
        start += "socket.socket.connect = socket.getaddrinfo = refuse\n"
    python = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return subprocess.run(
        [*blocked, str(python), "-I", "-S", "-W", "error", "-c", start + textwrap.dedent(program)],
        cwd=here,
        env={"PATH": os.environ["PATH"], "HOME": str(here)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_the_wheel_holds_the_package_its_model_and_its_terms_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        sizes = {one.filename: one.file_size for one in archive.infolist()}
        manifest = json.loads(archive.read(f"{PACKAGED}/tonewise.json"))
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    assert {
        "tonewise/py.typed",
        "tonewise/store/catalogue.toml",
        f"{PACKAGED}/LICENSE",
        f"{PACKAGED}/NOTICE",
    } <= set(names)
    assert {f"{PACKAGED}/{name}" for name in manifest["files"]} <= set(names)
    assert {name.partition("/")[0] for name in names} == {
        "tonewise",
        f"tonewise-{tonewise.__version__}.dist-info",
    }
    assert not [name for name in names if "test" in name.lower() or name.endswith((".pyc", ".partial"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert "License-Expression: Apache-2.0" in metadata
    assert sizes[f"{PACKAGED}/model.safetensors"] <= 25_000_000


@pytest.mark.slow
def test_the_wheel_alone_classifies_offline(site: Path, tmp_path: Path) -> None:
    program = """
        sys.argv = ["tonewise", "classify", "i feel so happy and delighted", "i feel so angry and furious"]
        from tonewise.cli import main
        main()
        """
    done = alone(site, tmp_path, program)
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line)["predictions"]["emotion"]["label"] for line in done.stdout.splitlines()]
    assert answers == ["joy", "anger"]
    again = alone(site, tmp_path, program)
    assert again.stdout == done.stdout


@pytest.mark.slow
def test_the_wheel_alone_says_which_extra_is_missing(site: Path, tmp_path: Path) -> None:
    extras = {"torch", "transformers", "pyarrow", "pandas", "polars", "datasets"}
    assert not {path.name for path in site.iterdir()} & extras
    (tmp_path / "in.parquet").write_bytes(b"PAR1")
    program = """
        from tonewise.cli import run
        sys.exit(run(["classify", "in.parquet"]))
        """
    done = alone(site, tmp_path, program)
    told = "tonewise: pyarrow is not installed; run: pip install 'tonewise[parquet]'\n"
    assert (done.returncode, done.stderr) == (8, told)


@pytest.mark.slow
def test_every_room_of_the_wheel_can_be_imported(site: Path, tmp_path: Path) -> None:
    program = """
        import importlib, pkgutil, tonewise
        from tonewise.engines import ENGINES
        from tonewise.errors import MissingExtraError
        absent = {kind.module for kind in ENGINES.values() if not kind.installed}
        absent |= {"transformers", "matplotlib", "sklearn", "msgspec", "prometheus_client", "starlette"}
        absent |= {"uvicorn", "uvloop"}
        opening = ("tonewise.engines.", "tonewise.export.", "tonewise.evaluate.", "tonewise.serve")
        for room in pkgutil.walk_packages(tonewise.__path__, "tonewise.", lambda room: None):
            if room.name.endswith("__main__"):
                continue
            try:
                importlib.import_module(room.name)
            except MissingExtraError as error:
                assert "pip install 'tonewise[" in str(error), room
                assert room.name.split(".")[-1] in ("train", "label_errors", "client"), room
            except ModuleNotFoundError as error:
                assert error.name in absent, room
                assert room.name.startswith(opening), room
        for name in tonewise.__all__:
            try:
                getattr(tonewise, name)
            except MissingExtraError as error:
                assert name == "Client", error
        """
    done = alone(site, tmp_path, program)
    assert (done.returncode, done.stderr) == (0, "")


# What is imported, and when.


def imported(program: str) -> set[str]:
    """The modules that a program has imported when it ends, packages only."""
    told = "\nimport sys; print('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    command = [sys.executable, "-c", textwrap.dedent(program) + told]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.splitlines()[-1].split())


def test_importing_tonewise_imports_nothing_heavy() -> None:
    assert not imported("import tonewise") & {
        "numpy",
        "onnxruntime",
        "onnx",
        "tokenizers",
        "click",
        "rich",
        "torch",
    }


def test_a_warm_start_imports_nothing_that_it_does_not_need() -> None:
    tonewise.Classifier.load().close()  # the graph is cached now
    found = imported("from tonewise.cli import run; assert run(['classify', 'i am happy']) == 0")
    assert {"numpy", "onnxruntime", "tokenizers"} <= found
    assert not found & {
        "onnx",
        "huggingface_hub",
        "yaml",
        "rich",
        "torch",
        "transformers",
        "pyarrow",
        "pandas",
    }


def test_help_and_the_version_do_not_open_a_runtime() -> None:
    found = imported("from tonewise.cli import run; assert run(['--help']) == run(['--version']) == 0")
    assert not found & {"numpy", "onnxruntime", "tokenizers", "onnx", "rich"}
