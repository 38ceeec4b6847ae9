"""Run one part of gpu.py in its own process, since PyTorch must not share one with TensorRT; print a JSON object.

    python benchmarks/gpu_part.py KIND NETWORK FOLDER

`export` writes the graphs and cases of a network to the folder; the others time what is there. Times are from host to
host: copying in, computing, copying out, and waiting for it. PyTorch keeps its defaults, including TF32 convolutions.
"""

# ruff: noqa: E402 (the repository is first added to the path)

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np

BATCH = 32
"""The large batch size."""
TIMED, MOST_SECONDS = 1000, 8.0
"""Number of timed calls per way, and the time in seconds after which fewer must do."""
KERNELS = (1, 10, 30, 100, 300, 1000)
"""Numbers of kernels in the CUDA graphs of empty kernels."""
TICK, STEP_SECONDS = "slim_av", 0.2
"""Network and step of the whole-tick measurement."""
SHIPPED = "shipped"
"""The name that stands for the shipped bundle among the networks."""


def main() -> int:
    kind, network, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    print(json.dumps(KINDS[kind](network, folder)))
    return 0


def export(name: str, folder: Path) -> dict:
    """Write the graphs in every precision, the cases, and a bundle for the tick; return costs. Needs no GPU."""
    from support.every_network import trace

    from benchmarks.gpu_floor import cost_of
    from engines.errors import BackendError
    from trainer.export.precisions import make_precision

    if name == SHIPPED:
        return export_shipped(folder)
    traced = trace(name)
    made = {"float32": traced.graphs.graphs}
    for precision in ("float16", "int8"):
        try:
            made[precision] = make_precision(traced.graphs, precision, traced.cases.ranges(2))
        except BackendError:
            continue
    for precision, graphs in made.items():
        for part, graph in graphs.items():
            if precision == "float32" or graph != traced.graphs.graphs[part]:
                (folder / f"{part}.{precision}.onnx").write_bytes(graph)
    rng = np.random.default_rng(0)
    for part, golden in traced.graphs.golden.items():
        feeds = {key: np.resize(array, (1 + BATCH, *array.shape[1:])) for key, array in golden.feeds.items()}
        for key, array in feeds.items():
            if key != "presence":  # flags are 0 or 1
                array[8:] += 0.1 * array.std() * rng.standard_normal(array[8:].shape, dtype=np.float32)
        np.savez(folder / f"{part}.npz", **feeds)
    if name == TICK:
        shutil.rmtree(folder / "bundle", ignore_errors=True)
        traced.write(folder / "bundle", made)
    video = traced.config.video
    n_frames = len(video.frame_times_seconds) if video is not None and "frame" in traced.graphs.graphs else 0
    costs = {part: vars(cost_of(graph)) for part, graph in traced.graphs.graphs.items()}
    return {"precisions": list(made), "n_frames": n_frames, "costs": costs}


def export_shipped(folder: Path, media: Sequence[Path] = (ROOT / "examples" / "clip.mp4",)) -> dict:
    """Write graphs and cases of the shipped bundle, with windows of recordings: trained weights make labels meaningful.

    Also return which frame each window saw, so that a plan's embeddings can be fed to its scene graph.
    """
    from ascstream import Classifier, StreamSettings, open_media, stream
    from benchmarks.gpu_floor import cost_of
    from engines.backends import Engines, load_engines
    from engines.base import Engine
    from engines.bundle import open_bundle

    class Recording(Engine):
        """An engine that keeps its inputs and its answers."""

        def __init__(self, engine: Engine) -> None:
            super().__init__(engine.name, engine.backend, engine.inputs, engine.outputs)
            self.engine, self.kept, self.answers = engine, [], []

        def _infer(self, feeds):
            answers = self.engine.infer(feeds)
            self.kept.append({name: array.copy() for name, array in feeds.items()})
            self.answers.append({name: array.copy() for name, array in answers.items()})
            return answers

    with Classifier.load() as classifier:
        bundle = open_bundle(classifier.path)
    with load_engines(bundle, backend="onnxruntime") as engines:
        parts = {"scene": Recording(engines.scene)}
        if engines.frame is not None:
            parts["frame"] = Recording(engines.frame)
        for path in media:
            recorded = Engines(parts["scene"], parts.get("frame"), "float32")
            with open_media(path) as source:
                for _ in stream(Classifier(bundle, recorded), source, StreamSettings(0.05)):
                    pass
    graphs = {graph.name: graph for graph in bundle.manifest.graphs}
    costs = {}
    for part, engine in parts.items():
        for precision, name in graphs[part].files.items():
            (folder / f"{part}.{precision}.onnx").write_bytes(bundle.read(name))
        costs[part] = vars(cost_of(bundle.read(graphs[part].files["float32"])))
        cases = {name: np.concatenate([feeds[name] for feeds in engine.kept]) for name in engine.inputs}
        np.savez(folder / f"{part}.npz", **cases)
    n_frames, seen = 0, None
    if "frame" in parts:
        name, video = bundle.manifest.video_input
        n_frames = len(video.frame_times_seconds)
        embeddings = [row for answers in parts["frame"].answers for row in answers["embedding"]]
        numbers = {row.tobytes(): index for index, row in enumerate(embeddings)}
        rows = (row for feeds in parts["scene"].kept for row in feeds[name][0])
        seen = {"input": name, "frames": [numbers.get(row.tobytes(), -1) for row in rows]}  # -1: no image
    precisions = list(graphs["scene"].files)
    n_cases = len(parts["scene"].kept)
    return {"precisions": precisions, "n_frames": n_frames, "costs": costs, "n": n_cases, "seen": seen}


