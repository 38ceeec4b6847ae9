"""From a bundle to proven TensorRT plans: typed graphs, ranges of int8, what plans cost, which are kept. No torch."""
