"""Run the `trainer` command as `python -m trainer`, the form that `torchrun -m` requires."""

from __future__ import annotations

import sys

from trainer.cli import main

if __name__ == "__main__":
    sys.exit(main())
