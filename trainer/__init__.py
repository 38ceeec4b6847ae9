"""Training: turns recordings and prepared corpora into networks, metrics and bundles; only this package uses torch."""
