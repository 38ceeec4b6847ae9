"""Import CPJKU's CP-Mobile of DCASE 2023 task 1 as a bundle: ten scenes by ear, one second at a time.

The manifest's own settings reproduce its features value for value: tests/trainer/importers/test_cp_mobile.py compares
them with its authors' arithmetic, recomputed in torch and torchaudio.
"""

from __future__ import annotations

from pathlib import Path

from engines.manifest import AudioInput, LogMelFeature, Normalisation, WindowSpec, seconds_to_samples
from trainer.export.graphs import trace_network
from trainer.importers.files import read_file, tensors_of
from trainer.importers.imported import TEN_GROUPS, TEN_SCENES, Imported, Origin
from trainer.importers.material import sound_cases
from trainer.inputs import FEATURES, Inputs
from trainer.models.counts import count_parameters
from trainer.models.cp_mobile import CpMobile
from trainer.models.pretrained import fit_weights
from trainer.models.systems import System

MAX_BYTES = 64 << 20
"""The published checkpoint has 1.6 MB, optimiser state included."""
_SYSTEM = System("cp_mobile", (FEATURES,), ("fused",), encodes_frames=False)
_WINDOW = WindowSpec(seconds=1.0, default_step_seconds=0.5)
_AUDIO = AudioInput(
    sample_rate=32_000,
    channels="mono",
    feature=LogMelFeature(
        "logmel",
        n_fft=4096,
        window_length=3072,
        hop_length=500,
        n_mels=256,
        f_min=0.0,
        f_max=15_500.0,
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
"""As models/mel.py of their repository: a convolution with [−.97, 1] leaves 31,999 samples; finally (x + 4.5) / 5."""
_N_FLOAT32 = 19
"""Leading layers, of 21, kept in float32: with 17, rounding changes more than one label in a thousand, with 18 more of
the labels that are printed."""
_ORIGIN = Origin(
    network="CP-Mobile (Schmid et al., 2023): inverted residuals with global response normalisation; the student of "
    "six teachers that won DCASE 2023 task 1.",
    authors="CPJKU, Johannes Kepler University Linz: github.com/fschmid56/cpjku_dcase23, "
    "DCASE23_Task1/…/epoch=149-step=81900.ckpt.",
    data="TAU Urban Acoustic Scenes 2022 Mobile, development dataset (Tampere University, twelve European cities, "
    "recorded on telephones and a binaural recorder): experimental and non-commercial use only, with attribution.",
    terms="No licence is stated for the code or the weights. Ask their authors before you pass this bundle on.",
    known_files={
        "41a1ff72cadb90f6ce0345ed961822f7d0a77ab92b5fcafe9e07d00d891ce118": "CPJKU's epoch=149-step=81900.ckpt"
    },
)


def import_cp_mobile(path: Path) -> Imported:
    """Read a CP-Mobile checkpoint, as saved by PyTorch Lightning or with the tensors alone.

    Args:
        path: The .ckpt file.

    Raises:
        DataError: The file is not such a checkpoint, or belongs to another network.
        ExportError: The graph does not give the same answers as the network.
    """
    source = read_file(path, MAX_BYTES)
    network = CpMobile(len(TEN_SCENES))
    fit_weights(network, tensors_of(source), str(path))
    n_samples = seconds_to_samples(_WINDOW.seconds, _AUDIO.sample_rate)
    cases = {FEATURES: sound_cases(_AUDIO, n_samples)}
    graphs = trace_network(_SYSTEM, network.eval(), Inputs(audio=_AUDIO), cases)
    return Imported(
        name="cp-mobile",
        description="Ten scenes by ear, a second at a time: CP-Mobile of DCASE 2023, imported.",
        labels=TEN_SCENES,
        groups=TEN_GROUPS,
        window=_WINDOW,
        graphs=graphs,
        n_parameters=count_parameters(network).parameters,
        sources=(source,),
        origin=_ORIGIN,
        answers="One logit a scene, in alphabetical order, as its authors have them; the softmax of them is the score. "
        "Features are its authors' own: pre-emphasis 0.97, which uses up the first sample; a power spectrum of 3,072 "
        "samples (symmetric Hann) in 4,096, centred, every 500; 256 bands of Kaldi's filters from 0 to 15,500 Hz; "
        "ln(x + 1e-5); (x + 4.5) / 5. A window of 1 s gives 64 hops.",
        checked="The golden answers are PyTorch's, on eight computed sounds. The project's tests render the authors' "
        "arithmetic anew in torch and torchaudio and compare features and logits on real recordings.",
        n_float32=_N_FLOAT32,
        limits=(
            "It knows ten scenes of European cities; whatever else it hears it calls one of them.",
            "Its bands reach 15.5 kHz: recordings through a codec that cuts lower are new to it.",
        ),
    )
