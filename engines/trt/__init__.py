"""TensorRT: plans built in a child process, proven against golden answers, kept in a cache, run through CUDA's driver.

    driver.py    asks NVIDIA's driver, and says what is missing        records.py   devices, keys, sidecars
    build.py     has a plan built and proves it                        worker.py    the child that builds and runs one
    plans.py     where proven plans are kept, and which one fits       runtime.py   the engine
    memory.py    the seam to CUDA, and who fills it: pycuda_cuda.py, or cuda_bindings.py
    loaded.py    the seam to TensorRT, and who fills it: plan.py

Nothing here imports tensorrt, pycuda or cuda before a device was found: without one they fail, or end the process.
"""
