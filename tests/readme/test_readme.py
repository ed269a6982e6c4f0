"""The README's code is code, and does what it says."""

import ast
import importlib
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from speaq_hf import SpeaQConfig
from speaq_hf.cli import app
from training.configuration_file import SECTIONS, describe_options

from .blocks import read_blocks
from .follow import ROOT, follow


BLOCKS = read_blocks()


def commands(program):
    """Word lists of the README's commands of a program."""
    lines = "\n".join(block.code for block in BLOCKS if block.language == "bash").replace("\\\n", " ").splitlines()
    words = (shlex.split(line, comments=True) for line in lines)
    return [line for line in words if line and line[0] == program]


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language == "python"], ids=lambda block: f"line {block.line}"
)
def test_python_imports_what_exists(block):
    imports = [node for node in ast.walk(ast.parse(block.code)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if node.module.split(".")[0] == "speaq_hf"]
    missing = [
        name.name
        for node in ours
        for name in node.names
        if not hasattr(importlib.import_module(node.module), name.name)
    ]
    assert not missing


@pytest.mark.parametrize("words", commands("speaq"), ids=" ".join)
def test_commands_have_the_options_they_are_shown_with(words):
    command = get_command(app).commands[words[1]]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= set(re.findall(r"\w+\.\w+", describe_options(SECTIONS))) | {
        f"model.{name}" for name in SpeaQConfig().to_dict()
    }
    words = [word.removeprefix("--") if "." in word else word for word in words]
    assert not [
        word
        for word in words[2:]
        if (word.startswith("-") or re.fullmatch(r"(data|model|training|evaluation)\.\w+", word)) and word not in known
    ]


def test_programs_exist():
    named = [word for line in commands("accelerate") for word in line if word.endswith((".py", ".yaml"))]
    assert named and all((ROOT / word).is_file() for word in named)


@pytest.mark.slow
def test_everything_runs_in_a_fresh_clone(tmp_path):
    clone = Path(tmp_path) / "speaq_hf"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    _, failures = follow(clone, tmp_path / "home")
    assert not failures, "\n".join(failures)
