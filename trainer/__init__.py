"""Training: recordings and prepared corpora to networks, figures and bundles; the only package that knows torch."""
