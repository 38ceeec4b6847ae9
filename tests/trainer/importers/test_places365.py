"""Places365: SqueezeNet and ResNet against their arithmetic in numpy and torch; scenes, and none of them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from support.networks import settle
from support.recordings import data_folder
from torch import Tensor
from torch.nn import functional

from ascstream.frontend import image_tensor
from engines.backends import load_engines
from engines.bundle import open_bundle
from engines.manifest import VideoInput
from engines.ort import OrtEngine
from engines.precision import rounded
from trainer.importers.bundle import write_import
from trainer.importers.imported import TEN_SCENES
from trainer.importers.places365 import PlacesScenes, import_places365
from trainer.importers.places365_scenes import CATEGORIES, SCENES, scene_shares
from trainer.models.resnet_image import ResnetImage

ARRAYS = "weights/squeezenet_places365/squeezenet_places365.npz"
FEW = ("airport_terminal", "bus_interior", "subway_station_platform", "highway")
WIDTHS = (64, *(16, 64, 64) * 2, *(32, 128, 128) * 2, *(48, 192, 192) * 2, *(64, 256, 256) * 2)
"""Channels out of every convolution but the last, in the order of the file."""


def fires() -> list[tuple[int, int, int]]:
    """Channels into each fire module, squeezed, and out of each expansion, from WIDTHS."""
    triples = [WIDTHS[index : index + 3] for index in range(1, len(WIDTHS), 3)]
    entering = [64, *(2 * triple[2] for triple in triples)]
    return [(n_in, triple[0], triple[2]) for n_in, triple in zip(entering, triples, strict=False)]


def random_arrays(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """The published layout, filled with numbers that keep their size from layer to layer."""
    rng = np.random.default_rng(seed)
    shapes = [(64, 3, 3)]
    for n_in, squeezed, expanded in fires():
        shapes += [(squeezed, n_in, 1), (expanded, squeezed, 1), (expanded, squeezed, 3)]
    arrays: list[NDArray[np.float32]] = []
    for n_out, n_in, size in shapes:
        arrays.append(rng.standard_normal((n_out, n_in, size, size)) * np.sqrt(1.5 / (n_in * size * size)))
        arrays += [0.1 * rng.standard_normal(n_out) for _ in range(2)]
        arrays += [rng.uniform(0.7, 1.3, n_out), 0.1 * rng.standard_normal(n_out), rng.uniform(0.7, 1.3, n_out)]
    arrays += [rng.standard_normal((365, 512, 1, 1)) * 0.1, 0.1 * rng.standard_normal(365)]
    return {f"arr_{number}": array.astype(np.float32) for number, array in enumerate(arrays)}


def convolved(maps: NDArray[np.float64], kernels: NDArray[np.float64], stride: int = 1) -> NDArray[np.float64]:
    """A true convolution, as the published network's framework has it: [n_in, h, w] to [n_out, h / stride, …]."""
    size = kernels.shape[2]
    edge = size // 2
    padded = np.pad(maps, ((0, 0), (edge, edge), (edge, edge)))
    height, width = maps.shape[1:]
    out = 0.0
    for row in range(size):
        for column in range(size):
            # y[i] = Σ w[a] x[i − a]: the last kernel element meets the first sample
            part = padded[:, size - 1 - row :, size - 1 - column :][:, :height, :width][:, ::stride, ::stride]
            out = out + np.tensordot(kernels[:, :, row, column], part, axes=1)
    return np.asarray(out)


