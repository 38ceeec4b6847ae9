"""TensorRT: plans are built in a child process, proven against golden answers, cached, and run through CUDA's driver.

    driver.py    asks NVIDIA's driver, and finds what is missing       records.py   devices, plan keys, sidecars
    build.py     has plans built, proven (proof.py) and stored         builder.py   manages the process that builds
    worker.py    that process: compile.py builds a plan, runtime.py runs it; exchange.py defines the files exchanged
    plans.py     stores proven plans, and finds the one that fits      runtime.py   the engine
    memory.py    the interface to CUDA, implemented by pycuda_cuda.py and cuda_bindings.py
    loaded.py    the interface to TensorRT, implemented by plan.py     log.py       TensorRT's log messages

Nothing here imports tensorrt, pycuda or cuda before a device is found: without one they fail, or end the process.
"""
