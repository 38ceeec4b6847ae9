"""Inference on tensors: manifests, bundles and the backends that run their graphs.

This package deals in names, dtypes, shapes, graphs and parity. It knows nothing about audio, clocks or what a label
means.
"""
