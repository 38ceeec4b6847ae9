"""What prepared clips gain in training: windows per second from shards, and how long the network waits for data.

    python benchmarks/training.py [--clips 12] [--rounds 3] [--epochs 3] [--frozen-windows 16]

Clips are like the real corpus's: 10 s, a 24-bit stereo WAV at 48 kHz, a 1280×720 H.264 video. One way decodes each clip
anew, with the decoder that `trainer prepare` and the runtime use, and takes all ten of its windows in order; the other
reads the same ten windows from shards, in random order. That both give the same features is checked. The best round of
each counts, in CPU time, which other load on the machine disturbs least. Then `slim_audio` is trained as configured,
and the share of time that its epochs spend waiting for data is printed. Last comes the first step of `se_visual`, with
VGG16 frozen: an epoch that encodes frames as they come, and one whose frames were encoded beforehand.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")
from prepare import make_hd_corpus

from ascstream import open_media
from ascstream.records import VideoFrame
from ascstream.sources.base import Wants
from trainer.config import Config, load_config
from trainer.data.clips import Clip
from trainer.data.corpora import open_corpus
from trainer.data.memory import MemoryStore
from trainer.data.pictures import newest_frames
from trainer.data.prepare import prepare_corpus
from trainer.data.prepared import open_prepared
from trainer.data.settings import Settings, settings_for
from trainer.data.tensors import StretchReader, TensorMaker
from trainer.fit.clips import plan_clips
from trainer.fit.encoding import FrameCache
from trainer.fit.loop import fit_network
from trainer.models.systems import find_system

CONFIGS = Path(__file__).parents[1] / "configs"
WINDOWS = 10


class DecodedStore(MemoryStore):
    """One clip, straight from the decoder."""

    def __init__(self, clip: Clip, settings: Settings) -> None:
        """Decode a clip."""
        sound, picture = settings.sound, settings.picture
        with open_media(clip.audio) as source:
            items = list(source.items(Wants(sound.wants, None)))
        super().__init__([np.concatenate([item.samples for item in items], axis=1)], sound.sample_rate)
        self._frames = []
        if picture is not None:
            with open_media(clip.video) as source:
                self._frames = [
                    item for item in source.items(Wants(None, picture.wants)) if isinstance(item, VideoFrame)
                ]
        self._times = np.array([frame.time for frame in self._frames])

    def frames(self, clip: int, times, max_age_seconds: float):  # noqa: ARG002
        """The newest frame at or before each time, and whether there is one that is recent enough."""
        newest = newest_frames(self._times, times, max_age_seconds)
        return np.stack([self._frames[number].image for number in newest]), newest >= 0


def maker_of(config: Config) -> TensorMaker:
    """Makes the tensors that the configured network takes."""
    return TensorMaker(config.inputs, config.window, find_system(config).inputs)


def decode_anew(config: Config, corpus, maker: TensorMaker) -> list[dict[str, np.ndarray]]:
    """Every clip's windows, decoded from its media files."""
    settings = settings_for(config.inputs)
    out = []
    for clip in corpus.clips:
        reader = StretchReader(DecodedStore(clip, settings), config.inputs, config.window)
        tensors = maker.empty(WINDOWS)
        for number in range(WINDOWS):
            maker.fill(tensors, number, reader.read(0, number * reader.rate))
        out.append(tensors)
    return out


def read_shards(config: Config, folder: Path, n_clips: int, maker: TensorMaker) -> list[dict[str, np.ndarray]]:
    """The same windows, read from shards in random order."""
    reader = StretchReader(open_prepared(folder).store(config.inputs), config.inputs, config.window)
    out = [maker.empty(WINDOWS) for _ in range(n_clips)]
    for place in np.random.default_rng(0).permutation(n_clips * WINDOWS):
        clip, number = divmod(int(place), WINDOWS)
        maker.fill(out[clip], number, reader.read(clip, number * reader.rate))
    return out


def quickest(work, rounds: int) -> tuple[float, float]:
    """Minimum CPU and wall time over several rounds, in seconds."""
    times = []
    for _ in range(rounds):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        times.append((time.process_time() - processor, time.perf_counter() - wall))
    return min(own for own, _ in times), min(wall for _, wall in times)


