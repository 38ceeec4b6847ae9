"""What the driver says, what is missing, and one message that names all of it and how to get it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.nvidia import make_system, python, with_driver

from engines.errors import BackendError
from engines.trt.advice import explain_missing
from engines.trt.driver import (
    DriverAnswer,
    Modules,
    ask_driver,
    find_device,
    find_machine,
    jetpack_of,
    missing,
    read_l4t,
    require_tensorrt,
)
from engines.trt.records import Device

NOTHING, ALL = Modules(tensorrt=False, pycuda=False, cuda_bindings=False), Modules(True, True, True)
ABSENT = DriverAnswer(None, installed=False, problem="there is no libcuda.so.1")
HEAD = "TensorRT: expected NVIDIA's driver, a GPU, the package tensorrt and pycuda or cuda-bindings; missing: "
PROBE = "from engines.trt import driver; import dataclasses, json; print(json.dumps(dataclasses.asdict({})))"


def answer(cuda: tuple[int, int] = (13, 0), *, l4t: str | None = None) -> DriverAnswer:
    return DriverAnswer(Device("Invented", "8.7", l4t is not None, 1 << 33, "580.95.05", l4t), 1, cuda=cuda)


def test_without_a_driver_there_is_no_device_and_nothing_was_loaded_to_find_out() -> None:
    library = "libcuda-that-is-not-there.so.1"
    assert ask_driver(library=library) == DriverAnswer(None, installed=False, problem=f"there is no {library}")
    assert find_device(library=library) is None
    assert find_machine(library=library) is None
    with pytest.raises(BackendError, match=f"missing: NVIDIA's driver \\(there is no {library}\\)"):
        require_tensorrt(library=library)


def test_nothing_of_nvidias_is_imported() -> None:
    code = (
        "import sys; from engines.trt import driver; driver.missing(driver.ask_driver(), driver.find_modules()); "
        "print(sorted({'tensorrt', 'pycuda', 'cuda', 'torch', 'onnxruntime'} & set(sys.modules)))"
    )
    assert python(code) == "[]"


@pytest.mark.parametrize("content", [b"", b"no library", b"\x7fELF"])
def test_a_library_that_is_none_is_said(content: bytes, tmp_path: Path) -> None:
    library = tmp_path / "libcuda.so.1"
    library.write_bytes(content)
    found = ask_driver(library=str(library))
    assert found.device is None
    assert found.problem.startswith(f"{library} does not load: ")


def test_a_library_of_that_name_that_is_no_driver_is_said() -> None:
    assert ask_driver(library="libc.so.6").problem.startswith("libc.so.6 is no CUDA driver: ")


def test_the_software_driver_describes_its_device() -> None:
    told = json.loads(python(PROBE.format("driver.ask_driver()"), **with_driver(SOFTWARE_CUDA_NAME="Orin")))
    assert told["installed"] is True
    assert told["cuda"] == [13, 0]
    assert told["device"] == {
        "name": "Orin",
        "compute_capability": told["device"]["compute_capability"],
        "integrated": False,
        "memory_bytes": 8 << 30,
        "driver": "CUDA 13.0",
        "l4t": None,
        "multiprocessors": 132,
    }
    shared = json.loads(python(PROBE.format("driver.find_device()"), **with_driver(SOFTWARE_CUDA_INTEGRATED="1")))
    assert shared["integrated"] is True


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build  (x@y)", "540.4.0"),
        ("nothing of the kind", "CUDA 13.0"),
    ],
)
def test_the_version_is_the_drivers_own_where_it_says_one(line: str, version: str, tmp_path: Path) -> None:
    make_system(tmp_path, "jetpack 6")
    file = tmp_path / "proc/driver/nvidia/version"
    file.parent.mkdir(parents=True)
    file.write_text(f"{line}\nGCC version:  gcc version 12.3.0\n")
    call = f"driver.find_device(root=__import__('pathlib').Path({str(tmp_path)!r}))"
    told = json.loads(python(PROBE.format(call), **with_driver()))
    assert (told["driver"], told["l4t"]) == (f"{version} of Jetson Linux 36.4.3", "36.4")


def test_a_driver_without_a_device() -> None:
    told = json.loads(python(PROBE.format("driver.ask_driver()"), **with_driver(SOFTWARE_CUDA_DEVICES="0")))
    assert told["device"] is None
    assert told["problem"] == "the driver has found no GPU (CUDA error 100)"
    hidden = with_driver(SOFTWARE_CUDA_DEVICES="0", CUDA_VISIBLE_DEVICES="")
    told = json.loads(python(PROBE.format("driver.ask_driver()"), **hidden))
    assert told["problem"] == "CUDA_VISIBLE_DEVICES='' leaves no GPU"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (803, "the driver was updated and the old one still runs: restart the machine (CUDA error 803)"),
        (999, "its kernel modules do not answer (CUDA error 999)"),
        (1, "the driver does not start (CUDA error 1)"),
    ],
)
def test_a_driver_that_does_not_start_says_why(code: int, why: str) -> None:
    env = with_driver(SOFTWARE_CUDA_FAIL=f"cuInit:1:{code}")
    assert json.loads(python(PROBE.format("driver.ask_driver()"), **env))["problem"] == why


def test_asking_leaves_no_context() -> None:
    code = (
        "import ctypes; from engines.trt import driver; driver.find_device(); context = ctypes.c_void_p(); "
        "print(ctypes.CDLL('libcuda.so.1').cuCtxGetCurrent(ctypes.byref(context)), context.value)"
    )
    assert python(code, **with_driver()) == "0 None"


def test_what_is_missing_is_named_in_order() -> None:
    assert missing(ABSENT, NOTHING) == ("driver", "tensorrt", "cuda")
    assert missing(DriverAnswer(None, problem="none"), ALL) == ("device",)
    assert missing(answer(), NOTHING) == ("tensorrt", "cuda")
    assert missing(answer(), Modules(tensorrt=True, pycuda=False, cuda_bindings=True)) == ()


ADVICE = {
    "x86": (
        ABSENT,
        [
            "NVIDIA's driver (there is no libcuda.so.1), the package tensorrt and pycuda or cuda-bindings",
            "  driver: where the machine has an NVIDIA GPU, install its driver: sudo ubuntu-drivers install (Ubuntu), "
            "sudo apt install nvidia-driver (Debian), or NVIDIA's own; then restart",
            "  tensorrt: type: pip install tensorrt-cu13 (driver 580 or newer), or: "
            "pip install tensorrt-cu12 (535 or newer)",
            "  pycuda: type: pip install pycuda (needs the CUDA toolkit and g++), or: pip install cuda-bindings",
        ],
    ),
    "x86, CUDA 13": (
        answer((13, 2)),
        [
            "the package tensorrt and pycuda or cuda-bindings",
            "  tensorrt: type: pip install tensorrt-cu13 (the driver speaks CUDA 13.2)",
            "  pycuda: type: pip install pycuda (needs the CUDA toolkit and g++), or: pip install cuda-bindings",
        ],
    ),
    "x86, CUDA 12": (
        answer((12, 4)),
        [
            "the package tensorrt and pycuda or cuda-bindings",
            "  tensorrt: type: pip install tensorrt-cu12 (the driver speaks CUDA 12.4)",
            '  pycuda: type: pip install pycuda (needs the CUDA toolkit and g++), or: pip install "cuda-bindings<13"',
        ],
    ),
    "x86, CUDA 11": (
        answer((11, 4)),
        [
            "the package tensorrt and pycuda or cuda-bindings",
            "  tensorrt: first update the driver, which speaks CUDA 11.4, to one of CUDA 12 or 13",
            "  pycuda: first update the driver, which speaks CUDA 11.4, to one of CUDA 12 or 13",
        ],
    ),
    "jetpack 6": (
        answer((12, 6), l4t="36.4.3"),
        [
            "the package tensorrt and pycuda or cuda-bindings",
            "  tensorrt: it comes with JetPack 6, for Python 3.10: sudo apt install nvidia-jetpack, and an environment "
            "that sees it: python3.10 -m venv --system-site-packages FOLDER",
            "  pycuda: type: sudo apt install nvidia-jetpack build-essential python3-dev, then: "
            'PATH=/usr/local/cuda/bin:$PATH pip install pycuda, or: pip install "cuda-bindings<13"',
        ],
    ),
    "jetpack 7": (
        answer((13, 0), l4t="38.2.1"),
        [
            "the package tensorrt and pycuda or cuda-bindings",
            "  tensorrt: it comes with JetPack 7, for Python 3.12: sudo apt install nvidia-jetpack, and an environment "
            "that sees it: python3.12 -m venv --system-site-packages FOLDER",
            "  pycuda: type: sudo apt install nvidia-jetpack build-essential python3-dev, then: "
            "PATH=/usr/local/cuda/bin:$PATH pip install pycuda, or: pip install cuda-bindings",
        ],
    ),
}


@pytest.mark.parametrize("where", ADVICE)
def test_one_message_names_everything_and_how_to_get_it_here(where: str, tmp_path: Path) -> None:
    found, lines = ADVICE[where]
    root = make_system(tmp_path, where.partition(",")[0])
    assert explain_missing(found, NOTHING, root).splitlines() == [HEAD + lines[0], *lines[1:]]


@pytest.mark.parametrize(
    ("where", "advice"),
    [
        ("container", "a container gets both from its host: docker run --gpus all … (on a Jetson: --runtime nvidia)"),
        ("wsl", "install NVIDIA's driver in Windows, none in here, then type there: wsl --shutdown"),
        (
            "jetpack 6",
            "may this user open it? type: sudo usermod -aG video,render $USER, then log in again; in a container: "
            "docker run --runtime nvidia …",
        ),
    ],
)
def test_a_driver_comes_from_where_the_machine_gets_it(where: str, advice: str, tmp_path: Path) -> None:
    root = make_system(tmp_path, where)
    message = explain_missing(DriverAnswer(None, problem="the driver has found no GPU (CUDA error 100)"), ALL, root)
    assert message.splitlines() == [
        f"{HEAD}a GPU (the driver has found no GPU (CUDA error 100))",
        f"  GPU: {advice}",
    ]


def test_jetpack_5_is_not_supported_and_says_why(tmp_path: Path) -> None:
    root = make_system(tmp_path, "jetpack 5")
    message = (
        "TensorRT: expected JetPack 6 or later, got JetPack 5 (Jetson Linux 35.4.1), whose TensorRT is for Python 3.8 "
        "or older, and ascstream needs 3.10; update the device to JetPack 6 (NVIDIA SDK Manager, or a new system image)"
    )
    assert explain_missing(answer(l4t="35.4.1"), ALL, root) == message


def test_a_tensorrt_that_the_environment_does_not_see_is_found(tmp_path: Path) -> None:
    root = make_system(tmp_path, "jetpack 6")
    (root / "usr/lib/python3.10/dist-packages/tensorrt").mkdir(parents=True)
    message = explain_missing(answer(l4t="36.4.3"), Modules(tensorrt=False, pycuda=True, cuda_bindings=False), root)
    assert message.splitlines()[1:] == [
        "  tensorrt: it is here, for the system's Python 3.10; make an environment that sees it: "
        "python3.10 -m venv --system-site-packages FOLDER"
    ]


def test_jetpacks_by_their_jetson_linux(tmp_path: Path) -> None:
    assert [jetpack_of(l4t) for l4t in ("32.7.1", "35.4.1", "36.4", "38.2.1", "39.0")] == [4, 5, 6, 7, 7]
    assert read_l4t(tmp_path) is None


VERSION = "from engines.trt.driver import tensorrt_version; print(tensorrt_version())"


def installed(folder: Path, **versions: str) -> str:
    """A folder for PYTHONPATH in which distributions of these versions lie."""
    for name, version in versions.items():
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return str(folder)


def test_the_version_is_that_of_what_is_imported_not_of_what_brought_it(tmp_path: Path) -> None:
    place = installed(tmp_path, tensorrt="10.0.1", tensorrt_cu12_bindings="10.1.0")
    assert python(VERSION, PYTHONPATH=place) == "10.1.0"


def test_a_jetsons_tensorrt_says_its_version_without_being_imported(tmp_path: Path) -> None:
    place = installed(tmp_path, tensorrt="10.3.0")
    (tmp_path / "tensorrt.py").write_text("raise SystemExit('imported')\n")
    assert python(VERSION, PYTHONPATH=place) == "10.3.0"


def test_one_that_does_not_say_is_imported(tmp_path: Path) -> None:
    (tmp_path / "tensorrt.py").write_text("__version__ = '8.6.0'\n")
    assert python(VERSION, PYTHONPATH=str(tmp_path)) == "8.6.0"


def test_one_that_cannot_be_imported_is_an_error_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')\n")
    code = (
        "from engines.errors import BackendError\nfrom engines.trt.driver import tensorrt_version\n"
        "try:\n    tensorrt_version()\nexcept BackendError as error:\n    print(error)"
    )
    assert python(code, PYTHONPATH=str(tmp_path)) == (
        "TensorRT: expected a package that can be imported, got: ImportError: libnvinfer.so.10: cannot open shared "
        "object file; type: ascstream doctor"
    )


def test_all_that_is_needed_gives_the_machine(tmp_path: Path) -> None:
    place = installed(tmp_path, tensorrt="10.3.0")
    for name in ("tensorrt", "pycuda"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    told = json.loads(python(PROBE.format("driver.find_machine()"), **with_driver(PYTHONPATH=place)))
    assert told["tensorrt"] == "10.3.0"


def test_a_jetpack_5_with_everything_is_refused_all_the_same(tmp_path: Path) -> None:
    root = make_system(tmp_path, "jetpack 5")
    for name in ("tensorrt", "pycuda"):
        (tmp_path / f"{name}.py").write_text("")
    call = f"driver.find_machine(root=__import__('pathlib').Path({str(root)!r}))"
    code = f"from engines.trt import driver; print({call})"
    assert python(code, **with_driver(PYTHONPATH=str(tmp_path))) == "None"