def pooled(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest of 3 × 3, every 2, without padding."""
    view = np.lib.stride_tricks.sliding_window_view(maps, (3, 3), axis=(1, 2))[:, ::2, ::2]
    return view.max(axis=(3, 4))


def rendered(arrays: dict[str, NDArray[np.float32]], image: NDArray[np.float32]) -> NDArray[np.float64]:
    """[3, 224, 224] to 365 logits: the published arithmetic, in float64, nothing folded."""
    queue = iter([arrays[f"arr_{number}"].astype(np.float64) for number in range(152)])

    def layer(maps: NDArray[np.float64], stride: int = 1, *, last: bool = False) -> NDArray[np.float64]:
        kernels, biases = next(queue), next(queue)[:, None, None]
        maps = convolved(maps, kernels, stride) + biases
        if not last:
            beta, gamma, mean, inverse = (next(queue)[:, None, None] for _ in range(4))
            maps = (maps - mean) * (gamma * inverse) + beta
        return np.where(maps > 0, maps, 0.55 * maps)

    maps = pooled(layer(image.astype(np.float64), 2))
    for number in range(8):
        few = layer(maps)
        maps = np.concatenate([layer(few), layer(few)])
        if number in (1, 3):
            maps = pooled(maps)
    assert maps.shape == (512, 13, 13)
    return layer(maps, last=True).mean(axis=(1, 2))


def write_arrays(path: Path, arrays: dict[str, NDArray[np.float32]]) -> Path:
    np.savez(path, **arrays)
    return path


def places_pictures(names: Sequence[str], n_each: int = 1) -> Iterator[NDArray[np.uint8]]:
    """Pictures of the data folder at 224 × 224, the first few of each category."""
    for name in names:
        with tarfile.open(data_folder() / f"scenes_images/miniplaces/{name}.tar") as archive:
            for member in islice((entry for entry in archive if entry.name.endswith(".jpg")), n_each):
                data = archive.extractfile(member)
                assert data is not None
                picture = Image.open(io.BytesIO(data.read())).convert("RGB")
                yield np.asarray(picture.resize((256, 256), Image.Resampling.BILINEAR))[16:240, 16:240]


def video_of(bundle: Path) -> VideoInput:
    video = open_bundle(bundle).manifest.video_input
    assert video is not None
    return video[1]


def frame_answers(bundle: Path, images: NDArray[np.float32], precision: str = "float32") -> NDArray[np.float32]:
    with load_engines(open_bundle(bundle), backend="onnxruntime", precision=precision) as engines:
        assert engines.frame is not None
        return engines.frame.infer({"image": images})["embedding"]


@pytest.mark.slow
def test_random_arrays_give_the_published_arithmetic(tmp_path: Path) -> None:
    arrays = random_arrays()
    write_import(import_places365(write_arrays(tmp_path / "net.npz", arrays)), tmp_path / "bundle")
    video = video_of(tmp_path / "bundle")
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (224, 224, 3), np.uint8)
    prepared = image_tensor(picture, video)
    means = np.array([104.05, 112.51, 116.67])[:, None, None]
    np.testing.assert_allclose(
        prepared, (picture[:, :, ::-1].transpose(2, 0, 1) - means) / 255, rtol=0, atol=1e-6
    )  # blue first
    expected = rendered(arrays, prepared)
    logits = frame_answers(tmp_path / "bundle", prepared[None])[0]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    card = (tmp_path / "bundle/CARD.md").read_text()
    assert "No licence is stated for the weights" in card
    assert "not a file that was held and compared" in card


@pytest.mark.slow
@pytest.mark.data
def test_the_published_arrays_give_the_published_arithmetic_on_pictures(tmp_path: Path) -> None:
    path = data_folder() / ARRAYS
    imported = import_places365(path)
    assert imported.n_parameters == 909_741  # the normalisations are in the weights
    write_import(imported, tmp_path / "bundle")
    assert "known: the published list of arrays" in (tmp_path / "bundle/CARD.md").read_text()
    with np.load(path, allow_pickle=False) as loaded:
        arrays = dict(loaded)
    video = video_of(tmp_path / "bundle")
    images = np.stack([image_tensor(picture, video) for picture in places_pictures(FEW)])
    logits = frame_answers(tmp_path / "bundle", images)
    for ours, image in zip(logits, images, strict=True):
        expected = rendered(arrays, image)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    named = [CATEGORIES[index] for index in logits.argmax(axis=1)]
    assert named[1] == "bus_interior"


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_float16_leaves_the_scene_of_999_in_1000_pictures(tmp_path: Path) -> None:
    write_import(import_places365(data_folder() / ARRAYS), tmp_path / "bundle")
    bundle = open_bundle(tmp_path / "bundle")
    names = sorted(path.stem for path in (data_folder() / "scenes_images/miniplaces").glob("*.tar"))
    video = video_of(tmp_path / "bundle")
    graphs = {graph.name: graph.files for graph in bundle.manifest.graphs}
    half = bundle.read(graphs["frame"]["float16"])
    engines = [OrtEngine(graph) for graph in (bundle.read(graphs["frame"]["float32"]), half, rounded(half))]
    places: list[list[NDArray[np.float32]]] = [[] for _ in engines]
    for picture in places_pictures(names, 50):
        image = image_tensor(picture, video)[None]
        for engine, logits in zip(engines, places, strict=True):
            logits.append(engine.infer({"image": image})["embedding"])
    scene = PlacesScenes().eval()
    scores = [scene(torch.from_numpy(np.stack(logits))).detach().numpy() for logits in places]
    train = [TEN_SCENES.index(label) for label in ("metro", "tram")]
    for labels in scores:
        assert (
            labels[:, train[0]] == labels[:, train[1]]
        ).all()  # a tie, which the first of them wins at any precision
    assert len(scores[0]) >= 1000
    for labels, logits in zip(
        scores[1:], places[1:], strict=True
    ):  # as ONNX Runtime computes, and as accelerators round
        assert (labels.argmax(axis=1) == scores[0].argmax(axis=1)).mean() >= 0.999
        same = np.concatenate(logits).argmax(axis=1) == np.concatenate(places[0]).argmax(axis=1)
        assert same.mean() >= 0.999


def normalised(state: dict[str, Tensor], name: str, maps: Tensor) -> Tensor:
    return functional.batch_norm(
        maps, *(state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    )


def resnet_rendered(state: dict[str, Tensor], images: Tensor, n_blocks: tuple[int, ...]) -> Tensor:
    """ResNet's forward pass from a state by torchvision's names alone."""
    maps = functional.conv2d(images, state["conv1.weight"], stride=2, padding=3)
    maps = functional.max_pool2d(normalised(state, "bn1", maps).relu(), 3, stride=2, padding=1)
    for stage, n in enumerate(n_blocks, start=1):
        for index in range(n):
            name = f"layer{stage}.{index}"
            stride = 2 if stage > 1 and index == 0 else 1
            short = maps
            if f"{name}.downsample.0.weight" in state:
                short = functional.conv2d(maps, state[f"{name}.downsample.0.weight"], stride=stride)
                short = normalised(state, f"{name}.downsample.1", short)
            n_convolutions = 3 if f"{name}.conv3.weight" in state else 2
            strided = 2 if n_convolutions == 3 else 1
            for number in range(1, n_convolutions + 1):
                weight = state[f"{name}.conv{number}.weight"]
                step = stride if number == strided else 1
                maps = functional.conv2d(maps, weight, stride=step, padding=weight.shape[2] // 2)
                maps = normalised(state, f"{name}.bn{number}", maps)
                maps = maps.relu() if number < n_convolutions else (maps + short).relu()
    return maps.mean(dim=(2, 3)) @ state["fc.weight"].T + state["fc.bias"]


@pytest.mark.slow
@pytest.mark.parametrize(("n_layers", "n_blocks", "zipped"), [(18, (2, 2, 2, 2), False), (50, (3, 4, 6, 3), True)])
def test_csail_s_layout_gives_resnet_s_arithmetic(
    n_layers: int, n_blocks: tuple[int, ...], zipped: bool, tmp_path: Path
) -> None:
    torch.manual_seed(n_layers)
    state = settle(ResnetImage(n_layers)).state_dict()
    content = {
        "epoch": 90,
        "arch": f"resnet{n_layers}",
        "best_prec1": 54.7,
        "state_dict": {f"module.{name}": tensor for name, tensor in state.items() if "num_batches" not in name},
    }
    path = tmp_path / f"resnet{n_layers}_places365.pth.tar"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)  # theirs is of the older kind
    imported = import_places365(path)
    assert imported.name == f"places365-resnet{n_layers}"
    assert imported.n_parameters == {18: 11_363_757, 50: 24_255_917}[n_layers]
    write_import(imported, tmp_path / "bundle")
    video = video_of(tmp_path / "bundle")
    picture = np.random.default_rng(2).integers(0, 256, (224, 224, 3), np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    prepared = ((picture / 255 - mean) / std).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(image_tensor(picture, video)[None], prepared, rtol=0, atol=1e-5)
    double = {name: tensor.double() for name, tensor in state.items()}
    expected = resnet_rendered(double, torch.from_numpy(prepared), n_blocks).numpy()
    logits = frame_answers(tmp_path / "bundle", prepared.astype(np.float32))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert "Whether this file is theirs was not compared" in (tmp_path / "bundle/CARD.md").read_text()


def test_categories_are_the_official_ones() -> None:
    assert len(CATEGORIES) == len(set(CATEGORIES)) == 365
    assert {0: "airfield", 2: "airport_terminal", 70: "bus_interior", 254: "park", 270: "plaza", 319: "street",
            320: "subway_station/platform", 336: "train_interior", 364: "zen_garden"}.items() <= dict(
        enumerate(CATEGORIES)
    ).items()  # fmt: skip


@pytest.mark.data
def test_categories_are_those_beside_the_arrays() -> None:
    listed = (data_folder() / ARRAYS).with_name("categories_places365.txt").read_text().split()
    assert [name.replace("-", "/") for name in listed] == list(CATEGORIES)


def test_every_scene_has_categories_that_exist_and_the_rest_is_none() -> None:
    assert tuple(SCENES) == TEN_SCENES
    for members in SCENES.values():
        assert set(members) <= set(CATEGORIES)
        assert len(set(members)) == len(members)
    shares = scene_shares(TEN_SCENES)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=0, atol=1e-12)
    row = dict(zip(TEN_SCENES, shares[CATEGORIES.index("train_interior")], strict=True))
    assert row == {label: 0.5 if label in ("metro", "tram") else 0.0 for label in TEN_SCENES}
    assert (shares[CATEGORIES.index("kitchen")] == 0.1).all()
    assert (shares[CATEGORIES.index("car_interior")] == 0.1).all()


def logits_of(**probabilities: float) -> Tensor:
    """365 logits whose softmax gives some categories these probabilities, the others hardly any."""
    logits = torch.full((365,), -40.0)
    for name, probability in probabilities.items():
        logits[CATEGORIES.index(name.replace("__", "/"))] = float(np.log(probability))
    return logits


def test_scores_are_sums_and_what_is_none_lowers_them_all() -> None:
    scene = PlacesScenes().eval()
    frames = torch.stack([
        logits_of(park=0.5, lawn=0.2, kitchen=0.3),
        logits_of(kitchen=1.0),
        logits_of(train_interior=0.8, bus_interior=0.2),
    ])  # fmt: skip
    scores = torch.softmax(scene(frames[:, None]), dim=1)
    by_label = [dict(zip(TEN_SCENES, row.tolist(), strict=True)) for row in scores]
    assert by_label[0]["park"] == pytest.approx(0.73)
    assert by_label[0]["airport"] == pytest.approx(0.03)
    assert list(by_label[1].values()) == pytest.approx([0.1] * 10)
    assert by_label[2]["metro"] == by_label[2]["tram"] == pytest.approx(0.4)
    assert by_label[2]["bus"] == pytest.approx(0.2)
    mixed = torch.softmax(scene(frames[None, :2]), dim=1)[0]
    assert mixed[TEN_SCENES.index("park")].item() == pytest.approx((0.73 + 0.1) / 2)
    certain = scene(torch.where(torch.arange(365) == 2, 0.0, -2000.0)[None, None])
    assert certain.isfinite().all()
