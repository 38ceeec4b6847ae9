"""The features fed to a network, one per file: samples and pictures in, float32 tensors out; see `frontend`."""
