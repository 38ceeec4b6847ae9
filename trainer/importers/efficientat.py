"""Import EfficientAT's AudioSet networks as bundles: MobileNetV3 of any width, with a scene head fitted behind it.

The head sees the mean of the last feature maps, 960 numbers at width 1, which the authors return as features along with
the tags. The layer between these and the tags would add two fifths more weights and a third more numbers for the head
to weigh with the same few clips, and it is trained towards tags that are not scenes.
"""

from __future__ import annotations

import re
from pathlib import Path

from engines.manifest import AudioInput, LogMelFeature, Normalisation, WindowSpec
from trainer.data.labelled import OnClip, unwatched
from trainer.errors import DataError
from trainer.importers.files import read_file, tensors_of
from trainer.importers.imported import Imported, Origin
from trainer.importers.tagger import AUDIOSET, fit_scenes, imported_tagger
from trainer.models.counts import count_parameters
from trainer.models.efficientat import HEAD, WIDEST, EfficientAt
from trainer.models.naming import Weights
from trainer.models.pretrained import fit_weights

MAX_BYTES = 512 << 20
"""The widest published checkpoint has 274 MB."""
WINDOW = WindowSpec(seconds=1.0, default_step_seconds=0.5)
"""The networks were trained on ten seconds, but average their maps over any length."""
AUDIO = AudioInput(
    sample_rate=32_000,
    channels="mono",
    feature=LogMelFeature(
        "logmel",
        n_fft=1024,
        window_length=800,
        hop_length=320,
        n_mels=128,
        f_min=0.0,
        f_max=15_000.0,
        periodic=False,
        center=True,
        mel_scale="kaldi",
        preemphasis=0.97,
        preemphasis_start="drop",
        log_floor=1e-5,
        log_floor_mode="add",
    ),
    normalisation=Normalisation("affine", mean=(-4.5,), std=(5.0,)),
)
"""As models/preprocess.py of their repository in evaluation mode; there, f_max defaults to 16,000 − 2,000 / 2."""
_LAST = "features.16.0.weight"
_OTHER_RESOLUTION = re.compile(r"_(hop|mels)_\d+")
_OF_PICTURES = re.compile(r"mn\d+_im(_pytorch)?(\.|$)")
_DYNAMIC = "layers.0.depth_conv."
_ORIGIN = Origin(
    network="EfficientAT (Schmid, Koutini and Widmer, 2023): MobileNetV3, taught AudioSet's tags by transformers.",
    authors="CPJKU, Johannes Kepler University Linz: github.com/fschmid56/EfficientAT, release v0.0.1, if the file is "
    "theirs.",
    data=f"{AUDIOSET} Most networks saw ImageNet before: research and education only.",
    terms="The repository that publishes the weights is under the MIT licence: keep its notice, Copyright (c) 2022 "
    "Florian Schmid. Whether this file is theirs was not compared. The head is made of your clips, under their terms.",
)


def import_efficientat(path: Path, data: Path, on_clip: OnClip = unwatched) -> Imported:
    """Read a checkpoint of the mn family, and fit a scene head behind it.

    Args:
        path: The .pt file, such as `mn10_as_mAP_471.pt`.
        data: Labelled recordings, as `trainer evaluate --data` reads them.
        on_clip: Called with the progress on them.

    Raises:
        DataError: The file is not such a checkpoint, belongs to another network, or no head can be fitted on the clips.
        ExportError: The graph does not give the same answers as the network.
    """
    source = read_file(path, MAX_BYTES)
    _check_name(path)
    weights = tensors_of(source)
    network = EfficientAt(_width(path, weights))
    fit_weights(network, weights, str(path))
    network.eval()
    return imported_tagger(
        "efficientat",
        f"EfficientAT's MobileNetV3 of width {network.embedding_size / HEAD:g}",
        network,
        fit_scenes(network, AUDIO, WINDOW, data, on_clip),
        audio=AUDIO,
        window=WINDOW,
        source=source,
        origin=_ORIGIN,
        features="Features are its authors' own: pre-emphasis 0.97, which uses up the first sample; a power spectrum "
        "of 800 samples (symmetric Hann) in 1,024, centred, every 320; 128 bands of Kaldi's filters from 0 to 15,000 "
        "Hz; ln(x + 1e-5); (x + 4.5) / 5. Of the network the head sees the mean of the last maps, "
        f"{network.embedding_size} numbers; the two layers behind them, which name AudioSet's 527 tags, are left out.",
        n_parameters=count_parameters(network.features).parameters,
        limits=(
            "It was trained on windows of ten seconds; here it hears one at a time, and the head is fitted on these.",
        ),
    )


def _check_name(path: Path) -> None:
    """Refuse networks with other hops or bands, or trained on pictures only; nothing but the file name shows it."""
    if _OF_PICTURES.match(path.name):
        raise DataError(
            f"{path}: expected a network trained on AudioSet, got one trained on ImageNet alone by its name; take "
            "mn04_as, mn10_as or another of the same release"
        )
    other = _OTHER_RESOLUTION.search(path.name)
    if other is not None:
        raise DataError(
            f"{path}: expected a network of 128 bands every 10 ms, got one of another resolution by its name "
            f"({other[0][1:]}); nothing in such a file says which: take mn04_as, mn10_as or another without"
        )


def _width(path: Path, weights: Weights) -> float:
    """Width of a checkpoint's network, by the channels of its last convolution.

    If that is missing or out of range, the width is 1, and loading the weights then reports what does not fit.

    Raises:
        DataError: The network is a dynamic one.
    """
    if any(_DYNAMIC in name for name in weights):
        raise DataError(
            f"{path}: expected a network of the mn family, got a dynamic one (dymn), whose kernels change with every "
            "window: take mn04_as, mn10_as or another of the same release"
        )
    last = weights.get(_LAST)
    width = last.shape[0] / HEAD if last is not None and last.ndim else 1.0
    return width if 0 < width <= WIDEST else 1.0
