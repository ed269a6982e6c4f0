"""Paths and small factories shared by the tests."""

from pathlib import Path


REFERENCE = Path(__file__).parent / "reference"
