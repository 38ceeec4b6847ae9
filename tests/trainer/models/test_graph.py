"""Every network as an ONNX graph: any batch, the answers of PyTorch, operators that TensorRT knows."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from support.networks import settle
from support.trt_operators import operators, unknown_operators
from torch import nn

from trainer.models.clip import ClipProbe, ClipZeroShot
from trainer.models.cp_mobile import CpMobile, cp_mobile_baseline
from trainer.models.graph import OPSET, export_graph
from trainer.models.resnet import ResnetAudio, ResnetClip
from trainer.models.se_audio import POOLS_10_SECONDS, SeAudio
from trainer.models.se_crnn import SeCrnn, SeCrnnScene
from trainer.models.se_visual import SeVisual, VisualScene
from trainer.models.spectrogram import Spectrogram
from trainer.models.subspectral import SubSpectral
from trainer.models.vgg import VggEncoder
from trainer.models.wave import Wave
from trainer.models.wave_spec import WaveSpec

BATCHES = (1, 2, 5)
LOGITS, EMBEDDING, SE_CRNN = ("fused",), ("embedding",), ("fused", "audio", "video")


def gammatone(n):
    return 2 * torch.rand(n, 3, 64, 50) - 1


def frames(n):
    return torch.randint(0, 256, (n, 3, 224, 224)).float()


def small_frames(n):
    return torch.randint(0, 256, (n, 5, 3, 32, 32)).float()


def embeddings(n):
    return 10 * torch.rand(n, 5, 512)


def waveform(n):
    return 0.05 * torch.randn(n, 1, 48_000)


def standardised(*shape):
    return lambda n: torch.randn(n, *shape)


def decibels(n_hops):
    return lambda n: 15 * torch.randn(n, 1, 128, n_hops) - 70


def clip(n):
    return 0.5 * torch.randn(n, 512)


def subspectral(**options):
    return lambda: SubSpectral(**options)


def modest(network):
    """Logits near ten, as of a trained network; behind fifty random normalisations they are in the thousands."""
    with torch.no_grad():
        network.classify.weight.div_(200)
    return network


def zero_shot():
    return ClipZeroShot(torch.randn(10, 512))


slow = pytest.mark.slow
NETWORKS = [
    pytest.param(SeAudio, [gammatone], LOGITS, id="se_audio"),
    pytest.param(lambda: SeAudio(widths=(8, 16, 32)), [gammatone], LOGITS, id="se_audio 8-16-32"),
    pytest.param(
        lambda: SeAudio(pools=POOLS_10_SECONDS, dropout=0.3, normalised_logits=True),
        [standardised(3, 64, 500)],
        LOGITS,
        id="se_audio 10 s",
    ),
    pytest.param(VggEncoder, [frames], EMBEDDING, id="vgg", marks=slow),
    pytest.param(lambda: VggEncoder(pool="mean"), [standardised(3, 64, 64)], EMBEDDING, id="vgg mean, small frames"),
    pytest.param(VisualScene, [embeddings], LOGITS, id="se_visual behind its encoder"),
    pytest.param(lambda: SeCrnnScene(fusion="early"), [gammatone, embeddings], SE_CRNN, id="se_crnn early"),
    pytest.param(SeCrnnScene, [gammatone, embeddings], SE_CRNN, id="se_crnn late"),
    pytest.param(SeVisual, [small_frames], LOGITS, id="se_visual whole, small frames", marks=slow),
    pytest.param(
        lambda: SeCrnn(fusion="early"), [gammatone, small_frames], SE_CRNN, id="se_crnn whole, small frames", marks=slow
    ),
    pytest.param(Wave, [waveform], LOGITS, id="wave"),
    pytest.param(Spectrogram, [standardised(1, 128, 188)], LOGITS, id="spectrogram"),
    pytest.param(WaveSpec, [waveform, standardised(1, 128, 188)], LOGITS, id="wave_spec"),
    pytest.param(
        lambda: WaveSpec(join="concat"), [waveform, standardised(1, 128, 188)], LOGITS, id="wave_spec concatenated"
    ),
    pytest.param(lambda: modest(ResnetAudio()), [decibels(51)], LOGITS, id="resnet_audio 1 s", marks=slow),
    pytest.param(lambda: modest(ResnetAudio()), [decibels(501)], LOGITS, id="resnet_audio 10 s", marks=slow),
    pytest.param(lambda: ResnetAudio().trunk, [decibels(51)], EMBEDDING, id="resnet trunk", marks=slow),
    pytest.param(lambda: modest(ResnetClip()), [decibels(51), clip], LOGITS, id="resnet_clip", marks=slow),
    pytest.param(subspectral(), [standardised(2, 40, 500)], LOGITS, id="subspectral by channels"),
    pytest.param(subspectral(norm="row"), [standardised(2, 40, 500)], LOGITS, id="subspectral by rows"),
    pytest.param(subspectral(norm="row", n_hops=50), [standardised(2, 40, 50)], LOGITS, id="subspectral 1 s"),
    pytest.param(
        subspectral(n_mels=200, norm="row"), [standardised(2, 200, 500)], LOGITS, id="subspectral 200-20-10", marks=slow
    ),
    pytest.param(CpMobile, [standardised(1, 256, 65)], LOGITS, id="cp_mobile"),
    pytest.param(cp_mobile_baseline, [standardised(1, 256, 65)], LOGITS, id="cp_mobile baseline"),
    pytest.param(zero_shot, [clip], LOGITS, id="clip zero-shot"),
    pytest.param(ClipProbe, [clip], LOGITS, id="clip probe"),
]


def deploy(network):
    return network.deployed() if hasattr(network, "deployed") else network


def session(graph):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def check_answers(network, runner, feeds, outputs):
    """Answers of a graph are those of its network, as near as float32 allows."""
    with torch.no_grad():
        expected = network(*feeds.values())
    expected = (expected,) if isinstance(expected, torch.Tensor) else expected
    answers = runner.run(list(outputs), {name: feed.numpy() for name, feed in feeds.items()})
    for name, answer, wanted in zip(outputs, answers, expected, strict=True):
        wanted = wanted.numpy()
        assert answer.shape == wanted.shape
        difference, largest = np.abs(answer - wanted).max(), np.abs(wanted).max()
        assert difference <= 2e-6 * largest, f"{name}: {difference / largest:.1e} of the largest"
        if name != "embedding":
            assert np.abs(softmax(answer) - softmax(wanted)).max() <= 1e-5, name


@pytest.mark.slow
@pytest.mark.parametrize(("make", "inputs", "outputs"), NETWORKS)
def test_graph_answers_as_its_network_in_any_batch(make, inputs, outputs):
    torch.manual_seed(0)
    network = deploy(settle(make()))
    names = [f"input_{index}" for index in range(len(inputs))]
    graph = export_graph(network, {name: draw(2) for name, draw in zip(names, inputs, strict=True)}, outputs)
    assert unknown_operators(graph) == []
    runner = session(graph)
    for batch in BATCHES:
        feeds = {name: draw(batch) for name, draw in zip(names, inputs, strict=True)}
        check_answers(network, runner, feeds, outputs)


def test_graph_is_one_file_of_the_promised_opset_with_a_free_batch():
    graph = export_graph(settle(SeAudio()), {"features": gammatone(2)}, ["fused"])
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", OPSET)]
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
    [features], [fused] = model.graph.input, model.graph.output
    assert [(d.dim_param, d.dim_value) for d in features.type.tensor_type.shape.dim] == [
        ("batch", 0),
        ("", 3),
        ("", 64),
        ("", 50),
    ]
    assert (features.name, fused.name) == ("features", "fused")
    assert fused.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_normalisations_behind_convolutions_are_folded_away():
    se_audio = export_graph(settle(SeAudio()), {"features": gammatone(2)}, ["fused"])
    assert operators(se_audio)["BatchNormalization"] == 0
    wave = export_graph(settle(Wave()).deployed(), {"waveform": waveform(2)}, ["fused"])
    assert operators(wave)["Conv"] == 4  # the learned filters are one of them
    assert operators(wave)["BatchNormalization"] == 2  # behind the activations of the head
    assert operators(wave)["Sin"] == 0


def test_gru_is_one_operator():
    graph = export_graph(settle(VisualScene()), {"embeddings": embeddings(2)}, ["fused"])
    [gru] = [node for node in onnx.load_from_string(graph).graph.node if node.op_type == "GRU"]
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in gru.attribute}
    assert attributes["linear_before_reset"] == 1
    assert attributes["direction"] == b"bidirectional"


def test_an_unknown_operator_is_named():
    class Sine(nn.Module):
        def forward(self, x):
            return torch.sin(torch.round(x))

    graph = export_graph(Sine().eval(), {"x": torch.zeros(2, 3)}, ["y"])
    assert unknown_operators(graph) == ["Round", "Sin"]


def test_training_mode_is_refused():
    with pytest.raises(ValueError, match="expected a network in evaluation mode; call its eval"):
        export_graph(SeAudio(), {"features": gammatone(2)}, ["fused"])


def test_an_example_of_one_is_refused():
    with pytest.raises(ValueError, match="features: expected an example batch of at least 2, got 1"):
        export_graph(settle(SeAudio()), {"features": gammatone(1)}, ["fused"])
