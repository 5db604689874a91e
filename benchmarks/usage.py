"""`--help` of benchmarks that take no options."""

from __future__ import annotations

import argparse

__all__ = ["without_options"]


def without_options(name: str, text: str | None) -> None:
    """Answer `--help` with `text`, and refuse anything else that was given.

    Parameters
    ----------
    name : str
        Of the benchmark.
    text : str
        What it measures: its module's own text.
    """
    argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