def tensorrt_python() -> str:
    """The Python that has TensorRT: `ASCSTREAM_TRT_PYTHON`, or this one."""
    return os.environ.get("ASCSTREAM_TRT_PYTHON", sys.executable)


def batches_of(part: str, n_frames: int) -> tuple[int, ...]:
    """The batch sizes to time: one, a window's frames, and `BATCH`."""
    return tuple(sorted({1, BATCH} | ({n_frames} if part == "frame" and n_frames else set())))


def tensorrt(precision: str, command: Sequence[str] | None = None) -> Callable[[str, Path], dict]:
    """Return a part that builds every graph, runs the cases, times with and without CUDA graphs, and compares answers.

    The answers are compared with ONNX Runtime's. Where the cases say which frames a window saw, the scene graph's plan
    gets the embeddings from the frame graph's plan, while ONNX Runtime gets its own: as in a stream.

    Args:
        precision: Precision of the graphs.
        command: Command that builds plans; None: the real worker.
    """

    def run(_name: str, folder: Path) -> dict:
        from engines.ort import OrtEngine
        from engines.trt.builder import BUILD_COMMAND, run_builder
        from engines.trt.exchange import Request
        from engines.trt.records import profiles_of

        worker = command or (tensorrt_python(), *BUILD_COMMAND[1:])
        exported = json.loads((folder / "export.json").read_text(encoding="utf-8"))
        n_frames, seen = exported["n_frames"], exported.get("seen")
        rows, graphs, embeddings = [], {}, None
        for path in sorted(folder.glob(f"*.{precision}.onnx")):
            part = path.name.partition(".")[0]
            with np.load(folder / f"{part}.npz") as archive:
                cases = dict(archive)
            given = dict(cases)
            if part == "scene" and seen is not None and embeddings is not None:
                given[seen["input"]] = with_embeddings(cases[seen["input"]], seen["frames"], embeddings)
            n_cases = len(next(iter(cases.values())))
            whole, rest = divmod(n_cases - 1, BATCH)
            request = Request(
                graph=part,
                precision=precision,
                timed=TIMED,
                batches=(1, *(BATCH,) * whole, *((rest,) if rest else ())),
                profiles=profiles_of(batches_of(part, n_frames)),
            )
            built = run_builder(request, graph=path.read_bytes(), cases=given, command=worker)
            if part == "frame":
                embeddings = built.answers["embedding"]
            with OrtEngine((folder / f"{part}.float32.onnx").read_bytes(), name=part) as engine:
                expected = engine.infer(cases)
            report = built.report
            graphs[part] = {
                "tensorrt": report.tensorrt,
                "device": report.device.name,
                "layers": report.n_layers,
                "build_seconds": report.build_seconds,
                "memory_bytes": report.memory_bytes,
                **agreement(expected, built.answers),
                "cases": n_cases,
            }
            for entry in report.latency:
                how = "CUDA graph" if entry.cuda_graph else "stream"
                rows.append(
                    row(part, f"TensorRT {precision}, {how}", entry.batch, entry.p50_seconds, entry.p99_seconds)
                )
        return {"rows": rows, "graphs": graphs}

    return run


def with_embeddings(array: np.ndarray, frames: Sequence[int], embeddings: np.ndarray) -> np.ndarray:
    """Replace rows of an array [n, n_frames, size] by those frames' embeddings; −1 leaves a row as it is."""
    flat, which = array.reshape(-1, array.shape[-1]).copy(), np.array(frames)
    flat[which >= 0] = embeddings[which[which >= 0]]
    return flat.reshape(array.shape)


