"""Import PANNs (Cnn6, Cnn10, Cnn14, ResNet22, ResNet38, MobileNetV1) as bundles, with a fitted scene head.

The head sees the embedding. AudioSet's 527 tags come from a linear layer behind it, so a head on their logits could
learn nothing that a head on the embedding cannot. Sample rate, bands and filters are those stored in the file: they
must equal what the manifest's own feature computes, and only that feature runs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from ascstream.features.logmel import analysis_window, mel_filter_bank
from engines.manifest import AudioInput, LogMelFeature, WindowSpec
from trainer.data.labelled import OnClip, unwatched
from trainer.errors import DataError
from trainer.evaluate.metrics import Vector
from trainer.importers.files import SourceFile, read_file, tensors_of
from trainer.importers.imported import Imported, Origin
from trainer.importers.tagger import AUDIOSET, fit_scenes, imported_tagger
from trainer.models.counts import count_parameters
from trainer.models.naming import Weights
from trainer.models.panns import N_TAGS, Panns, PannsCnn, PannsMobile, PannsResnet
from trainer.models.pretrained import fit_weights

MAX_BYTES = 1 << 30
"""Cnn14's published checkpoint has 327 MB."""
WINDOW = WindowSpec(seconds=1.0, default_step_seconds=0.5)
"""The networks were trained on ten seconds, but take maximum and mean over any length."""
RATES = {1024: (32_000, 50.0, 14_000.0), 512: (16_000, 50.0, 8_000.0), 256: (8_000, 50.0, 4_000.0)}
"""FFT size to sample rate and lowest and highest frequency, as published; a hop is a hundredth of a second."""
_REAL, _IMAGINARY = (f"spectrogram_extractor.stft.conv_{part}.weight" for part in ("real", "imag"))
_MEL = "logmel_extractor.melW"
_TAGS = ("fc_audioset.weight", "fc_audioset.bias")
_CLOSE = 1e-6
"""Largest allowed difference between stored and computed mel filters, whose largest weight is about 0.03."""
_CLOSE_WAVE = 1e-5
"""The same for the transform's sines and cosines, which reach 1."""
_ORIGIN = Origin(
    network="PANNs (Kong et al., Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition, 2020).",
    authors="Qiuqiang Kong and others: zenodo.org/record/3987831, github.com/qiuqiangkong/audioset_tagging_cnn, if the "
    "file is theirs.",
    data=AUDIOSET,
    terms="The weights are published under CC BY 4.0 (name Kong et al.), the code under the MIT licence. Whether this "
    "file is theirs was not compared. The head is made of your clips, under their terms.",
)


def import_panns(path: Path, data: Path, on_clip: OnClip = unwatched) -> Imported:
    """Read a PANNs checkpoint, and fit a scene head behind it.

    Args:
        path: The .pth file, such as `Cnn14_mAP=0.431.pth`.
        data: Labelled recordings, as `trainer evaluate --data` reads them.
        on_clip: Called with the progress on them.

    Raises:
        DataError: The file is not such a checkpoint, belongs to another network, or no head can be fitted on the clips.
        ExportError: The graph does not give the same answers as the network.
    """
    source = read_file(path, MAX_BYTES)
    name, network, audio = read_panns(source)
    return imported_tagger(
        f"panns-{name.lower()}",
        f"PANNs' {name}",
        network,
        fit_scenes(network, audio, WINDOW, data, on_clip),
        audio=audio,
        window=WINDOW,
        source=source,
        origin=_ORIGIN,
        features=_describe(audio, network),
        n_parameters=count_parameters(network).parameters,
        limits=(
            "It was trained on windows of ten seconds; here it hears one at a time, and the head is fitted on these.",
            "A network that was trained to tag every moment apart (DecisionLevelMax) has the same names and sizes: it "
            "is taken for one that tags the whole.",
        ),
    )


def read_panns(source: SourceFile) -> tuple[str, Panns, AudioInput]:
    """Return a checkpoint's name, network and audio input.

    Raises:
        DataError: The file is not such a checkpoint, or belongs to another network.
    """
    path = source.path
    weights = {name.removeprefix("module."): tensor for name, tensor in tensors_of(source).items()}
    audio = _take_audio(path, weights)
    _take_tags(path, weights)
    name, network = _network(weights, _n_mels(audio))
    fit_weights(network, weights, str(path))
    network.eval()
    return name, network, audio


def _take_audio(path: Path, weights: Weights) -> AudioInput:
    """Derive the audio input from the filters stored in a checkpoint, and remove these from its weights.

    Raises:
        DataError: There are none, or they are not those of a published network.
    """
    stored = [weights.pop(name, None) for name in (_MEL, _REAL, _IMAGINARY)]
    mel, real, imaginary = stored
    if mel is None or real is None or imaginary is None:
        names = zip((_MEL, _REAL, _IMAGINARY), stored, strict=True)
        missing = ", ".join(name for name, tensor in names if tensor is None)
        raise DataError(
            f"{path}: expected a checkpoint of PANNs with the filters of its features, got none at {missing}; is this "
            "a network of theirs that hears log-mel bands?"
        )
    n_fft = real.shape[2] if real.ndim == 3 else 0
    n_bins = n_fft // 2 + 1
    if n_fft not in RATES or mel.ndim != 2 or mel.shape[0] != n_bins or not 0 < mel.shape[1] <= n_bins:
        known = ", ".join(map(str, RATES))
        raise DataError(
            f"{path}: expected filters of a transform of {known} samples and bands over its bins, got "
            f"{list(real.shape)} and {list(mel.shape)}; is this a network of theirs?"
        )
    audio = _audio(n_fft, mel.shape[1])
    _check_filters(path, audio, mel, real, imaginary)
    return audio


