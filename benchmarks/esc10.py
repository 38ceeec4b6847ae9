"""ESC-10, five folds, one recipe for every network: accuracy per second and per clip, with size and measured latency.

    python benchmarks/esc10.py ESC10 --out runs/esc10            train what is not trained yet, a cell at a time
    python benchmarks/esc10.py ESC10 --out runs/esc10 --report docs    write docs/esc10.md and its plot

A cell is one network and one fold. It is saved to its own file as soon as it is finished: the command can be stopped
and restarted at any time, and unfinished cells stay empty in the report. The test fold is used only once, at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from engines.check import measure
from engines.ort import OrtEngine
from trainer.config import Config, load_config
from trainer.data.audio import decode
from trainer.data.clips import EVALUATE, TRAIN
from trainer.data.esc10 import FOLDS, read_esc10
from trainer.data.memory import MemoryStore
from trainer.data.segments import SegmentReader
from trainer.data.tensors import TensorMaker
from trainer.data.windows import WindowSampler
from trainer.evaluate.answers import WHOLE
from trainer.files import write_whole
from trainer.fit.loop import fit_network
from trainer.models.counts import count_parameters
from trainer.models.graph import export_graph
from trainer.models.macs import count_macs
from trainer.models.systems import build_network, check_inputs, deploy

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
CLIP_SECONDS = 5
RECIPE = (
    "augment.gain_db=10", "augment.tilt_probability=0.2", "augment.tilt_db=4", "augment.mixup=0.3",
    'augment.mixup_form="pair"', "augment.response_probability=0", "augment.lowpass_probability=0",
    "augment.noise_probability=0", "augment.mix_probability=0", "augment.style_probability=0",
    "augment.band_mask=0", "augment.hop_mask=0",
    "train.epochs=15", "train.windows_per_epoch=1600", "train.batch_size=64", 'train.optimizer="adamw"',
    'train.schedule="cosine"', "train.learning_rate=2e-3", "train.weight_decay=0.05", "train.label_smoothing=0.05",
    "train.average_decay=0.99", 'train.select="last"', "train.mixed_precision=true", "train.threads=1",
)  # fmt: skip
"""Training settings shared by all networks; the front-end comes from each network's own configuration."""
MONO = ('audio.channels="mono"',)
CELLS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "slim_audio": ("slim_audio", (), FOLDS),
    "cp_mobile": ("cp_mobile", (), FOLDS),
    "subspectral_1s": ("subspectral_1s", MONO, FOLDS),
    "se_audio": ("se_audio", MONO, FOLDS),
    "spectrogram": ("spectrogram", (), FOLDS[:1]),
    "wave": ("wave", (), FOLDS[:1]),
    "wave_spec": ("wave_spec", (), FOLDS[:1]),
}
"""Table row to its base configuration, its settings in addition to the recipe, and its folds."""


def row_config(row: str) -> Config:
    """The configuration of a row."""
    name, own, _ = CELLS[row]
    return load_config(CONFIGS / f"{name}.toml", [*RECIPE, *own])


def train_cell(row: str, fold: str, corpus_root: Path, folder: Path) -> dict[str, Any]:
    """Train one network on four folds and evaluate it on the fifth."""
    config = row_config(row)
    system = check_inputs(config)
    corpus = read_esc10(corpus_root).as_fold(fold)
    clips, rate = corpus.clips, config.inputs.sample_rate
    n_samples = CLIP_SECONDS * rate
    sounds = [decode(clip.audio, rate)[:n_samples] for clip in clips]
    store = MemoryStore([np.pad(sound, (0, n_samples - sound.size)) for sound in sounds], rate)
    targets = np.array(corpus.targets(clips))
    train, test = (np.flatnonzero([clip.split == split for clip in clips]) for split in (TRAIN, EVALUATE))
    data = WindowSampler(store, train.tolist(), targets[train].tolist(), len(corpus.labels), config, system.inputs)

    def say(epoch: int, loss: float) -> None:
        print(f"{row}, fold {fold}: epoch {epoch} of {config.train.epochs}, loss {loss:.3f}", flush=True)

    begun = time.perf_counter()
    trained = fit_network(config, len(corpus.labels), data, folder, on_epoch=say)
    seconds = time.perf_counter() - begun
    reader = SegmentReader(store, trained.inputs, config, system.inputs)
    owners, starts = reader.segments(test.tolist())
    logits = reader.logits(owners, starts, trained.answer, alone=False)[WHOLE].astype(np.float64)
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    by_clip = np.stack([np.exp(log_p[owners == clip]).mean(axis=0) for clip in test])
    return {
        "row": row,
        "fold": fold,
        "windows": len(owners),
        "clips": len(test),
        "window_accuracy": float((log_p.argmax(axis=1) == targets[owners]).mean()),
        "window_log_loss": float(-log_p[np.arange(len(owners)), targets[owners]].mean()),
        "clip_accuracy": float((by_clip.argmax(axis=1) == targets[test]).mean()),
        "clip_log_loss": float(-np.log(by_clip[np.arange(len(test)), targets[test]]).mean()),
        "training_seconds": round(seconds, 1),
    }


