"""What a bare interpreter loads: importing the packages brings nothing heavy, asking for help brings no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tensorrt_tools import floor_python

from engines.trt.exchange import GRAPH, Request, write_request
from engines.trt.records import profiles_of

ROOT = Path(__file__).parents[1]
ACCELERATOR = ("tensorrt", "pycuda", "cuda")
HEAVY = ("av", "onnxruntime", "rich", "scipy", "sounddevice", "torch", "torchaudio")


def loaded_after(code: str) -> set[str]:
    """Which of the heavy modules a fresh interpreter holds after running `code`."""
    probe = f"import sys\n{code}\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "package", ["ascstream", "engines", "engines.manifest", "ascstream.cli", "trainer", "trainer.cli"]
)
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    assert loaded_after(f"import {package}") == set()


def test_a_file_is_classified_without_torch_or_sound_card() -> None:
    assert loaded_after("from ascstream import Classifier, open_media, stream") == {"av"} | (
        loaded_after("import ascstream.classifier") & {"onnxruntime"}
    )


@pytest.mark.parametrize("program", ["ascstream", "trainer"])
def test_help_works_where_torch_is_not_installed(program: str) -> None:
    code = (
        "import sys\n"
        f"for name in ('torch', 'torchaudio'): sys.modules[name] = None\n"
        f"sys.argv = [{program!r}, '--help']\n"
        f"from {program}.cli import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def accelerator_imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Modules of TensorRT or CUDA that a file imports, and whether only within a function, or for types alone."""

    def visit(node: ast.AST, late: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            relative = isinstance(node, ast.ImportFrom) and node.level > 0
            yield from ((name, late) for name in names if not relative and name.split(".")[0] in ACCELERATOR)
        within = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for child in ast.iter_child_nodes(node):
            yield from visit(child, late or within or typing)

    return visit(tree, False)


@pytest.mark.slow
def test_only_the_tensorrt_backend_imports_tensorrt_and_cuda_and_only_when_it_needs_them() -> None:
    found = set()
    for package in ("ascstream", "engines", "trainer"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for name, late in accelerator_imports(ast.parse(path.read_text(encoding="utf-8"))):
                assert late, f"{path.relative_to(ROOT)} imports {name} when it is imported itself"
                found.add(path.relative_to(ROOT).parent.as_posix())
    assert found == {"engines/trt"}


def test_early_imports_would_be_seen() -> None:
    late = "def f():\n    import cuda.bindings.driver\n    from tensorrt import Logger\nfrom .cuda import x\n"
    assert list(accelerator_imports(ast.parse(late))) == [("cuda.bindings.driver", True), ("tensorrt", True)]
    assert list(accelerator_imports(ast.parse("class A:\n    import pycuda.driver"))) == [("pycuda.driver", False)]


WORKER = """
import importlib, importlib.abc, sys

before = set(sys.modules)

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {"numpy", "engines", *sys.stdlib_module_names}:
            raise ImportError(f"{name} is not among the standard library, numpy and engines")

sys.meta_path.insert(0, Refuse())
import engines.trt.worker
for name in ("compile", "cuda_bindings", "driver", "exchange", "open_cuda", "plan", "pycuda_cuda", "runtime"):
    importlib.import_module(f"engines.trt.{name}")
import engines.check
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))
"""


def loaded_by_the_worker(python: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, "-c", WORKER], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_worker_needs_the_standard_library_and_numpy_alone() -> None:
    done = loaded_by_the_worker(sys.executable)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"numpy", "engines"}


def test_the_worker_runs_on_python_3_10_and_numpy_1_26(tmp_path: Path) -> None:
    python = floor_python()
    done = loaded_by_the_worker(python)
    assert done.returncode == 0, done.stderr
    profiles = profiles_of((1,))
    write_request(tmp_path, Request(graph="scene", precision="float32", profiles=profiles, run=False))
    (tmp_path / GRAPH).write_bytes(b"")
    done = subprocess.run(
        [python, "-W", "error", "-m", "engines.trt.worker", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "expected a TensorRT that can be imported, got ModuleNotFoundError" in done.stderr