def agreement(expected: dict, got: dict) -> dict:
    """Largest difference over all outputs (relative for an embedding), and the share of equal labels.

    `agreement` refers to the fused head, whose label is the one reported, and which follows the other modality where
    one is missing; `every_head` is that of the head that agrees least.
    """
    worst = max(
        float(np.abs(got[name] - array).max()) / (max(1.0, float(np.abs(array).max())) if name == "embedding" else 1.0)
        for name, array in expected.items()
    )
    logits = [name for name in expected if name != "embedding"]
    same = {name: float((got[name].argmax(-1) == expected[name].argmax(-1)).mean()) for name in logits}
    least = min(same.values(), default=None)
    return {"max_difference": worst, "agreement": same.get("fused", least), "every_head": least}


def pytorch(*ways: str) -> Callable[[str, Path], dict]:
    """Return a part that times these ways in PyTorch on every graph and batch size; a failing one is recorded."""

    def run(name: str, folder: Path) -> dict:
        import torch
        from support.every_network import LABELS, published_config
        from support.networks import settle

        from trainer.models.systems import build_network, check_inputs, deploy

        config = published_config(name)
        system = check_inputs(config)
        deployed = deploy(system, settle(build_network(config, len(LABELS))))
        n_frames = json.loads((folder / "export.json").read_text(encoding="utf-8"))["n_frames"]
        rows, failed = [], {}
        for part, module in {"frame": deployed.encoder, "scene": deployed.scene}.items():
            if module is None:
                continue
            with np.load(folder / f"{part}.npz") as archive:
                names = ("image",) if part == "frame" else deployed.scene_inputs
                cases = [archive[key] for key in names]
            for batch in batches_of(part, n_frames):
                for way in ways:
                    torch.compiler.reset()
                    try:
                        times = time_pytorch(torch, module, [array[:batch] for array in cases], way)
                    except Exception as error:  # noqa: BLE001  (record a failed baseline, go on with the others)
                        said = (str(error).splitlines() or [""])[0][:300]
                        failed[f"{part}, {batch}, {way}"] = f"{type(error).__name__}: {said}"
                        continue
                    rows.append(row(part, f"PyTorch {way}", batch, *percentiles(times)))
        return {"rows": rows, "failed": failed, "torch": torch.__version__}

    return run


def time_pytorch(torch, module, arrays: list[np.ndarray], way: str) -> list[float]:
    """Time calls of a module; return their durations in seconds.

    Args:
        torch: The torch module.
        module: The network, on the CPU, in float32.
        arrays: Its inputs.
        way: Words from: eager, compile, reduce-overhead, max-autotune, CUDA-graph, float16, channels_last.
    """
    import copy

    words = way.split()
    half = torch.float16 if "float16" in words else torch.float32
    form = torch.channels_last if "channels_last" in words else torch.preserve_format
    network = copy.deepcopy(module).cuda().to(dtype=half, memory_format=form).eval()
    pinned = [torch.from_numpy(np.ascontiguousarray(array)).pin_memory() for array in arrays]
    given = [tensor.cuda() for tensor in pinned]

    def typed():
        return [
            tensor.to(dtype=half, memory_format=form if tensor.ndim == 4 else torch.preserve_format) for tensor in given
        ]

    compute = network
    if "compile" in words:
        mode = next((word for word in words if word in ("reduce-overhead", "max-autotune")), None)
        compute = torch.compile(network, mode=mode)
    with torch.inference_mode():
        if "CUDA-graph" in words:
            compute = captured(torch, lambda: network(*typed()))
        else:
            inner, compute = compute, lambda: inner(*typed())

        def call() -> None:
            for source, target in zip(pinned, given, strict=True):
                target.copy_(source, non_blocking=True)
            answers = compute()
            for index, answer in enumerate(answers if isinstance(answers, tuple) else (answers,)):
                if index == len(outs):
                    outs.append(torch.empty(answer.shape, dtype=answer.dtype).pin_memory())
                outs[index].copy_(answer, non_blocking=True)
            torch.cuda.synchronize()

        outs: list = []
        return timed(call)


