"""Every network of the registry as a bundle that `ascstream file` plays: what it says is what PyTorch says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support.commands import ascstream
from support.every_network import BIG, LABELS, SMALL, Traced, trace
from support.media import Clips
from support.trt_operators import unknown_operators

from ascstream import Classifier, StreamSettings, open_media, stream
from ascstream.records import Window, WindowScores
from engines.check import GoldenGraph
from engines.ort import OrtEngine
from trainer.config import Config
from trainer.data.tensors import Stretch, TensorMaker
from trainer.evaluate.metrics import softmax
from trainer.export.precisions import make_precision, to_judge
from trainer.models.systems import run_network

pytestmark = pytest.mark.slow


class Keeping(Classifier):
    """A classifier that keeps the windows it was asked about."""

    windows: list[Window]

    def score(self, window: Window) -> WindowScores:
        self.windows.append(window)
        return super().score(window)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return Clips(tmp_path_factory.mktemp("clips"))


def one_window(clips: Clips, config: Config) -> Path:
    """A clip of noise and a moving picture, one window long."""
    seconds = config.window.seconds
    return clips.make(
        f"noise-{seconds:g}.mkv",
        *("-f", "lavfi", "-i", f"testsrc2=size=320x240:rate=25:duration={seconds}"),
        *("-f", "lavfi", "-i", f"anoisesrc=amplitude=0.3:seed=5:sample_rate=48000:duration={seconds}"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "pcm_s16le"),
    )


def by_pytorch(traced: Traced, window: Window) -> dict[str, float]:
    """What the network makes of a window, by label."""
    frames = np.stack([frame.image for frame in window.frames if frame is not None]) if window.frames else None
    maker = TensorMaker(traced.config.inputs, traced.config.window, traced.system.inputs)
    tensors = maker.empty(1)
    maker.fill(tensors, 0, Stretch(window.samples, frames, audio=True, video=True))
    with torch.no_grad():
        given = {name: torch.from_numpy(array) for name, array in tensors.items()}
        logits = run_network(traced.system, traced.network, given)["fused"].numpy()
    return dict(zip(LABELS, softmax(logits)[0].tolist(), strict=True))


def check_stream(traced: Traced, bundle: Path, clip: Path) -> None:
    """The library and the command line say of one window what PyTorch says."""
    with Keeping.load(bundle) as classifier, open_media(clip) as source:
        assert isinstance(classifier, Keeping)
        classifier.windows = []
        [prediction] = list(stream(classifier, source, StreamSettings()))
        [window] = classifier.windows
    assert not prediction.degraded
    assert prediction.raw_scores == pytest.approx(by_pytorch(traced, window), abs=1e-5)
    done = ascstream("file", clip, "--bundle", bundle, "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    [told] = [line for line in lines if line["type"] == "prediction"]
    assert told["raw_scores"] == pytest.approx(prediction.raw_scores, abs=1e-5)
    assert told["end"] == traced.config.window.seconds


def difference(graph: bytes, golden: GoldenGraph) -> float:
    """Largest difference of a graph's numbers to PyTorch's; of probabilities, if they are logits."""
    with OrtEngine(graph) as engine:
        answers = engine.infer(dict(golden.feeds))
    if "embedding" in answers:
        expected = golden.answers["embedding"]
        return float(np.abs(answers["embedding"] - expected).max() / np.abs(expected).max())
    return max(float(np.abs(softmax(answers[name]) - softmax(logits)).max()) for name, logits in golden.answers.items())


@pytest.mark.parametrize("name", SMALL)
def test_a_small_network_streams_and_has_every_precision(name: str, clips: Clips, tmp_path: Path) -> None:
    traced = trace(name)
    check_stream(traced, traced.write(tmp_path / "bundle"), one_window(clips, traced.config))
    for graph in traced.graphs.graphs.values():
        assert unknown_operators(graph) == []
    for precision, allowed in (("float16", 0.01), ("int8", 0.3)):
        made = make_precision(traced.graphs, precision, traced.cases.ranges(4))
        judged = to_judge(made, precision)
        for part, graph in made.items():
            assert unknown_operators(graph) == []
            alone = (name, part) == ("slim_visual", "scene")  # its only layer is the last one, which stays float32
            assert (graph == traced.graphs.graphs[part]) is alone
            assert difference(judged[part], traced.graphs.golden[part]) <= allowed


@pytest.mark.parametrize("name", BIG)
def test_a_big_network_streams(name: str, clips: Clips, tmp_path: Path) -> None:
    small = ("video.width=64", "video.height=64") if name.startswith("se_") else ()
    traced = trace(name, small, 2 if name in ("clip_zero_shot", "resnet_clip") else None)
    for graph in traced.graphs.graphs.values():
        assert unknown_operators(graph) == []
    check_stream(traced, traced.write(tmp_path / "bundle"), one_window(clips, traced.config))


def test_vgg_and_resnet_have_every_precision() -> None:
    for name in ("se_visual", "resnet_audio"):
        traced = trace(name, ("video.width=64", "video.height=64") if name == "se_visual" else ())
        for precision, allowed in (("float16", 0.01), ("int8", 0.3)):
            made = make_precision(traced.graphs, precision, traced.cases.ranges(2))
            judged = to_judge(made, precision)
            for part, graph in made.items():
                assert unknown_operators(graph) == []
                assert difference(judged[part], traced.graphs.golden[part]) <= allowed
