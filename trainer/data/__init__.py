"""Training data: corpora, their preparation into shards, splits, augmentation and batches."""
