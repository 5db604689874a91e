"""What is said to a pipe that takes nothing more is let go, and ends nobody."""

import io
import os

from hearthline.unheard import _Swallowing


def test_a_full_pipe_that_blocks_nobody_ends_nobody():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0) as raw:
        said = io.TextIOWrapper(io.BufferedWriter(_Swallowing(raw)), line_buffering=True)
        for n in range(5000):
            print(f"line {n} of more than a pipe takes, {'-' * 60}", file=said)
        said.detach().detach()
