"""The command line: arguments reach the library, errors reach the user."""

import json
import re
import shlex

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from speaq_hf.cli import app
from speaq_hf.data.visual_genome import load_synthetic_genome


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_generate_data_writes_a_set(tmp_path):
    result = run("generate-data", tmp_path, "-n", 12, "--image-size", 64, "--seed", 4, "--num-workers", 1)
    assert result.exit_code == 0, result.output
    assert "12 images" in result.output
    row = load_synthetic_genome(tmp_path, "train", keep_empty=True)[0]
    assert (row["width"], row["height"]) == (64, 64)


def test_generate_data_passes_its_knobs_on(tmp_path):
    domain = ("--domain", "real", "--held-out-share", 0.3, "--predicate-zipf", 1, "--max-objects", 4)
    noise = ("--missing-relations", 0.2, "--duplicate-relations", 0.1, "--box-jitter", 0.05)
    result = run("generate-data", tmp_path, "-n", 2, "--image-size", 64, "--num-workers", 1, *domain, *noise)
    assert result.exit_code == 0, result.output
    made = json.loads((tmp_path / "VG-SGG-dicts-with-attri.json").read_text())["generator"]
    assert made["domain"] == "real"
    assert made["distribution"] == {"predicate_zipf": 1, "held_out_share": 0.3}
    assert made["noise"] == {
        "missing_relations": 0.2,
        "duplicate_relations": 0.1,
        "box_jitter": 0.05,
        "splits": ["train"],
    }


def test_generate_data_does_not_replace_a_set_unasked(tmp_path):
    arguments = ("generate-data", tmp_path, "-n", 2, "--image-size", 64, "--num-workers", 1)
    assert run(*arguments).exit_code == 0
    refused = run(*arguments)
    assert refused.exit_code != 0
    assert "overwrite" in refused.output
    assert run(*arguments, "--overwrite").exit_code == 0


def test_bad_values_are_reported_without_a_traceback(tmp_path):
    result = run("generate-data", tmp_path / "set", "--domain", "cubist")
    assert result.exit_code == 2
    assert "domain" in result.output and "Traceback" not in result.output
    assert not (tmp_path / "set").exists()


def test_the_command_lists_its_sub_commands():
    result = run("--help")
    assert result.exit_code == 0
    assert "generate-data" in result.output
    assert "..." not in result.output.partition("Commands:")[2]  # what each is for is not cut


@pytest.mark.parametrize("name", sorted(get_command(app).commands))
def test_the_examples_in_the_help_of_every_command_can_be_typed(name):
    command = get_command(app).commands[name]
    examples = re.findall(rf"speaq {name}(?: (.+))?$", f"{command.help}\n{command.epilog}", re.MULTILINE)
    assert examples
    for example in examples:
        command.make_context(name, shlex.split(example))  # raises what is wrong with it


def test_generate_data_draws_a_benchmark_in_both_domains(tmp_path):
    result = run("generate-data", tmp_path, "--world", "scene-world-v1", "-n", 3, "--num-workers", 1)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["real", "synthetic"]
    assert len(list((tmp_path / "real" / "VG_100K").iterdir())) == 3


def test_generate_data_refuses_options_that_a_benchmark_fixes(tmp_path):
    result = run("generate-data", tmp_path, "--world", "scene-world-v1", "-n", 2, "--seed", 3)
    assert result.exit_code == 2
    assert "--seed" in result.output
    assert not list(tmp_path.iterdir())