def _audio(n_fft: int, n_mels: int) -> AudioInput:
    """The audio input of the published networks: torchlibrosa's log-mel, which is librosa's without top_db."""
    sample_rate, f_min, f_max = RATES[n_fft]
    feature = LogMelFeature(
        "logmel",
        n_fft=n_fft,
        window_length=n_fft,
        hop_length=sample_rate // 100,
        n_mels=n_mels,
        f_min=f_min,
        f_max=f_max,
        center=True,
        mel_scale="slaney",
        mel_norm="slaney",
        log="db",
        log_floor=1e-10,
        layout="time_mel",
    )
    return AudioInput(sample_rate=sample_rate, channels="mono", feature=feature)


def _check_filters(path: Path, audio: AudioInput, mel: Tensor, real: Tensor, imaginary: Tensor) -> None:
    """Refuse filters that differ from what the manifest's feature computes."""
    feature = audio.feature
    assert isinstance(feature, LogMelFeature)  # noqa: S101  `_audio` makes it one
    times = np.arange(feature.n_fft)
    phase = 2 * np.pi / feature.n_fft * (np.outer(times[: feature.n_fft // 2 + 1], times) % feature.n_fft)
    window = analysis_window(feature.window, feature.n_fft, periodic=feature.periodic)
    wanted: list[tuple[str, Tensor, Vector, float]] = [
        (_MEL, mel, mel_filter_bank(feature, audio.sample_rate).T, _CLOSE),
        (_REAL, real, (np.cos(phase) * window)[:, None], _CLOSE_WAVE),
        (_IMAGINARY, imaginary, (-np.sin(phase) * window)[:, None], _CLOSE_WAVE),
    ]
    for name, stored, ours, close in wanted:
        found = stored.double().numpy()
        distance = float(np.abs(found - ours).max()) if found.shape == ours.shape else np.inf
        if not distance <= close:
            raise DataError(
                f"{path}: expected at {name} the filters of {feature.n_mels} bands of {feature.f_min:g} to "
                f"{feature.f_max:g} Hz at {audio.sample_rate} Hz, to {close:g}, got a difference of {distance:.3g}; "
                "a network with other features cannot be imported"
            )


def _take_tags(path: Path, weights: Weights) -> None:
    """Remove the tag layer from a checkpoint's weights: a scene head replaces it.

    Raises:
        DataError: It is missing, or its size is not the number of AudioSet's tags.
    """
    found = [weights.pop(name, None) for name in _TAGS]
    if any(tensor is None or tensor.ndim < 1 or tensor.shape[0] != N_TAGS for tensor in found):
        got = ", ".join("nothing" if tensor is None else str(list(tensor.shape)) for tensor in found)
        raise DataError(
            f"{path}: expected a layer of AudioSet's {N_TAGS} tags at {' and '.join(_TAGS)}, got {got}; is this a "
            "checkpoint as PANNs' authors publish it?"
        )


def _network(weights: Weights, n_mels: int) -> tuple[str, Panns]:
    """Name and network, with fresh weights, that the tensor names indicate; Cnn14 if they indicate none."""
    last = weights.get("fc1.weight")
    n_features = last.shape[0] if last is not None and last.ndim == 2 and 0 < last.shape[0] <= last.shape[1] else None
    if "resnet.layer1.0.conv1.weight" in weights:
        small = "resnet.layer1.2.conv1.weight" not in weights
        name, n_blocks = ("ResNet22", (2, 2, 2, 2)) if small else ("ResNet38", (3, 4, 6, 3))
        return name, PannsResnet(n_blocks, n_mels=n_mels, n_features=n_features)
    if "features.0.0.weight" in weights:
        return "MobileNetV1", PannsMobile(n_mels=n_mels, n_features=n_features)
    if "conv_block5.conv1.weight" not in weights and "conv_block4.conv1.weight" in weights:
        wide = "conv_block4.conv2.weight" not in weights
        return "Cnn6" if wide else "Cnn10", PannsCnn(4, wide=wide, n_mels=n_mels, n_features=n_features)
    return "Cnn14", PannsCnn(6, wide=False, n_mels=n_mels, n_features=n_features)


def _n_mels(audio: AudioInput) -> int:
    """Number of mel bands."""
    assert isinstance(audio.feature, LogMelFeature)  # noqa: S101  `_audio` makes it one
    return audio.feature.n_mels


def _describe(audio: AudioInput, network: Panns) -> str:
    """Describe the features, and what the head sees, for the card."""
    feature = audio.feature
    assert isinstance(feature, LogMelFeature)  # noqa: S101  `_audio` makes it one
    return (
        f"Features are its authors' own: a power spectrum of {feature.n_fft:,} samples (Hann), centred, reflected at "
        f"both ends, every {feature.hop_length}; {feature.n_mels} bands of Slaney's filters from {feature.f_min:g} to "
        f"{feature.f_max:,.0f} Hz; 10·log10 of at least 1e-10. The head sees the embedding, {network.fc1.out_features} "
        f"numbers; the layer behind it, which names AudioSet's {N_TAGS} tags, is left out: it is linear, and says "
        "nothing that the embedding does not."
    )
