"""Handlers of signals: those of other libraries stay what they are."""

from __future__ import annotations

import subprocess
import sys

_FROM_C = """
import ctypes, importlib.util, signal
from ascstream.stopping import handle_signals

def install(number, handler):
    return libc.signal(number, ctypes.cast(handler, ctypes.c_void_p))

libc = ctypes.CDLL(None)
libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
install(signal.SIGTERM, libc.abs)
spec = importlib.util.find_spec("_signal")  # looks at the handlers again, as when the interpreter starts
spec.loader.exec_module(importlib.util.module_from_spec(spec))
assert signal.getsignal(signal.SIGTERM) is None
with handle_signals(lambda *_: print("handled"), "SIGTERM", "SIGUSR1"):
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGUSR1)
print(install(signal.SIGTERM, libc.abs) == ctypes.cast(libc.abs, ctypes.c_void_p).value)
print(signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL)
"""


def test_a_handler_that_python_did_not_install_is_left_alone():
    done = subprocess.run([sys.executable, "-c", _FROM_C], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["handled", "True", "True"], "")
