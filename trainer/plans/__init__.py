"""Builds verified TensorRT plans from a bundle: typed graphs, int8 ranges, what plans cost, which to keep. No torch."""
