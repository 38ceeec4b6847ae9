"""Import networks trained on Places365 as bundles: ten scenes by eye, derived from 365 categories of places.

SqueezeNet comes from its author's arrays (.npz), ResNet-18 and ResNet-50 from CSAIL's checkpoints. All these bundles
have the same two graphs: `frame` computes 365 logits for a picture, `scene` turns them into scenes with the table in
`places365_scenes`. The logits serve as the embedding because the scenes cannot be derived from less (SqueezeNet's own
last layer is not linear), and a probe on them sees everything the network has learnt to distinguish.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from engines.manifest import VideoInput, WindowSpec
from trainer.export.graphs import trace_network
from trainer.importers.files import SourceFile, arrays_of, read_file, tensors_of
from trainer.importers.imported import TEN_GROUPS, TEN_SCENES, Imported, Origin
from trainer.importers.material import picture_cases
from trainer.importers.places365_scenes import CATEGORIES, scene_shares
from trainer.importers.squeezenet_arrays import squeezenet_weights
from trainer.inputs import FRAMES, Inputs
from trainer.models.counts import count_parameters
from trainer.models.foreign import is_npz
from trainer.models.pretrained import EXPECTED, fit_weights
from trainer.models.resnet_image import ResnetImage
from trainer.models.squeezenet import SqueezeNet
from trainer.models.systems import System

MAX_BYTES = 512 << 20
"""ResNet-50's published checkpoint has 97 MB."""
_MAX_ARRAYS = 16 << 20
"""SqueezeNet's arrays have 3.7 MB."""
_EXPECTED = f"SqueezeNet's arrays (.npz), or CSAIL's ResNet: {EXPECTED}"
_SYSTEM = System("places365", (FRAMES,), ("fused",), encodes_frames=True)
_WINDOW = WindowSpec(seconds=1.0, default_step_seconds=0.5)
_FRAME_TIMES, _MAX_AGE = (0.9,), 1.0
"""One frame per window, at 0.9 s: a live camera's frame of that time has arrived when the window ends."""
_SQUEEZENET_VIDEO = VideoInput(
    width=224,
    height=224,
    fit="crop",
    short_side=256,
    frame_times_seconds=_FRAME_TIMES,
    max_age_seconds=_MAX_AGE,
    channel_order="bgr",
    mean=(104.05 / 255, 112.51 / 255, 116.67 / 255),
)
"""(pixel − mean) / 255; the author subtracts a mean picture, and these are about the means of its colour planes."""
_RESNET_VIDEO = VideoInput(
    width=224,
    height=224,
    fit="crop",
    short_side=256,
    frame_times_seconds=_FRAME_TIMES,
    max_age_seconds=_MAX_AGE,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
"""As in CSAIL's validation: ImageNet's statistics."""
_N_FLOAT32 = 20
"""SqueezeNet's leading layers, of 26, kept in float32: in float16 they change more than one category in a thousand."""
_DATA = (
    "Places365-Standard (Zhou et al., 2017), 1.8 million pictures gathered by web search: research and education only; "
    "the copyright belongs to the owners of the pictures."
)
_SQUEEZENET_ORIGIN = Origin(
    network="SqueezeNet 1.1 (Iandola et al., 2016) with batch normalisation and leaky rectifiers, on 365 kinds of "
    "places.",
    authors="Steffen Urban: github.com/urbste/squeezenet_places365.",
    data=_DATA,
    terms="No licence is stated for the weights. Ask their author before you pass this bundle on.",
    known_files={
        "6adf237f625a6eb647b360ee6bb5f42af3171d21e81729281f3554e92e83f3b6": "the published list of arrays, as .npz"
    },
)
_RESNET_ORIGIN = Origin(
    network="ResNet (He et al., 2015) on 365 kinds of places.",
    authors="CSAIL, Massachusetts Institute of Technology: github.com/CSAILVision/places365, if the file is theirs.",
    data=_DATA,
    terms="CSAIL publishes its weights under CC BY: name Zhou et al., Places: A 10 Million Image Database for Scene "
    "Recognition (2017). Whether this file is theirs was not compared.",
)
_ANSWERS = (
    "A frame's 365 logits become probabilities; those of a window's frames are averaged. A scene's score is the sum "
    "over its categories, by the table in trainer/importers/places365_scenes.py (a category that two scenes share "
    "counts half for each), plus a tenth of all that is none of the ten: score = Σ p + p_none / 10, and the logits are "
    "its logarithm. So the scores sum to 1, and where the picture is of none of the ten they are all near 0.1: "
    "`unknown`, rather than the best of ten bad guesses."
)


class PlacesScenes(nn.Module):
    """Maps 365 logits per frame to scene scores per window."""

    shares: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shares", torch.from_numpy(scene_shares(TEN_SCENES)).float())

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map [n, n_frames, 365] logits to [n, 10] logarithms of scores that sum to 1."""
        places = torch.softmax(embeddings, dim=2).mean(dim=1)
        return torch.log(torch.clamp(places @ self.shares, min=1e-30))


class PlacesNetwork(nn.Module):
    """A frame encoder and the scene module behind it, as they are exported."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.scene = PlacesScenes()


def import_places365(path: Path) -> Imported:
    """Read SqueezeNet's arrays or CSAIL's ResNet-18 or ResNet-50.

    Args:
        path: An .npz file of 152 arrays, or a checkpoint with a `state_dict`.

    Raises:
        DataError: The file is of another kind, or belongs to another network.
        ExportError: A graph does not give the same answers as the network.
    """
    source = read_file(path, MAX_BYTES)
    if path.suffix.lower() == ".npz" or is_npz(io.BytesIO(source.data)):
        squeezenet = SqueezeNet(len(CATEGORIES))
        fit_weights(squeezenet, squeezenet_weights(arrays_of(source, _MAX_ARRAYS), str(path)), str(path))
        imported = _imported("squeezenet", squeezenet, _SQUEEZENET_VIDEO, source, _SQUEEZENET_ORIGIN)
        return replace(imported, n_float32=_N_FLOAT32)
    weights = tensors_of(source, _EXPECTED)
    n_layers = 50 if any(name.endswith("layer1.0.conv3.weight") for name in weights) else 18
    resnet = ResnetImage(n_layers, len(CATEGORIES))
    fit_weights(resnet, weights, str(path))
    return _imported(f"resnet{n_layers}", resnet, _RESNET_VIDEO, source, _RESNET_ORIGIN)


def _imported(name: str, encoder: nn.Module, video: VideoInput, source: SourceFile, origin: Origin) -> Imported:
    """Trace a network trained on Places365."""
    network = PlacesNetwork(encoder).eval()
    graphs = trace_network(_SYSTEM, network, Inputs(video=video), {FRAMES: picture_cases(video)})
    return Imported(
        name=f"places365-{name}",
        description=f"Ten scenes by eye, by way of 365 kinds of places: {name} on Places365, imported.",
        labels=TEN_SCENES,
        groups=TEN_GROUPS,
        window=_WINDOW,
        graphs=graphs,
        n_parameters=count_parameters(encoder).parameters,
        sources=(source,),
        origin=origin,
        answers=_ANSWERS,
        checked="The golden answers are PyTorch's, on eight computed pictures. The project's tests render the "
        "network's arithmetic anew and compare it on prepared pictures.",
        limits=(
            "Its categories are not the scenes: metro and tram share one category and cannot be told apart.",
            "Parity is that of the prepared picture. FFmpeg scales pictures here, other libraries did in training: "
            "their pixels differ, and with them the logits, a little (docs/importing.md).",
        ),
    )
