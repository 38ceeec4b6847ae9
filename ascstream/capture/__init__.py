"""Recording from devices: a child process each, so that one that hangs, crashes or leaks can be ended and begun anew.

`messages.py` is what a child says, `requests.py` what it is told; `microphone.py` and `media.py` run inside a child,
`recorder.py` and everything above outside of it.
"""
