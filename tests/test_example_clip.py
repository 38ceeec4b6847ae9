"""The example clip is what its script makes, and what the README says of it."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
CLIP = EXAMPLES / "clip.mp4"
SAMPLE_RATE = 48_000


@pytest.fixture(scope="module")
def fresh_clip(tmp_path_factory) -> Path:
    """The clip made anew."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    subprocess.run([sys.executable, EXAMPLES / "make_clip.py", path], check=True, timeout=240)
    return path


def decode_sound(path: Path) -> np.ndarray:
    """[2, n_samples] float32."""
    with av.open(str(path)) as container:
        return np.concatenate([block.to_ndarray() for block in container.decode(audio=0)], axis=1)


def decode_images(path: Path, every: int) -> np.ndarray:
    """[n, 360, 640, 3] uint8."""
    with av.open(str(path)) as container:
        frames = enumerate(container.decode(video=0))
        return np.stack([frame.to_ndarray(format="rgb24") for index, frame in frames if index % every == 0])


def check_streams(path: Path) -> None:
    assert path.stat().st_size <= 2_000_000
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert len(container.streams) == 2
        assert (video.codec_context.name, video.width, video.height) == ("h264", 640, 360)
        assert (video.average_rate, video.frames) == (25, 500)
        assert (audio.codec_context.name, audio.sample_rate, audio.layout.name) == ("aac", SAMPLE_RATE, "stereo")
        assert abs(container.duration / av.time_base - 20.0) < 0.05


def test_the_clip_has_the_streams_we_say():
    check_streams(CLIP)


def test_the_clip_changes_its_scene_in_the_middle():
    sound, images = decode_sound(CLIP), decode_images(CLIP, every=25)
    levels = [20 * np.log10(np.sqrt(np.mean(half**2))) for half in np.split(sound[:, : 20 * SAMPLE_RATE], 2, axis=1)]
    assert -26 < levels[0] < -18, "a road, in dBFS"
    assert -40 < levels[1] < levels[0] - 6, "a park is quieter"
    assert np.abs(sound).max() < 1.0
    changes = np.abs(np.diff(images.astype(float), axis=0)).mean(axis=(1, 2, 3))
    assert int(np.argmax(changes)) == 9, "between the pictures at 9 s and at 10 s"
    assert changes[9] > 5 * np.median(changes)


@pytest.mark.slow
def test_the_script_makes_the_clip(fresh_clip):
    check_streams(fresh_clip)
    kept, made = decode_sound(CLIP), decode_sound(fresh_clip)
    assert kept.shape == made.shape
    assert np.abs(kept - made).max() < 1e-3
    assert np.abs(decode_images(CLIP, 50).astype(float) - decode_images(fresh_clip, 50)).mean() < 1.0
