"""Choose one of the two CUDA libraries: pycuda if it is installed, else cuda-bindings."""

from __future__ import annotations

from engines.errors import BackendError
from engines.trt.driver import find_device, find_modules
from engines.trt.exchange import CudaLibrary
from engines.trt.memory import Cuda
from engines.trt.records import Device


def open_cuda(library: CudaLibrary = "auto", *, device: Device | None = None) -> Cuda:
    """Retain the primary context of the first device.

    Args:
        library: The library used to reach the driver.
        device: The driver's description of the device; None: ask for it.

    Raises:
        BackendError: There is no device, or that library is not installed.
    """
    device = device or find_device()
    if device is None:
        raise BackendError("CUDA: expected a GPU that NVIDIA's driver knows, got none; type: ascstream doctor")
    if library == "auto":
        modules = find_modules()
        library = "cuda-bindings" if modules.cuda_bindings and not modules.pycuda else "pycuda"
    if library == "pycuda":
        from engines.trt.pycuda_cuda import PyCuda

        return PyCuda(device)
    from engines.trt.cuda_bindings import CudaBindings

    return CudaBindings(device)