def compare(name: str, config: Config, root: Path, n_clips: int, rounds: int, goal: float) -> None:
    """Compare both ways for one network's inputs."""
    corpus = open_corpus(root / "corpus")
    prepare_corpus(corpus, root / name, settings_for(config.inputs))
    maker = maker_of(config)
    anew, read = decode_anew(config, corpus, maker), read_shards(config, root / name, n_clips, maker)
    largest = {key: max(np.abs(a[key] - b[key]).max() for a, b in zip(anew, read, strict=True)) for key in anew[0]}
    # sound is unchanged by 16-bit storage within this tolerance; images differ, since they were stored as JPEG
    assert largest["features"] < 5e-3, largest
    n_windows = n_clips * WINDOWS
    own, _ = quickest(lambda: decode_anew(config, corpus, maker), rounds)
    shards, _ = quickest(lambda: read_shards(config, root / name, n_clips, maker), rounds)
    print(
        f"{name}: {n_windows / own:,.0f} windows a second decoded anew, {n_windows / shards:,.0f} from shards: "
        f"{own / shards:.1f} × (goal ≥ {goal:g})"
    )


def wait_share(config: Config, root: Path, epochs: int) -> None:
    """Train, and measure how long the network waits for data."""
    train = replace(config.train, epochs=epochs)
    config = replace(config, train=train, data=replace(config.data, labels=None, prepared="slim_audio"))
    plan = plan_clips(replace(config, data=replace(config.data, impulse_responses=None)), root)
    fit_network(config, len(plan.labels), plan.data, root / "run" / "network")
    with (root / "run/network/log.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = min(rows, key=lambda row: float(row["seconds"]))
    each = float(best["seconds"]) / train.windows_per_epoch * 1000
    print(
        f"training slim_audio: {each:.2f} ms a window; waited for data {float(best['data_wait']):.1%} of the quickest "
        f"epoch, {max(float(row['data_wait']) for row in rows):.1%} of the worst (goal ≤ 10 %); "
        f"{train.threads} thread for the network, {train.workers} for windows"
    )


def encode_once(config: Config, root: Path, n_windows: int) -> None:
    """The first step of a recipe with a frozen encoder, on frames and on cached embeddings."""
    prepare_corpus(open_corpus(root / "corpus"), root / "frozen", settings_for(config.inputs))
    steps = (replace(config.train.steps[0], epochs=2),)
    train = replace(config.train, steps=steps, windows_per_epoch=n_windows, schedule="constant", select="last")
    config = replace(
        config,
        data=replace(config.data, prepared="frozen"),
        model=replace(config.model, weights={}),
        train=replace(train, stop_epochs=None, batch_size=min(train.batch_size, n_windows)),
    )
    plan, seconds = plan_clips(config, root), {}
    encoded = [0.0, 0.0]
    for cached in (False, True):
        once = replace(config, train=replace(config.train, cache_embeddings=cached))
        folder = root / f"frozen-{cached}"
        train = plan.numbers("train")
        cache = FrameCache(once, plan.system, plan.prepared, plan.store, train, [], folder)

        def begin(stage, network, cache=cache) -> None:
            begun = time.perf_counter()
            plan.data.use(cache.begin(stage, network, 1))
            encoded[:] = len(cache.encoded or ()), time.perf_counter() - begun

        fit_network(once, len(plan.labels), plan.data, folder, on_stage=begin)
        with (folder / "log.csv").open() as file:
            seconds[cached] = min(float(row["seconds"]) for row in csv.DictReader(file))
    frames, took = encoded
    ratio = seconds[False] / seconds[True]
    print(
        f"training se_visual, its encoder frozen: {seconds[False] / n_windows * 1000:.0f} ms a window with frames "
        f"encoded as they come, {seconds[True] / n_windows * 1000:.1f} with frames encoded before: {ratio:.0f} × "
        f"(goal ≥ 20); {frames:.0f} frames encoded beforehand in {took:.0f} s, {took / frames * 1000:.0f} ms each"
    )


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--frozen-windows", type=int, default=16)
    options = parser.parse_args()
    print(f"load when it began: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    audio, audio_visual = (load_config(CONFIGS / f"{name}.toml") for name in ("slim_audio", "slim_av"))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_hd_corpus(root / "corpus", options.clips)
        compare("slim_audio", audio, root, options.clips, options.rounds, 4)
        compare("slim_av", audio_visual, root, options.clips, options.rounds, 10)
        wait_share(audio, root, options.epochs)
        encode_once(load_config(CONFIGS / "se_visual.toml"), root, options.frozen_windows)


if __name__ == "__main__":
    main()
