"""Sources of time-stamped samples and frames: files, URLs, pipes, synthetic streams. The interface is in `base.py`."""
