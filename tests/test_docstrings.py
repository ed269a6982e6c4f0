"""The examples in docstrings run and print what they say."""

import doctest
import importlib
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("speaq_hf", "conversion", "training")
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text()
)


def test_there_are_examples():
    assert "speaq_hf.models.speaq.modeling_speaq" in MODULES


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert not result.failed