def measure_rows(rounds: int) -> dict[str, dict[str, Any]]:
    """Measure each row's network: size, and its graph's latency in turns (ONNX Runtime, one thread, one window)."""
    rows: dict[str, dict[str, Any]] = {}
    calls = {}
    random = np.random.default_rng(1)
    for row in CELLS:
        config = row_config(row)
        system = check_inputs(config)
        deployed = deploy(system, build_network(config, 10))
        empty = TensorMaker(config.inputs, config.window, system.inputs).empty(2)
        inputs = {name: random.standard_normal(values.shape).astype(np.float32) for name, values in empty.items()}
        tensors = {name: torch.from_numpy(values) for name, values in inputs.items()}
        graph = export_graph(deployed.scene, tensors, deployed.outputs)
        calls[row] = (OrtEngine(graph, name=row), {name: values[:1] for name, values in inputs.items()})
        rows[row] = {
            "parameters": count_parameters(deployed.scene).parameters,
            "macs": count_macs(deployed.scene, *(tensor[:1] for tensor in tensors.values())),
        }
    medians: dict[str, list[float]] = {row: [] for row in rows}
    for _ in range(rounds):
        for row, (engine, feeds) in calls.items():
            medians[row].append(measure(engine, feeds, 20).p50_seconds)
    for row, values in medians.items():
        rows[row]["latency_ms"] = round(1e3 * float(np.median(values)), 4)
    return rows


def write_report(results: dict[str, Any], docs: Path) -> None:
    """Write docs/esc10.md and docs/images/esc10.png."""
    rows = [_summary(row, results) for row in CELLS]
    reference = results["networks"]["se_audio"]["latency_ms"]
    lines = [_HEAD.rstrip(), ""]
    lines += [
        "| network | folds | clips | seconds | log loss, seconds | parameters | MMAC | latency | relative to se_audio |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        figures = [f"{value:.3f}" if value is not None else "" for value in (row["clip"], row["window"], row["loss"])]
        size = f"{row['parameters']:,} | {row['macs'] / 1e6:.1f}"
        lines.append(
            f"| {row['name']} | {row['folds']} | {' | '.join(figures)} | {size} "
            f"| {row['latency_ms']:.2f} ms | 1/{reference / row['latency_ms']:.1f} |"
        )
    lines += ["", "![accuracy against latency](images/esc10.png)", "", "Accuracy of clips, by fold:", ""]
    lines += ["| network | " + " | ".join(FOLDS) + " |", "|---" * (len(FOLDS) + 1) + "|"]
    for row in CELLS:
        cells = [_cell(results, row, fold) for fold in FOLDS]
        shown = [f"{cell['clip_accuracy']:.4f}" if cell else "" for cell in cells]
        lines.append(f"| {row} | " + " | ".join(shown) + " |")
    text = "\n".join([*lines, "", _TAIL])
    write_whole(docs / "esc10.md", lambda file: file.write(text.encode()))
    _plot([row for row in rows if row["clip"] is not None], docs / "images" / "esc10.png")


def _cell(results: dict[str, Any], row: str, fold: str) -> dict[str, Any] | None:
    """The result of a cell if it is finished, else None."""
    return next((cell for cell in results["cells"] if (cell["row"], cell["fold"]) == (row, fold)), None)


def _summary(row: str, results: dict[str, Any]) -> dict[str, Any]:
    """A row's means over its folds, None unless all of them are finished."""
    folds = CELLS[row][2]
    cells = [cell for fold in folds if (cell := _cell(results, row, fold)) is not None]
    whole = len(cells) == len(folds)
    means = [
        float(np.mean([cell[key] for cell in cells])) if whole else None
        for key in ("clip_accuracy", "window_accuracy", "window_log_loss")
    ]
    which = "five" if len(folds) == len(FOLDS) else "**the first alone**"
    return {
        "name": row,
        "folds": which if whole else f"{len(cells)} of {len(folds)}",
        **dict(zip(("clip", "window", "loss"), means, strict=True)),
        **results["networks"][row],
    }


def _plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot clip accuracy against latency."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for row in rows:
        ours, one_fold = row["name"].startswith("slim"), row["folds"] != "five"
        colour = "#d55e00" if ours else "#0072b2"
        axes.scatter(
            row["latency_ms"], row["clip"], s=30 + row["parameters"] / 8e3, color="none" if one_fold else colour,
            edgecolor=colour, linewidth=1.5, zorder=3,
        )  # fmt: skip
        name = row["name"] + (" (fold 1)" if one_fold else "")
        axes.annotate(name, (row["latency_ms"], row["clip"]), (7, 5), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(0.1, 4 * max(row["latency_ms"] for row in rows))
    axes.set_ylim(top=max(row["clip"] for row in rows) + 0.04)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("latency of one window, ONNX Runtime, one thread (ms)")
    axes.set_ylabel("accuracy per 5-s clip")
    axes.set_title("ESC-10, no pretraining, one recipe for all; area grows with parameters", fontsize=10)
    axes.grid(alpha=0.3, which="both")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=130))


