"""The model card of a run on prepared clips: what it is, its data, held-out figures and limits; all generated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from engines.manifest import AudioInput, GammatoneFeature, LogMelFeature, Precision, VideoInput
from trainer.clip_run import ClipRun
from trainer.data.clips import EVALUATE, NONE, NONE_EVALUATE, TRAIN, VALIDATION
from trainer.data.divide import CALIBRATION
from trainer.evaluate.report_tables import card_tables
from trainer.evaluate.tables import Table, loss, percent, table_to_markdown
from trainer.export.precision_table import precision_table
from trainer.export.precisions import Cost
from trainer.export.recipe import describe_recipe
from trainer.fit.trained import Trained
from trainer.models.counts import count_parameters

_SPLITS = (TRAIN, NONE, VALIDATION, CALIBRATION, EVALUATE, NONE_EVALUATE)


def write_clip_card(
    run: ClipRun, report: Mapping[str, Any], trained: Trained, costs: Sequence[Cost], left_out: Mapping[Precision, str]
) -> str:
    """Return the card as Markdown.

    Args:
        run: A finished run.
        report: Its figures.
        trained: Its network.
        costs: What each precision costs, float32 first.
        left_out: Precisions that are not in the bundle, and why.
    """
    tables = [*card_tables(report), precision_table(costs, left_out, held_out=True)]
    sections = [
        _what(run, trained, costs),
        _data(run, report),
        _summary(report),
        *(table_to_markdown(table) for table in tables),
        _limits(run, report, trained),
        _made(run, trained),
    ]
    return "\n\n".join(sections) + "\n"


def _what(run: ClipRun, trained: Trained, costs: Sequence[Cost]) -> str:
    """The title, the description, and a table of labels, inputs, network and speed."""
    config, n_parameters = run.config, count_parameters(trained.network).parameters
    inputs, scene, frame = trained.inputs, costs[0].scene, costs[0].frame
    sounds = [_sound(audio) for audio in (inputs.audio, inputs.waveform) if audio is not None]
    times = f"p50 {scene.p50_seconds * 1e3:.2f} ms, p95 {scene.p95_seconds * 1e3:.2f} ms, features not included"
    if frame is not None:
        times += f"; one frame p50 {frame.p50_seconds * 1e3:.2f} ms, encoded once"
    rows = [
        ("scenes", ", ".join(run.labels)),
        ("groups", "; ".join(f"{group}: {', '.join(members)}" for group, members in run.groups.items()) or "none"),
        ("judges", f"windows of {config.window.seconds:g} s"),
        *([("listens to", " and ".join(sounds))] if sounds else []),
        *([("looks at", _picture(inputs.video))] if inputs.video is not None else []),
        ("answers by", ", ".join(trained.system.outputs)),
        ("network", f"`{config.model.name}`, {n_parameters:,} parameters"),
        ("one window, ONNX Runtime, one x86-64 core", times),
        ("licence of the weights", f"{config.bundle.licence}; the data have their own terms, below"),
    ]
    table = "\n".join(f"| {name} | {_escaped(text)} |" for name, text in rows)
    return f"# {config.name} {config.bundle.version}\n\n{config.bundle.description}\n\n| | |\n|---|---|\n{table}"


def _sound(audio: AudioInput) -> str:
    """An audio input in words."""
    feature = audio.feature
    what = "samples"
    if isinstance(feature, LogMelFeature):
        what = f"{feature.n_mels} mel bands every {1e3 * feature.hop_length / audio.sample_rate:.3g} ms"
    elif isinstance(feature, GammatoneFeature):
        what = f"{feature.n_bands} gammatone bands every {1e3 * feature.hop_length / audio.sample_rate:.3g} ms"
    channels = {"mono": "mono sound", "left,right": "stereo sound"}.get(audio.channels, "left, right, their difference")
    return f"{channels}, {audio.sample_rate / 1000:g} kHz, {what}"


def _picture(video: VideoInput) -> str:
    """A video input in words."""
    times = ", ".join(f"{time:g}" for time in video.frame_times_seconds)
    age = f"at most {video.max_age_seconds:g} s old"
    return f"frames of {video.width} × {video.height} at {times} s of each window, {age}"


def _data(run: ClipRun, report: Mapping[str, Any]) -> str:
    """The section on the corpus, its terms, and how it was divided."""
    rows = []
    for split in _SPLITS:
        clips = [clip for clip in run.clips if clip.split == split]
        if clips:
            cities = sorted({clip.city for clip in clips if clip.city})
            seconds = sum(clip.seconds for clip in clips)
            rows.append(
                (
                    f"{split}: {_use(run, report, split)}",
                    f"{len(clips):,}",
                    f"{len({clip.place for clip in clips}):,}",
                    f"{seconds / 3600:.2f}" if seconds >= 360 else f"{seconds / 3600:.3f}",
                    ", ".join(cities) or "–",
                )
            )
    note = f"No location is in two of them. The corpus: {run.corpus}. Its terms: {run.licence}."
    return table_to_markdown(Table("Clips", ("split", "clips", "locations", "hours", "cities"), tuple(rows), note))


def _use(run: ClipRun, report: Mapping[str, Any], split: str) -> str:
    """What a split was used for, in words."""
    chooses = run.config.train.select == "best" or run.config.train.stop_epochs is not None
    fits = "temperatures and thresholds"
    watched = "chose the epoch" if chooses else "watched while training"
    return {
        TRAIN: "trained on",
        VALIDATION: f"{watched}, {fits}" if VALIDATION in report["calibration"]["splits"] else watched,
        CALIBRATION: fits,
        EVALUATE: "the figures below",
        NONE: "of none of the scenes, trained to give every scene the same score",
        NONE_EVALUATE: "of none of the scenes, never seen",
    }[split]


def _summary(report: Mapping[str, Any]) -> str:
    """The section on the most important figures, in sentences."""
    whole = report["conditions"]["whole"]
    one, clips = whole["calibrated"], whole["clips"]["mean_log_probability"]
    sentences = [
        f"Clips it never saw, at locations it never saw: of {report['n_segments']:,} windows of "
        f"{report['segment_seconds']:g} s it names {percent(one['accuracy'])} rightly (chance "
        f"{percent(report['chance']['accuracy'])}), with a log loss of {loss(one['log_loss'])} (chance "
        f"{loss(report['chance']['log_loss'])})."
    ]
    if report["n_segments"] != report["n_clips"]:
        sentences.append(
            f"A clip's windows together: {percent(clips['accuracy'])} of {report['n_clips']:,} clips, log loss "
            f"{loss(clips['log_loss'])}."
        )
    for name, words in (("audio", "By sound alone"), ("video", "By the picture alone")):
        if name in report["conditions"]:
            alone = report["conditions"][name]["calibrated"]
            sentences.append(f"{words}: {percent(alone['accuracy'])}, log loss {loss(alone['log_loss'])}.")
    if report["group_accuracy"] is not None:
        sentences.append(f"The right group: {percent(report['group_accuracy'])} of the windows.")
    return "## How good it is\n\n" + " ".join(sentences)


def _limits(run: ClipRun, report: Mapping[str, Any], trained: Trained) -> str:
    """The section on limitations."""
    known = {label for members in run.config.data.groups.values() for label in members}
    missing = sorted(known - set(run.labels))
    scenes = {name: row for name, row in report["by_class"].items() if row["accuracy"] is not None}
    unheard = [name for name, row in scenes.items() if row["accuracy"] <= report["chance"]["accuracy"]]
    worst = min(scenes, key=lambda name: float(scenes[name]["accuracy"]))
    cities = sorted({clip.city for clip in run.clips if clip.split == TRAIN and clip.city})
    senses = (("look", trained.inputs.video), ("sound", trained.inputs.sound))
    differs = " and ".join(verb for verb, taken in senses if taken is not None) + " different"
    taught = "it was not trained to tell"
    if run.config.augment.none_share and any(clip.split == NONE for clip in run.clips):
        taught = "it was trained to be unsure of such places, and often is not"
    lines = [
        f"It is worst at {worst}: {percent(scenes[worst]['accuracy'])} of its windows.",
        *([f"It recognises {', '.join(unheard)} no more often than chance would."] if unheard else []),
        *([f"It knows no {', '.join(missing)}."] if missing else []),
        *([f"It was trained on data from {', '.join(cities)}; places elsewhere may {differs}."] if cities else []),
        *_missing(trained),
        f"A place that is none of its scenes is named one of them, or `unknown`: {taught}.",
        *run.config.bundle.limits,
    ]
    return "## What it cannot do\n\n" + "\n".join(f"* {line}" for line in lines)


def _missing(trained: Trained) -> list[str]:
    """How it handles a window whose sound or picture is missing, in at most one sentence."""
    system = trained.system
    if "presence" in system.inputs:
        return ["With sound or picture missing it answers by the other one, less surely."]
    if trained.inputs.sound is None or trained.inputs.video is None:
        return []
    alone = [name for name in ("audio", "video") if name in system.outputs]
    if alone:
        return [f"With a modality missing its head for the other one answers ({', '.join(alone)})."]
    return ["It needs both sound and picture: with one of them missing the answer is `unknown`."]


def _made(run: ClipRun, trained: Trained) -> str:
    """The section on how, and with which software, it was trained."""
    import onnxruntime
    import torch

    from ascstream import __version__

    config, train = run.config, run.config.train
    epochs = len(trained.history)
    last = trained.history[-1].validation_loss if trained.history else None
    steps = [
        f"{epochs} epochs of {train.windows_per_epoch:,} windows, batches of {train.batch_size}",
        *([_sentences(run)] if config.model.name == "clip_zero_shot" else []),
        *describe_recipe(config, trained.system),
        *([f"last validation log loss {loss(last)}"] if last is not None and math.isfinite(last) else []),
        f"seed {config.seed}",
        f"ascstream {__version__}, PyTorch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}",
    ]
    lines = "\n".join(f"* {step}" for step in steps)
    name = f"configs/{config.name.replace('-', '_')}.toml"
    return f"""## How it was made

{lines}

The command, where nothing was set beside the file (`--set`); what is listed here counts:

    trainer fit {name} --data FOLDER && trainer export --data FOLDER"""


def _sentences(run: ClipRun) -> str:
    """What a zero-shot head compares a picture with, in words."""
    from trainer.models.clip import prompts

    return f"the embedding of a sentence a scene; those this project suggests: {'; '.join(prompts(run.labels))}"


def _escaped(text: str) -> str:
    """Text escaped for a Markdown table cell."""
    return text.replace("|", "\\|")
