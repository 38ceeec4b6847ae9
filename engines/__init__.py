"""Inference on tensors: manifests, bundles and the backends that run their graphs.

Knows names, dtypes, shapes, graphs and parity; nothing of audio, clocks or what a label means.
"""
