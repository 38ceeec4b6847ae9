"""Sources for evaluation: sound and video of two files as one stream, and a stream with either removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from ascstream.records import AudioBlock, EndOfVideo, StreamEvent, StreamItem, VideoFrame
from ascstream.sources.base import Source, SourceInfo, Wants
from ascstream.sources.media import open_media
from engines.manifest import Modality
from trainer.data.clips import Clip


@contextmanager
def open_clip(clip: Clip) -> Iterator[Source]:
    """Open a clip's sound and video as one source.

    Raises:
        SourceError: One of its files cannot be read.
    """
    if clip.video is None or clip.video == clip.audio:
        with open_media(clip.audio) as source:
            yield source
    else:
        with open_media(clip.audio) as sound, open_media(clip.video) as picture, Paired(sound, picture) as both:
            yield both


class Paired:
    """Sound of one source and video of another, both starting at second 0; closes both."""

    def __init__(self, sound: Source, picture: Source) -> None:
        """Join two open sources."""
        self._sound, self._picture = sound, picture
        self.info = replace(sound.info, has_video=picture.info.has_video, offset_seconds=0.0)
        """The sound's info, with the video's `has_video` and an offset of 0."""

    def items(self, wants: Wants) -> Iterator[StreamItem]:
        """Interleave blocks and frames: each frame comes before the block that reaches its time."""
        blocks = _timed(self._sound.items(Wants(wants.audio, None))) if wants.audio else iter(())
        frames = _timed(self._picture.items(Wants(None, wants.video))) if wants.video else iter(())
        block, frame = next(blocks, None), next(frames, None)
        while block is not None or frame is not None:
            if block is None or (frame is not None and frame[0] <= block[0]):
                if frame is not None:
                    yield frame[1]
                frame = next(frames, None)
            else:
                yield block[1]
                block = next(blocks, None)

    def close(self) -> None:
        """Close both sources; may be called twice."""
        self._sound.close()
        self._picture.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Without:
    """A source without its sound or video, as if the device had never been there."""

    def __init__(self, source: Source, modality: Modality) -> None:
        """Wrap an open source, naming the modality to remove."""
        self._source, self._modality = source, modality
        gone = {"has_audio": False} if modality == "audio" else {"has_video": False}
        self.info: SourceInfo = replace(source.info, **gone)  # type: ignore[arg-type]
        """The source's info without that modality."""

    def items(self, wants: Wants) -> Iterator[StreamItem]:
        """What remains: lost blocks instead of sound, as blocks keep the time; or `EndOfVideo` first and no video."""
        if self._modality == "audio":
            for item in self._source.items(wants):
                yield (
                    replace(item, samples=np.zeros_like(item.samples), lost=True)
                    if isinstance(item, AudioBlock)
                    else item
                )
            return
        if wants.video is not None:
            yield EndOfVideo(0.0)
        yield from self._source.items(Wants(wants.audio, None))

    def close(self) -> None:
        """Close the source; may be called twice."""
        self._source.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _timed(items: Iterator[StreamItem]) -> Iterator[tuple[float, StreamItem]]:
    """Pair each item with the time it is due: a block's end, a frame's time, for events that of the preceding item."""
    moment = 0.0
    for item in items:
        if isinstance(item, AudioBlock):
            moment = item.end
        elif isinstance(item, VideoFrame):
            moment = item.time
        elif not isinstance(item, StreamEvent):
            moment = max(moment, item.time)
        yield moment, item
