"""TensorRT: plans built in a child process, proven against golden answers, kept in a cache, run through CUDA's driver.

    driver.py    asks NVIDIA's driver, and says what is missing        records.py   devices, keys, sidecars
    build.py     has plans built, proven (proof.py) and stored         builder.py   looks after the process that does it
    worker.py    that process: compile.py makes a plan, runtime.py runs it; exchange.py says what they tell each other
    plans.py     where proven plans are kept, and which one fits       runtime.py   the engine
    memory.py    the seam to CUDA, and who fills it: pycuda_cuda.py, or cuda_bindings.py
    loaded.py    the seam to TensorRT, and who fills it: plan.py          log.py       what TensorRT says

Nothing here imports tensorrt, pycuda or cuda before a device was found: without one they fail, or end the process.
"""
