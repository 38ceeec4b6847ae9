"""Known-answer bundles, built once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from support.bundles import SHAPES


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A known-answer bundle by its name."""
    root = tmp_path_factory.mktemp("bundles")
    return cache(lambda name: SHAPES[name](root))
