"""EfficientAT: a published file of random numbers as a bundle, against its authors' arithmetic, rendered anew."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from support.corpus import SCENES, scene_samples, write_wav
from support.efficientat import RATE, augment_mel, authors, published_efficientat
from support.recordings import SCENES as RECORDINGS
from support.recordings import recording

from ascstream import Classifier, StreamSettings, open_media, stream
from ascstream.frontend import audio_tensor
from ascstream.records import AudioBlock
from engines.backends import load_engines
from engines.bundle import open_bundle
from trainer.cli import main
from trainer.errors import DataError
from trainer.importers.efficientat import AUDIO, import_efficientat
from trainer.models.cp_mobile import CpMobile

LABELS = ("bus", "metro", "park")
WIDTH = 0.4


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings each of three scenes, whose names say which."""
    folder = tmp_path_factory.mktemp("clips")
    for label, sound in zip(LABELS, SCENES, strict=True):
        for number in range(3):
            write_wav(folder / label / f"{number}.wav", scene_samples(sound, 3.0, number))
    return folder


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return published_efficientat(WIDTH, seed=5)


@pytest.fixture(scope="module")
def checkpoint(state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mn04_as_mAP_432.pt"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def made(checkpoint: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, as the command makes it."""
    out = tmp_path_factory.mktemp("bundles") / "efficientat"
    assert main(["import", "efficientat", str(checkpoint), "--data", str(clips), "--out", str(out)]) == 0
    return out


def logits_of(graph: bytes, state: dict[str, torch.Tensor], features: torch.Tensor) -> np.ndarray:
    """[n, 128, n_hops] features to [n, n_labels], by the authors' arithmetic and the head that stands in a graph."""
    constants = {entry.name: numpy_helper.to_array(entry) for entry in onnx.load_from_string(graph).graph.initializer}
    pooled = authors(state, features)[1].double().numpy()
    return pooled @ constants["scenes.weight"].T.astype(np.float64) + constants["scenes.bias"]


def graph_of(bundle: Path) -> bytes:
    return open_bundle(bundle).read("scene.onnx")


def test_features_are_the_authors() -> None:
    rng = np.random.default_rng(0)
    samples = (10 ** rng.uniform(-5, 0, (6, 1)) * rng.standard_normal((6, RATE))).clip(-1, 1).astype(np.float32)
    samples[0] = 0
    ours = np.stack([audio_tensor(row[None], AUDIO) for row in samples])
    expected = augment_mel(torch.from_numpy(samples)).numpy()
    assert ours.shape == (6, 1, 128, 100)
    np.testing.assert_allclose(ours[:, 0], expected, rtol=0, atol=1e-4)


@pytest.mark.data
@pytest.mark.parametrize("name", RECORDINGS)
def test_features_of_recordings_are_the_authors(name: str) -> None:
    samples = recording(name, RATE, 4.0)[0].reshape(-1, RATE)
    ours = np.stack([audio_tensor(row[None], AUDIO)[0] for row in samples])
    np.testing.assert_allclose(ours, augment_mel(torch.from_numpy(samples)).numpy(), rtol=0, atol=1e-4)


def test_the_graph_answers_as_the_authors_network_and_the_head(made: Path, state: dict[str, torch.Tensor]) -> None:
    rng = np.random.default_rng(1)
    samples = (0.1 * rng.standard_normal((4, RATE))).astype(np.float32)
    expected = logits_of(graph_of(made), state, augment_mel(torch.from_numpy(samples)))
    features = np.stack([audio_tensor(row[None], AUDIO) for row in samples])
    opened = open_bundle(made)
    with load_engines(opened, backend="onnxruntime") as exact:
        np.testing.assert_allclose(exact.scene.infer({"features": features})["fused"], expected, rtol=0, atol=1e-3)
    with load_engines(opened, backend="onnxruntime", precision="float16") as half:
        np.testing.assert_allclose(half.scene.infer({"features": features})["fused"], expected, rtol=0, atol=0.1)


def test_what_is_streamed_is_what_the_authors_arithmetic_says(
    made: Path, state: dict[str, torch.Tensor], clips: Path
) -> None:
    temperature = open_bundle(made).manifest.outputs[0].temperature
    for label in LABELS:
        file = clips / label / "1.wav"
        with Classifier.load(made) as classifier:
            with open_media(file) as source:
                items = source.items(classifier.wants(Fraction(1)))
                blocks = [item.samples for item in items if isinstance(item, AudioBlock)]
            with open_media(file) as source:
                predictions = list(stream(classifier, source, StreamSettings(step_seconds=1.0)))
        samples = torch.from_numpy(np.concatenate(blocks, axis=1)[0, : 3 * RATE].reshape(3, RATE))
        logits = torch.from_numpy(logits_of(graph_of(made), state, augment_mel(samples)) / temperature)
        expected = torch.softmax(logits, dim=1).numpy()
        assert len(predictions) == 3
        for prediction, scores in zip(predictions, expected, strict=True):
            got = [prediction.raw_scores[name] for name in LABELS]
            np.testing.assert_allclose(got, scores, rtol=0, atol=1e-4)


def test_the_bundle_says_what_it_is(made: Path) -> None:
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["labels"] == list(LABELS)
    assert manifest["groups"] == {"outdoor": ["park"], "transportation": ["bus", "metro"]}
    assert [output["name"] for output in manifest["outputs"]] == ["fused"]
    assert manifest["outputs"][0]["temperature"] != 1.0  # that of held-out answers
    assert set(manifest["graphs"][0]["files"]) == {"float32", "float16"}
    card = (made / "CARD.md").read_text()
    assert "MobileNetV3 of width 0.4" in card
    assert "384 numbers" in card
    assert "27 windows of 9 clips of 9 places" in card
    assert "Copyright (c) 2022 Florian Schmid" in card
    assert "AudioSet" in card
    assert "not a file that was held and compared" in card


@pytest.mark.slow
def test_width_1_is_found_by_its_shapes(clips: Path, tmp_path: Path) -> None:
    state = published_efficientat(1.0, seed=2)
    path = tmp_path / "mn10_as_mAP_471.pt"
    torch.save(state, path)
    imported = import_efficientat(path, clips)
    assert "of width 1," in imported.description
    assert "960 numbers" in imported.answers
    golden = imported.graphs.golden["scene"]
    expected = logits_of(imported.graphs.graphs["scene"], state, torch.from_numpy(golden.feeds["features"][:, 0]))
    np.testing.assert_allclose(golden.answers["fused"], expected, rtol=0, atol=1e-3)


def refusal(path: Path, clips: Path) -> str:
    """One line that begins with the file."""
    with pytest.raises(DataError) as raised:
        import_efficientat(path, clips)
    assert str(raised.value).startswith(f"{path}: expected")
    assert "\n" not in str(raised.value)
    return str(raised.value)


class Marks:
    """A pickle of this makes a folder when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_code_is_not_run_and_parts_of_files_are_refused(checkpoint: Path, clips: Path, tmp_path: Path) -> None:
    path, mark = tmp_path / "mn04_as.pt", tmp_path / "ran"
    torch.save({"features.0.0.weight": Marks(mark)}, path)
    assert "checkpoint of tensors and plain values alone" in refusal(path, clips)
    assert not mark.exists()
    torch.load(path, weights_only=False)  # and it would have left its mark
    assert mark.is_dir()
    path.write_bytes(checkpoint.read_bytes()[:-1000])
    assert "expected a whole file, got a damaged or shortened one" in refusal(path, clips)
    assert "No such file" in refusal(tmp_path / "absent.pt", clips)


def test_other_networks_are_refused_by_name(state: dict[str, torch.Tensor], clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"in_c.0.weight": torch.zeros(8, 1, 3, 3), "layers.0.depth_conv.weight": torch.zeros(1, 1, 4, 72)}, path)
    assert "expected a network of the mn family, got a dynamic one (dymn)" in refusal(path, clips)
    torch.save(CpMobile().state_dict(), path)
    assert "expected the 312 tensors of EfficientAt, got" in refusal(path, clips)
    torch.save({"bn0.weight": torch.zeros(64), "fc_audioset.weight": torch.zeros(527, 2048)}, path)
    message = refusal(path, clips)
    assert "missing (features.0.0.weight" in message
    assert "2 unexpected (bn0.weight, fc_audioset.weight)" in message
    torch.save(published_efficientat(WIDTH, n_tags=50), path)
    assert "2 of another shape (classifier.5.weight, classifier.5.bias)" in refusal(path, clips)
    torch.save({**state, "features.16.0.weight": torch.zeros(1 << 20, 1)}, path)  # no network of such a width is built
    assert "of another shape (features.0.0.weight" in refusal(path, clips)
    torch.save({**state, "features.16.0.weight": torch.tensor(1.0)}, path)
    assert "of another shape (features.0.0.weight" in refusal(path, clips)
    torch.save({**state, "classifier.2.bias": torch.full_like(state["classifier.2.bias"], torch.nan)}, path)
    assert "expected finite numbers, got others in classifier.2.bias" in refusal(path, clips)


@pytest.mark.parametrize("name", ["mn10_as_hop_15_mAP_463.pt", "mn10_as_mels_64_mAP_461.pt"])
def test_networks_of_another_resolution_are_told_by_their_names(name: str, clips: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    what = "_".join(name.split("_")[2:4])
    assert (
        f"expected a network of 128 bands every 10 ms, got one of another resolution by its name ({what})"
        in refusal(tmp_path / name, clips)
    )


@pytest.mark.parametrize("name", ["mn10_im.pt", "mn10_im_pytorch.pt"])
def test_networks_that_heard_nothing_are_told_by_their_names(name: str, clips: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    assert "got one trained on ImageNet alone by its name" in refusal(tmp_path / name, clips)
    (tmp_path / "mn40_as_no_im_pre_mAP_483.pt").write_bytes(b"")
    assert "ImageNet" not in refusal(tmp_path / "mn40_as_no_im_pre_mAP_483.pt", clips)


def test_the_command_wants_recordings(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["import", "efficientat", str(checkpoint), "--out", str(out)]) == 2
    assert "efficientat: expected --data CLIPS" in capsys.readouterr().err
    assert main(["import", "efficientat", str(checkpoint), "--out", str(out), "--data", str(tmp_path / "absent")]) == 3
    assert str(tmp_path / "absent") in capsys.readouterr().err
    assert not out.exists()
