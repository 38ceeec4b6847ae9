"""What a network is fed with, one file a feature: samples and pictures in, float32 tensors out; see `frontend`."""