_HEAD = """# ESC-10: every network by one recipe

ESC-10 (Piczak 2015) has 400 clips of 5 s, ten sounds, five official folds that share no source recording. Each
network hears windows of one second through the front-end it was published with (mono); none saw any other data. The
recipe is the same for all: 15 epochs of 1,600 windows from random places, batches of 64, AdamW (2e-3, weight decay
0.05), warm-up and cosine, gain and tilt, mixup 0.3, bfloat16 activations, averaged weights of the last epoch; the
test fold is looked at once, at the end. A clip is judged by the mean of the probabilities of its five seconds: 80
clips and 400 windows a fold. Many clips are padded with digital silence: a silent second cannot be recognised by
anyone, and counts all the same.
"""
_TAIL = """\
Rows of one fold are not comparable with rows of five. One clip of a fold is 0.0125; five folds of 400 clips leave a
standard error of about 0.016 at 0.88. Fifteen passes over the data are few for the larger networks and for
subspectral, whose authors trained for 200: the table compares what a short, equal training gives, not what each
network can reach. Latency is measured on the machine that wrote this page, all rows by turns in one run.

`python benchmarks/esc10.py ESC10 --out runs/esc10` trains what is missing, `--report docs` writes this page from
`benchmarks/esc10.json`, where the figures of every cell stand.
"""


def main() -> None:
    """Train the missing cells, or write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="the folder of ESC-10")
    parser.add_argument("--out", type=Path, default=Path("runs/esc10"), help="where runs and cells are kept")
    parser.add_argument("--rows", nargs="+", choices=list(CELLS), default=list(CELLS), help="which networks")
    parser.add_argument("--report", type=Path, metavar="DOCS", help="write the page and its plot into this folder")
    options = parser.parse_args()
    record = Path(__file__).with_suffix(".json")
    for row in options.rows:
        for fold in CELLS[row][2]:
            name = f"{row}-{fold}"
            cell = options.out / f"{name}.json"
            if not cell.exists() and options.report is None:
                result = train_cell(row, fold, options.corpus, options.out / name)
                write_whole(cell, lambda file, result=result: file.write(json.dumps(result, indent=1).encode()))
                print(json.dumps(result), flush=True)
    if options.report is not None:
        cells = [json.loads(path.read_text()) for path in sorted(options.out.glob("*.json"))]
        results = {"cells": cells, "networks": measure_rows(15)}
        write_whole(record, lambda file: file.write((json.dumps(results, indent=1) + "\n").encode()))
        write_report(results, options.report)


if __name__ == "__main__":
    main()
