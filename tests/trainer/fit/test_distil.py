"""A teacher's answers: the same batch, its own normalisation, only where it heard and saw; a student that follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import bundles
from support.bundles import LABELS, expected_logits
from support.training import N_BANDS, TinyData, tiny_config

from engines.inputs import InputSpec, Normalisation, VideoInput
from engines.manifest import WindowSpec
from trainer.config import Config
from trainer.errors import ConfigError, RunError
from trainer.fit.distil import Lesson, distillation, open_teacher
from trainer.fit.loop import fit_network
from trainer.inputs import Inputs

WINDOW = WindowSpec(0.256, 0.256)
DISTIL = ('train.distil.teacher="teacher"', "train.distil.weight=0.9", "train.distil.temperature=1")
CPU = torch.device("cpu")


def student(folder: Path, *settings: str) -> Config:
    return tiny_config(folder, *DISTIL, *settings)


def write_teacher(folder: Path, config: Config, **changes) -> tuple[InputSpec, ...]:
    """A known-answer bundle for the student's window; gives its inputs."""
    inputs = changes.pop("inputs", (InputSpec("logmel", audio=config.audio),))
    bundles.mono_logmel(folder, inputs=inputs, window=changes.pop("window", WINDOW), **changes).rename(
        folder / "teacher"
    )
    return inputs


def test_a_bundle_answers_the_students_batch_in_its_own_normalisation(tmp_path: Path) -> None:
    config = student(tmp_path)
    theirs = replace(config.audio, normalisation=Normalisation("affine", mean=(0.5,), std=(4.0,)))
    inputs = write_teacher(tmp_path, config, inputs=(InputSpec("logmel", audio=theirs),))
    rng = np.random.default_rng(1)
    decibels = rng.standard_normal((5, 1, N_BANDS, 15)).astype(np.float32)
    mean, std = rng.standard_normal(N_BANDS), rng.uniform(1, 3, N_BANDS)
    ours = replace(config.audio, normalisation=Normalisation("per_bin", mean=tuple(mean), std=tuple(std)))
    features = ((decibels - mean[:, None]) / std[:, None]).astype(np.float32)
    with open_teacher(config, Inputs(audio=ours), len(LABELS), LABELS, tmp_path, CPU) as teacher:
        lesson = teacher({"features": torch.from_numpy(features)})
    expected = expected_logits({"logmel": (decibels - 0.5) / 4.0}, inputs)["fused"]
    np.testing.assert_allclose(lesson.logits.numpy(), expected, atol=1e-5)
    assert lesson.weights.tolist() == [1.0] * 5


def test_bands_are_found_whichever_way_the_feature_lies(tmp_path: Path) -> None:
    config = student(tmp_path, 'audio.feature.layout="time_mel"')
    inputs = write_teacher(tmp_path, config)
    decibels = np.random.default_rng(1).standard_normal((4, 1, 15, N_BANDS)).astype(np.float32)
    mean, std = np.arange(N_BANDS), np.arange(1, N_BANDS + 1)
    ours = replace(
        config.audio,
        normalisation=Normalisation("per_bin", mean=tuple(map(float, mean)), std=tuple(map(float, std))),
    )
    with open_teacher(config, Inputs(audio=ours), len(LABELS), LABELS, tmp_path, CPU) as teacher:
        lesson = teacher({"features": torch.from_numpy(((decibels - mean) / std).astype(np.float32))})
    np.testing.assert_allclose(lesson.logits.numpy(), expected_logits({"logmel": decibels}, inputs)["fused"], atol=1e-5)


VIDEO = VideoInput(48, 32, "squash", bundles.FRAME_TIMES, 0.4)