def captured(torch, work: Callable) -> Callable:
    """Capture the work as a CUDA graph; return a function that replays it and returns its result."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        answers = work()

    def replay():
        graph.replay()
        return answers

    return replay


def timed(call: Callable[[], object]) -> list[float]:
    """Durations of calls in seconds, after fifty that do not count."""
    for _ in range(50):
        call()
    seconds: list[float] = []
    until = time.perf_counter() + MOST_SECONDS
    while len(seconds) < TIMED and (len(seconds) < 20 or time.perf_counter() < until):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return seconds


def percentiles(seconds: list[float]) -> tuple[float, float]:
    return float(np.median(seconds)), float(np.percentile(seconds, 99))


def row(part: str, way: str, batch: int, p50_seconds: float, p99_seconds: float) -> dict:
    return {"part": part, "way": way, "batch": batch, "p50_ms": 1e3 * p50_seconds, "p99_ms": 1e3 * p99_seconds}


def onnxruntime(_name: str, folder: Path) -> dict:
    """ONNX Runtime on the device, if a build of it with CUDA is installed."""
    import onnxruntime as ort

    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return {"rows": [], "failed": {"all": "this ONNX Runtime has no CUDA; type: pip install onnxruntime-gpu"}}
    n_frames = json.loads((folder / "export.json").read_text(encoding="utf-8"))["n_frames"]
    rows = []
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA and cuDNN as installed by pip
    for path in sorted(folder.glob("*.float*.onnx")):
        part, precision, _ = path.name.split(".")
        session = ort.InferenceSession(path.read_bytes(), providers=["CUDAExecutionProvider"])
        if session.get_providers()[0] != "CUDAExecutionProvider":  # it falls back to the CPU without raising
            return {"error": "this ONNX Runtime finds no CUDA or cuDNN of the versions it needs"}
        with np.load(folder / f"{part}.npz") as archive:
            cases = dict(archive)
        for batch in batches_of(part, n_frames):
            feeds = {name: array[:batch] for name, array in cases.items()}
            times = timed(lambda session=session, feeds=feeds: session.run(None, feeds))
            rows.append(row(part, f"ONNX Runtime CUDA {precision}", batch, *percentiles(times)))
    return {"rows": rows, "onnxruntime": ort.__version__}


def ceilings(_name: str, _folder: Path) -> dict:
    """Measure the device's limits: copying, multiplying, launching."""
    import torch

    big = torch.empty(1 << 28, dtype=torch.float32, device="cuda")
    other = torch.empty_like(big)
    seconds = best(torch, lambda: other.copy_(big))
    flops = {}
    n = 8192
    for precision, dtype in (("float32", torch.float32), ("float16", torch.float16)):
        a, b = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
        flops[precision] = 2 * n**3 / best(torch, lambda a=a, b=b: a @ b)
    a, b = (torch.randint(-8, 8, (n, n), device="cuda", dtype=torch.int8) for _ in range(2))
    flops["int8"] = 2 * n**3 / best(torch, lambda: torch._int_mm(a, b.t()))
    launch = {}
    for count in KERNELS:
        replay = captured(torch, lambda count=count: [torch.cuda._sleep(0) for _ in range(count)])
        launch[count] = percentiles(timed(lambda replay=replay: (replay(), torch.cuda.synchronize())))[0]
    return {
        "bytes_per_second": 2 * big.nbytes / seconds,
        "flops_per_second": flops,
        "launch_seconds": launch,
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
    }


def best(torch, call: Callable[[], object]) -> float:
    """Seconds per call in the best of ten rounds of ten calls."""
    rounds = []
    for _ in range(11):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        for _ in range(10):
            call()
        torch.cuda.synchronize()
        rounds.append((time.perf_counter() - begun) / 10)
    return min(rounds[1:])


def tick(name: str, folder: Path) -> dict:
    """A whole audio-visual tick with float16 plans: features, the new frame's embedding, the scene, probabilities."""
    from ascstream import Classifier, StreamSettings, open_media, stream
    from engines.bundle import open_bundle
    from engines.trt.build import build_plans
    from engines.trt.driver import find_machine
    from engines.trt.plans import PlanStore

    bundle, machine = folder / "bundle", find_machine()
    if machine is None:
        return {"error": "needs TensorRT in the Python that runs this, not in another one"}
    build_plans(open_bundle(bundle), "float16", store=PlanStore(folder / "plans"), machine=machine, batches=(1,))
    seconds: list[float] = []

    class Timed(Classifier):
        def score(self, window):
            begun = time.perf_counter()
            scores = super().score(window)
            seconds.append(time.perf_counter() - begun)
            return scores

    with Timed.load(bundle, backend="tensorrt", plans=folder / "plans") as classifier:
        for _ in range(10):
            with open_media(ROOT / "examples" / "clip.mp4") as source:
                for _ in stream(classifier, source, StreamSettings(step_seconds=STEP_SECONDS)):
                    pass
    counted = seconds[50:]
    p50, p99 = percentiles(counted)
    return {"rows": [row("tick", f"{name}, float16, CUDA graph", 1, p50, p99)], "n": len(counted)}


KINDS: dict[str, Callable[[str, Path], dict]] = {
    "ceilings": ceilings,
    "export": export,
    **{f"tensorrt-{precision}": tensorrt(precision) for precision in ("float32", "float16", "int8")},
    "pytorch": pytorch("eager", "eager float16", "eager float16 channels_last", "CUDA-graph", "CUDA-graph float16"),
    "compile": pytorch("compile", "compile float16"),
    "reduce-overhead": pytorch("compile reduce-overhead", "compile reduce-overhead float16"),
    "max-autotune": pytorch("compile max-autotune", "compile max-autotune float16"),
    "onnxruntime": onnxruntime,
    "tick": tick,
}

if __name__ == "__main__":
    sys.exit(main())
