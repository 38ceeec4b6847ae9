"""Recording from devices, each in its own child process, so that one that hangs, crashes or leaks can be restarted.

`messages.py` defines what a child sends, `requests.py` what it is asked for; `microphone.py` and `media.py` run inside
a child, `recorder.py` and everything built on it in the parent.
"""
