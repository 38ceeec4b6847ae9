"""Table of the published systems: their networks' inputs and sizes, and their authors' results and protocols.

Accuracies are the authors' own and their protocols differ: independent one-second segments, whole ten-second clips,
other corpora. Never compare two rows without reading `protocol`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from trainer.models.record import Protocol, Reference

_TEST_FOLD = "best epoch on the fold it is reported on"
_INNER_SPLIT = "lowest loss on a location-disjoint part of the training fold"
_TAU_AV = "TAU Urban Audio-Visual Scenes 2021, official fold"
_SECONDS = Protocol(_TAU_AV, "1-s segment", _TEST_FOLD)
_CLIPS = Protocol(_TAU_AV, "10-s clip", _TEST_FOLD)
_ONE_FRAME = Protocol(_TAU_AV, "10-s clip by its fifth frame", "none: one fit, its strength given")
_NO_FIT = Protocol(_TAU_AV, "10-s clip by its fifth frame", "none: nothing is fitted")
_BASELINE = Protocol(_TAU_AV, "1-s segment", _INNER_SPLIT)
_TUT_2018 = Protocol("TUT Urban Acoustic Scenes 2018, official fold", "10-s clip", "mean over runs of the best epoch")
_MOBILE = Protocol("TAU Urban Acoustic Scenes 2022 Mobile, official fold", "1-s segment", "not stated")

_SE_CRNN = "Naranjo-Alcazar et al., DCASE 2021 task 1B"
_SE_CRNN_CODE = "github.com/Machine-Listeners-Valencia/DCASE2021-Task1b"
_WAVE_SPEC = "wave-spec-fusion, denfed"
_WAVE_SPEC_CODE = "github.com/denfed/wave-spec-fusion"
_PADDLE = "PaddleAudio, example dcase2021_task1b"
_PADDLE_CODE = "github.com/PaddlePaddle/models (PaddleAudio/examples/dcase2021_task1b, commit ac6fb770f)"
_SUBSPECTRAL = "Phaye, Benetos and Wang, SubSpectralNet, ICASSP 2019"
_SUBSPECTRAL_CODE = "github.com/ssrp/SubSpectralNet"
_OPENL3 = "DCASE 2021 task 1B baseline, Wang et al."
_OPENL3_CODE = "github.com/shanwangshan/TAU-urban-audio-visual-scenes"

_Shapes = dict[str, tuple[int, ...]]
_GAMMATONE: _Shapes = {"features": (3, 64, 50)}
_FRAMES: _Shapes = {"frames": (5, 3, 224, 224)}
_WAVEFORM: _Shapes = {"waveform": (1, 48_000)}
_LOGMEL: _Shapes = {"features": (1, 128, 188)}
_LOGMEL_10_SECONDS: _Shapes = {"features": (1, 128, 501)}
_CLIP: _Shapes = {"frames": (1, 3, 224, 224)}
_SUBSPECTRAL_OPTIONS = {"n_mels": 40, "group": 20, "step": 10, "norm": "row"}

_ROWS = (
    Reference(
        name="se_audio",
        about="squeeze-excitation blocks on a gammatone spectrogram of left, right and their difference",
        modality="audio",
        inputs=_GAMMATONE,
        parameters=321_930,
        macs=300_800_256,
        published="323,274 with running statistics",
        accuracy=0.690,
        log_loss=None,
        protocol=_SECONDS,
        source=_SE_CRNN,
        repository=_SE_CRNN_CODE,
        factory="trainer.models.se_audio:se_audio",
    ),
    Reference(
        name="se_visual",
        about="VGG16 on five frames, a GRU over them",
        modality="video",
        inputs=_FRAMES,
        parameters=14_820_170,
        macs=76_733_678_720,
        published="14,820,170, of them 105,482 trained behind a frozen VGG16",
        accuracy=0.870,
        log_loss=None,
        protocol=_SECONDS,
        source=_SE_CRNN,
        repository=_SE_CRNN_CODE,
        factory="trainer.models.se_visual:SeVisual",
    ),
    Reference(
        name="se_crnn_early",
        about="se_audio and se_visual, their sequences joined through a GRU",
        modality="audio-visual",
        inputs=_GAMMATONE | _FRAMES,
        parameters=15_414_494,
        macs=77_035_831_936,
        published="none by itself",
        accuracy=0.892,
        log_loss=None,
        protocol=_SECONDS,
        source=_SE_CRNN,
        repository=_SE_CRNN_CODE,
        factory="trainer.models.se_crnn:SeCrnn",
        options={"fusion": "early"},
    ),
    Reference(
        name="se_crnn",
        about="se_crnn_early, and its answer joined with those of the two networks",
        modality="audio-visual",
        inputs=_GAMMATONE | _FRAMES,
        parameters=15_414_804,
        macs=77_035_832_236,
        published="15,416,148 with running statistics, of them 272,704 trained on top",
        accuracy=0.900,
        log_loss=None,
        protocol=_SECONDS,
        source=_SE_CRNN,
        repository=_SE_CRNN_CODE,
        factory="trainer.models.se_crnn:SeCrnn",
    ),
    Reference(
        name="wave",
        about="learned band-pass filters and convolutions on the raw waveform",
        modality="audio",
        inputs=_WAVEFORM,
        parameters=962_762,
        macs=536_549_888,
        published="1.0 M",
        accuracy=0.6479,
        log_loss=1.045,
        protocol=_SECONDS,
        source=_WAVE_SPEC,
        repository=_WAVE_SPEC_CODE,
        factory="trainer.models.wave:Wave",
    ),
    Reference(
        name="spectrogram",
        about="four convolutions on a log-mel spectrogram",
        modality="audio",
        inputs=_LOGMEL,
        parameters=1_049_034,
        macs=337_889_792,
        published="1.1 M",
        accuracy=0.6646,
        log_loss=1.072,
        protocol=_SECONDS,
        source=_WAVE_SPEC,
        repository=_WAVE_SPEC_CODE,
        factory="trainer.models.spectrogram:Spectrogram",
    ),
    Reference(
        name="wave_spec",
        about="wave and spectrogram, summed before one head",
        modality="audio",
        inputs=_WAVEFORM | _LOGMEL,
        parameters=1_351_562,
        macs=873_781_760,
        published="1.4 M",
        accuracy=0.7078,
        log_loss=0.915,
        protocol=_SECONDS,
        source=_WAVE_SPEC,
        repository=_WAVE_SPEC_CODE,
        factory="trainer.models.wave_spec:WaveSpec",
    ),
    Reference(
        name="resnet_audio",
        about="ResNet-50 on ten seconds of log-mel, first trained on AudioSet",
        modality="audio",
        inputs=_LOGMEL_10_SECONDS,
        parameters=27_718_858,
        macs=5_202_051_072,
        published="28,831,567 of the AudioSet network, with its 527 labels and running statistics",
        accuracy=0.771,
        log_loss=None,
        protocol=_CLIPS,
        source=_PADDLE,
        repository=_PADDLE_CODE,
        factory="trainer.models.resnet:ResnetAudio",
    ),
    Reference(
        name="resnet_clip",
        about="resnet_audio's embedding beside CLIP's of one frame, a linear layer",
        modality="audio-visual",
        inputs=_LOGMEL_10_SECONDS | _CLIP,
        parameters=115_573_194,
        macs=9_564_787_712,
        published="none; 27,723,978 here behind CLIP's visual tower",
        accuracy=0.925,
        log_loss=None,
        protocol=_CLIPS,
        source=_PADDLE,
        repository=_PADDLE_CODE,
        factory="trainer.models.clip:resnet_clip",
    ),
    Reference(
        name="clip_probe",
        about="logistic regression on CLIP's embedding of one frame",
        modality="video",
        inputs=_CLIP,
        parameters=87_854_346,
        macs=4_362_736_640,
        published="87,849,216 of CLIP's visual tower; 5,130 behind it",
        accuracy=0.893,
        log_loss=None,
        protocol=_ONE_FRAME,
        source=_PADDLE,
        repository=_PADDLE_CODE,
        factory="trainer.models.clip:clip_probe",
    ),
    Reference(
        name="clip_zero_shot",
        about="cosines of CLIP's embedding of one frame with those of a sentence a scene; their sentences are unknown",
        modality="video",
        inputs=_CLIP,
        parameters=87_849_217,
        macs=4_362_731_520,
        published="87,849,216 of CLIP's visual tower",
        accuracy=0.697,
        log_loss=None,
        protocol=_NO_FIT,
        source=_PADDLE,
        repository=_PADDLE_CODE,
        factory="trainer.models.clip:clip_zero_shot",
    ),
    Reference(
        name="subspectral",
        about="three overlapping groups of 40 mel bands, ten seconds, stereo",
        modality="audio",
        inputs={"features": (2, 40, 500)},
        parameters=331_164,
        macs=395_156_032,
        published="none",
        accuracy=0.7218,
        log_loss=None,
        protocol=_TUT_2018,
        source=_SUBSPECTRAL,
        repository=_SUBSPECTRAL_CODE,
        factory="trainer.models.subspectral:SubSpectral",
        options=_SUBSPECTRAL_OPTIONS,
    ),
    Reference(
        name="subspectral_1s",
        about="subspectral adapted to one second; the same weights, shorter pooling",
        modality="audio",
        inputs={"features": (2, 40, 50)},
        parameters=331_164,
        macs=39_533_632,
        published="none: the adaptation is not theirs",
        accuracy=None,
        log_loss=None,
        protocol=None,
        source=_SUBSPECTRAL,
        repository=_SUBSPECTRAL_CODE,
        factory="trainer.models.subspectral:SubSpectral",
        options=_SUBSPECTRAL_OPTIONS | {"n_hops": 50},
    ),
    Reference(
        name="baseline_1b_audio",
        about="linear layers on OpenL3's embedding of a sound",
        modality="audio",
        inputs={"embeddings": (512,)},
        parameters=338_634,
        macs=336_512,
        published="none",
        accuracy=0.651,
        log_loss=1.048,
        protocol=_BASELINE,
        source=_OPENL3,
        repository=_OPENL3_CODE,
        factory="trainer.models.baseline_1b:Baseline1b",
    ),
    Reference(
        name="baseline_1b_video",
        about="linear layers on OpenL3's embedding of a frame",
        modality="video",
        inputs={"embeddings": (512,)},
        parameters=338_634,
        macs=336_512,
        published="none",
        accuracy=0.649,
        log_loss=1.648,
        protocol=_BASELINE,
        source=_OPENL3,
        repository=_OPENL3_CODE,
        factory="trainer.models.baseline_1b:Baseline1b",
    ),
    Reference(
        name="baseline_1b_early",
        about="linear layers on both OpenL3 embeddings beside each other",
        modality="audio-visual",
        inputs={"embeddings": (1024,)},
        parameters=600_778,
        macs=598_656,
        published="none",
        accuracy=0.775,
        log_loss=0.963,
        protocol=_BASELINE,
        source=_OPENL3,
        repository=_OPENL3_CODE,
        factory="trainer.models.baseline_1b:baseline_1b_early",
    ),
    Reference(
        name="baseline_1b",
        about="the two trained networks joined by two linear layers",
        modality="audio-visual",
        inputs={"audio": (512,), "video": (512,)},
        parameters=692_874,
        macs=689_408,
        published="none",
        accuracy=0.770,
        log_loss=0.658,
        protocol=_BASELINE,
        source=_OPENL3,
        repository=_OPENL3_CODE,
        factory="trainer.models.baseline_1b:baseline_1b_fusion",
    ),
    Reference(
        name="cp_mobile",
        about="inverted residuals with response normalisation, the winner of DCASE 2023 task 1",
        modality="audio",
        inputs={"features": (1, 256, 65)},
        parameters=126_952,
        macs=31_680_000,
        published="126,858",
        accuracy=0.658,
        log_loss=None,
        protocol=_MOBILE,
        source="Schmid et al., CP-Mobile, DCASE 2023; accuracy of the distillation study arXiv:2503.11363",
        repository="github.com/fschmid56/cpjku_dcase23",
        factory="trainer.models.cp_mobile:CpMobile",
    ),
    Reference(
        name="cp_mobile_baseline",
        about="cp_mobile, narrower and plainer: the baseline of DCASE 2024 and 2025 task 1",
        modality="audio",
        inputs={"features": (1, 256, 65)},
        parameters=61_148,
        macs=29_416_448,
        published="61,148",
        accuracy=0.570,
        log_loss=None,
        protocol=_MOBILE,
        source="DCASE 2024 task 1 baseline, Schmid et al.",
        repository="github.com/CPJKU/dcase2024_task1_baseline",
        factory="trainer.models.cp_mobile:cp_mobile_baseline",
    ),
)

REFERENCES: Mapping[str, Reference] = MappingProxyType({row.name: row for row in _ROWS})
"""Records by name, in the order they are printed."""
