"""Composition root: command line, settings and wiring. Imports the rooms lazily."""

__version__ = "0.1.0"
