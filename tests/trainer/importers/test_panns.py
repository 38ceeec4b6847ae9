"""PANNs: each network against its arithmetic from the published names, the features, the bundle, the refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support.corpus import write_wav
from support.panns import State, checkpoint, embedding, features, filters

from ascstream import Classifier, StreamSettings, open_media, stream
from ascstream.frontend import audio_tensor
from engines.backends import load_engines
from engines.bundle import open_bundle
from trainer.cli import main
from trainer.errors import DataError
from trainer.importers.files import read_file
from trainer.importers.panns import MAX_BYTES, read_panns

RATE = 32_000


def sounds(n: int, rate: int = RATE) -> np.ndarray:
    """[n, rate] float32: noise that is duller from one to the next."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((n, rate))
    for number in range(n):
        noise[number] += 3 * number / n * np.convolve(noise[number], np.ones(8) / 8, mode="same")
    return (0.03 * noise).astype(np.float32)


def save(state: State, path: Path, *, new: bool = False) -> Path:
    """As their training saves it, with the order in which clips were drawn; by an older torch as theirs."""
    sampler = {"indexes_per_class": [np.arange(5), np.arange(7)], "queue": [3, 1], "pointers_of_classes": [0, 2]}
    content = {"iteration": 600_000, "model": state, "sampler": sampler}
    torch.save(content, path, _use_new_zipfile_serialization=new)
    return path


def write_clips(folder: Path) -> Path:
    """Two scenes, two places each."""
    rng = np.random.default_rng(0)
    for place in range(2):
        noise = 0.1 * rng.standard_normal(2 * RATE)
        write_wav(folder / f"park/{place}.wav", np.convolve(noise, np.ones(16) / 16, mode="same"), RATE)
        write_wav(folder / f"street_traffic/{place}.wav", 0.3 * np.diff(noise, prepend=0), RATE)
    return folder


def said(path: Path) -> str:
    """The refusal of a file."""
    with pytest.raises(DataError) as raised:
        read_panns(read_file(path, MAX_BYTES))
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("kind", "rate"),
    [
        ("Cnn6", 32_000),
        ("Cnn10", 8_000),
        ("MobileNetV1", 16_000),
        pytest.param("Cnn14", 16_000, marks=pytest.mark.slow),
        pytest.param("ResNet22", 32_000, marks=pytest.mark.slow),
        pytest.param("ResNet38", 32_000, marks=pytest.mark.slow),
    ],
)
def test_a_published_network_gives_its_authors_answers(kind: str, rate: int, tmp_path: Path) -> None:
    state = checkpoint(kind, rate)
    name, network, audio = read_panns(read_file(save(state, tmp_path / "net.pth"), MAX_BYTES))
    assert name == kind
    assert audio.sample_rate == rate
    samples = sounds(4, rate)
    ours = np.stack([audio_tensor(row[None], audio) for row in samples])
    theirs = features(state, torch.from_numpy(samples))
    assert ours.shape == (4, 1, 101, 64)
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-4)
    expected = embedding(kind, state, theirs).numpy()
    with torch.no_grad():
        answers = network.embed(torch.from_numpy(ours)).numpy()
    assert expected.std(axis=0).max() > 1e-3  # they do differ
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-4 * max(1, np.abs(expected).max()))