@pytest.mark.parametrize("flags", [False, True])
def test_a_teacher_of_sound_and_picture_is_heard_where_it_had_both_or_knows_better(tmp_path: Path, flags: bool) -> None:
    config = replace(student(tmp_path), video=replace(VIDEO, frame_times_seconds=(0.1, 0.2)))
    inputs = (
        InputSpec("logmel", audio=config.audio),
        InputSpec("frames", video=replace(config.video, embedding_size=bundles.EMBEDDING_SIZE)),
        *((InputSpec("presence", presence=("video", "audio")),) if flags else ()),
    )
    bundles.audio_visual(tmp_path, inputs=inputs, window=WINDOW).rename(tmp_path / "teacher")
    rng = np.random.default_rng(2)
    features = rng.standard_normal((4, 1, N_BANDS, 15)).astype(np.float32)
    frames = rng.random((4, 2, 3, 32, 48)).astype(np.float32)
    presence = np.array([[1, 1], [1, 0], [0, 1], [1, 1]], np.float32)
    batch = {"features": features, "frames": frames, "presence": presence}
    with open_teacher(config, config.inputs, len(LABELS), LABELS, tmp_path, CPU) as teacher:
        lesson = teacher({name: torch.from_numpy(values) for name, values in batch.items()})
        no_flags = teacher({name: torch.from_numpy(batch[name]) for name in ("features", "frames")})
        with pytest.raises(ConfigError, match="expected frames in every batch, which it takes, got features"):
            teacher({"features": torch.from_numpy(features)})
    embeddings = np.zeros((4, 2, bundles.EMBEDDING_SIZE))
    embeddings[..., :3] = frames.mean(axis=(3, 4))
    heads = expected_logits({"logmel": features, "frames": embeddings}, inputs[:2])
    seen = presence if flags else np.ones_like(presence)
    expected = seen[:, :1] * heads["audio"] + seen[:, 1:] * heads["video"]
    np.testing.assert_allclose(lesson.logits.numpy(), expected, atol=1e-5)
    assert lesson.weights.tolist() == ([1, 1, 1, 1] if flags else [1, 0, 0, 1])
    np.testing.assert_allclose(no_flags.logits.numpy(), heads["audio"] + heads["video"], atol=1e-5)
    assert no_flags.weights.tolist() == [1, 1, 1, 1]


def test_what_is_absent_is_zeros_to_a_teacher_as_in_the_runtime(tmp_path: Path) -> None:
    config = replace(student(tmp_path), video=replace(VIDEO, frame_times_seconds=(0.1, 0.2)))
    theirs = replace(config.audio, normalisation=Normalisation("affine", mean=(0.5,), std=(4.0,)))
    inputs = (
        InputSpec("logmel", audio=theirs),
        InputSpec("frames", video=replace(config.video, embedding_size=bundles.EMBEDDING_SIZE)),
        InputSpec("presence", presence=("audio", "video")),
    )
    bundles.audio_visual(tmp_path, inputs=inputs, window=WINDOW).rename(tmp_path / "teacher")
    features = torch.randn(3, 1, N_BANDS, 15, generator=torch.Generator().manual_seed(1))
    frames = torch.rand(3, 2, 3, 32, 48, generator=torch.Generator().manual_seed(2))
    batch = {"features": features, "frames": frames, "presence": torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])}
    with open_teacher(config, config.inputs, len(LABELS), LABELS, tmp_path, CPU) as teacher:
        expected = teacher(batch).logits
        features[1] = frames[2] = torch.inf  # anything: a teacher that looked there would answer NaN
        assert torch.equal(teacher(batch).logits, expected)
    assert batch["features"][1].isinf().all()  # the student's batch is as it was
    assert batch["frames"][2].isinf().all()


def test_the_loss_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(3)
    teacher, logits = (torch.from_numpy(rng.standard_normal((6, 4))) for _ in range(2))
    targets = torch.from_numpy(rng.dirichlet(np.ones(4), 6))
    weights = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    found = distillation(Lesson(teacher, weights), logits, targets, 3.0, 0.1)
    p, q = (torch.softmax(values / 3.0, 1) for values in (teacher, logits))
    divergence = 9.0 * (p * (p / q).log()).sum(1)
    cross_entropy = -((0.9 * targets + 0.025) * torch.log_softmax(logits, 1)).sum(1)
    assert float(found) == pytest.approx(float((weights * (divergence - cross_entropy)).sum() / 6), abs=1e-6)


@pytest.mark.slow
def test_a_student_learns_a_teachers_answers(tmp_path: Path) -> None:
    labels_alone = ("train.epochs=8", "train.learning_rate=0.02", "train.average_decay=0.5")
    inputs = write_teacher(tmp_path, student(tmp_path))
    data = TinyData(len(LABELS), contrast=8.0, label_noise=1.0)  # labels say nothing, the teacher everything
    apart = {}
    for name, settings in (("with", DISTIL), ("without", ())):
        config = tiny_config(tmp_path, *labels_alone, *settings)
        trained = fit_network(
            config, len(LABELS), data.for_config(config), tmp_path / name, root=tmp_path, labels=LABELS
        )
        features, _ = data.windows(200, config, (7,))
        normalised = 2.0 * features + data.measured
        wanted = torch.from_numpy(expected_logits({"logmel": normalised}, inputs)["fused"]).log_softmax(1)
        said = torch.from_numpy(trained.answer({"features": features})["fused"]).double().log_softmax(1)
        apart[name] = float((wanted.exp() * (wanted - said)).sum(1).mean())
    assert apart["with"] < 0.5 * apart["without"]


