"""A labelled CSV or a folder of classes as a corpus of clips; `recordings` reads and checks them."""

from __future__ import annotations

from pathlib import Path

from trainer.config import DataConfig
from trainer.data.clips import Clip, Corpus
from trainer.data.recordings import load_corpus


def read_folder(place: Path, *, none_label: str = "none", min_recordings: int = 2) -> Corpus:
    """Read clips that are not divided yet; `hold_out_locations` divides them by recording.

    Args:
        place: `labels.csv` with `file,scene_label[,recording,source,…]`, or a folder with a folder a class.
        none_label: Recordings of none of the scenes, which are left out.
        min_recordings: Scenes with fewer are left out.

    Raises:
        DataError: See `load_corpus`.
    """
    rules = DataConfig(labels=place.name, none_label=none_label, min_recordings=min_recordings)
    loaded = load_corpus(place.parent, rules)
    clips = tuple(
        Clip(row.path, None, row.label, row.source, row.group, Path(row.file).stem, "") for row in loaded.recordings
    )
    licences = sorted({row.licence for row in loaded.recordings if row.licence})
    left_out = sorted({row.label for row in loaded.left_out})
    remarks = (f"too few recordings, left out: {', '.join(left_out)}",) if left_out else ()
    return Corpus(place.name, place, loaded.labels, clips, "; ".join(licences) or "not stated", remarks)