@pytest.mark.slow
def test_a_bundle_streams_what_the_network_and_its_head_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = checkpoint("MobileNetV1")
    path, clips, out = save(state, tmp_path / "net.pth", new=True), write_clips(tmp_path / "clips"), tmp_path / "bundle"
    assert main(["import", "panns", str(path), "--out", str(out), "--data", str(clips)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}\n"
    assert "On windows of places held out, scenes alike and within them clips alike: accuracy " in said.err
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["name"] == "panns-mobilenetv1"
    assert manifest["labels"] == ["park", "street_traffic"]
    assert manifest["groups"] == {"outdoor": ["park", "street_traffic"]}
    card = (out / "CARD.md").read_text()
    assert "fitted on 8 windows of 4 clips of 4 places: `clips`" in card
    assert "CC BY 4.0" in card
    assert "not a file that was held and compared" in card
    with load_engines(open_bundle(out), backend="onnxruntime") as engines, Classifier.load(out) as classifier:
        with open_media(clips / "park/0.wav") as source:
            predictions = list(stream(classifier, source, StreamSettings(step_seconds=1.0)))
        samples = sounds(2)
        audio = classifier.manifest.audio_inputs[0][1]
        feeds = {"features": np.stack([audio_tensor(row[None], audio) for row in samples])}
        logits = engines.scene.infer(feeds)["fused"]
    assert [prediction.end for prediction in predictions] == [1.0, 2.0]
    assert predictions[0].raw_scores["park"] > 0.5
    weight, bias = _head_of(out, state, classifier.manifest)
    expected = embedding("MobileNetV1", state, features(state, torch.from_numpy(samples))).numpy() @ weight.T + bias
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-3)


def _head_of(out: Path, state: State, manifest) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases of the last layer of a bundle's graph."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(out / manifest.graphs[0].files["float32"]).graph
    arrays = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    weight = next(array for array in arrays.values() if sorted(array.shape) == [2, len(state["fc1.bias"])])
    bias = next(array for array in arrays.values() if array.shape == (2,))
    return weight if weight.shape[0] == 2 else weight.T, bias


def test_without_clips_nothing_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "panns", str(tmp_path / "absent.pth"), "--out", str(tmp_path / "bundle")]) == 2
    assert "panns: expected --data CLIPS" in capsys.readouterr().err


def test_other_filters_and_other_networks_are_refused(tmp_path: Path) -> None:
    state = checkpoint("Cnn6")
    path = tmp_path / "net.pth"
    whole, state = state, {name: tensor for name, tensor in state.items() if "block" not in name}  # quicker to read
    bank = state["logmel_extractor.melW"]
    save(state | {"logmel_extractor.melW": bank * 1.001}, path)
    assert "expected at logmel_extractor.melW the filters of 64 bands of 50 to 14000 Hz at 32000 Hz" in said(path)
    save(state | {"logmel_extractor.melW": bank[:, :0]}, path)
    assert "got [513, 1, 1024] and [513, 0]" in said(path)
    wave = "spectrogram_extractor.stft.conv_real.weight"
    save(state | {wave: state[wave].roll(1, dims=2)}, path)
    assert f"expected at {wave} the filters" in said(path)
    save({name: tensor for name, tensor in state.items() if name != "logmel_extractor.melW"}, path)
    assert "got none at logmel_extractor.melW; is this a network of theirs" in said(path)
    save(state | {"fc_audioset.weight": torch.zeros(10, 512)}, path)
    assert "a layer of AudioSet's 527 tags" in said(path)
    assert "got [10, 512], [527]" in said(path)
    save({name: tensor for name, tensor in whole.items() if not name.startswith("conv_block4")}, path)
    assert "expected the 79 tensors of PannsCnn, got" in said(path)
    save(whole | {"pre_conv0.weight": torch.zeros(64, 1, 11)}, path)
    assert "1 unexpected (pre_conv0.weight)" in said(path)


def test_a_shortened_file_and_code_are_refused(tmp_path: Path) -> None:
    state = filters(RATE)
    path = save(state, tmp_path / "net.pth")
    path.write_bytes(path.read_bytes()[:-100])
    assert "got a pickle of something else, or a part of one" in said(path)
    mark = tmp_path / "ran"
    torch.save({"model": state, "sampler": {"indexes": [_Marks(mark)]}}, path)
    assert "expected a .safetensors file, or a checkpoint of tensors and plain values alone, got a pickle that" in said(
        path
    )
    assert not mark.exists()


class _Marks:
    """A pickle of this makes a folder when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.mark),)