def test_a_finished_run_teaches_too(tmp_path: Path) -> None:
    import json

    from trainer.clip_run import start_clip_run

    labels = ("hiss", "hum", "whistle")
    config = tiny_config(tmp_path, "train.epochs=1")
    data = TinyData().for_config(config)
    start_clip_run(tmp_path / "teacher", config, labels, (), "toy", "CC0")
    with (
        pytest.raises(RunError, match="expected a checkpoint, got: No such file"),
        open_teacher(student(tmp_path), data.measure(np.random.default_rng(1)), 3, labels, tmp_path, CPU),
    ):
        pass
    trained = fit_network(config, 3, data, tmp_path / "teacher" / "network")
    features, _ = data.windows(9, config, (7,))
    with open_teacher(student(tmp_path), trained.inputs, 3, labels, tmp_path, CPU) as teacher:
        lesson = teacher({"features": torch.from_numpy(features)})
    np.testing.assert_allclose(lesson.logits.numpy(), trained.answer({"features": features})["fused"], atol=1e-6)
    assert not lesson.logits.requires_grad
    assert json.loads((tmp_path / "teacher" / "clips.json").read_text())["labels"] == list(labels)


@pytest.mark.parametrize(
    ("settings", "labels", "message"),
    [
        (("window.seconds=0.512",), LABELS, "expected windows of 0.512 s, as window.seconds says, got 0.256 in"),
        (("audio.feature.n_mels=8",), LABELS, "expected audio.feature.n_mels = 8, as configured, got 16 in"),
        (("audio.feature.log=db",), LABELS, "expected audio.feature.log = 'db', as configured, got 'natural' in"),
        (
            ('audio.normalisation={kind="per_clip"}',),
            LABELS,
            "expected audio.normalisation.kind = 'per_clip', as configured, got 'none' in",
        ),
        ((), LABELS[1:], "expected the student's labels, bus, metro, .* got airport, bus,"),
        ((), (), "expected the student's 3 labels, got 10 in"),
        (('train.distil.teacher="../elsewhere"',), LABELS, "expected a path inside the data folder"),
        (('train.distil.teacher="nothing"',), LABELS, "expected a bundle or a finished run, got .*which is neither"),
    ],
)
def test_a_teacher_of_something_else_is_one_error(
    tmp_path: Path, settings: tuple[str, ...], labels: tuple[str, ...], message: str
) -> None:
    write_teacher(tmp_path, student(tmp_path))
    config = student(tmp_path, *settings)
    with (
        pytest.raises(ConfigError, match=rf"train\.distil\.teacher: {message}"),
        open_teacher(config, config.inputs, len(labels) or 3, labels, tmp_path, CPU),
    ):
        pass


def test_a_teacher_that_sees_needs_a_student_that_does(tmp_path: Path) -> None:
    config = student(tmp_path)
    bundles.image_only(tmp_path, inputs=(InputSpec("picture", video=replace(VIDEO, frame_times_seconds=(0.1,))),),
                       window=WINDOW).rename(tmp_path / "teacher")  # fmt: skip
    with (
        pytest.raises(ConfigError, match=r"takes frames, expected a table \[video\] for them, got none"),
        open_teacher(config, config.inputs, len(LABELS), LABELS, tmp_path, CPU),
    ):
        pass
    two = tuple(InputSpec(name, audio=config.audio) for name in ("low", "high"))
    (tmp_path / "other").mkdir()
    write_teacher(tmp_path / "other", config, inputs=two)
    elsewhere = student(tmp_path, 'train.distil.teacher="other/teacher"')
    with (
        pytest.raises(
            ConfigError, match=r"bundle [a-z_]+: expected one input of features, got low, high in .*other/teacher"
        ),
        open_teacher(elsewhere, config.inputs, len(LABELS), LABELS, tmp_path, CPU),
    ):
        pass


def test_no_teacher_is_no_teacher(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    with open_teacher(config, config.inputs, 3, (), None, CPU) as teacher:
        assert teacher is None
