"""The command line: arguments reach the library, errors reach the user."""

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


def test_generate_data_does_not_replace_a_set_unasked(tmp_path):
    arguments = ("generate-data", tmp_path, "-n", 2, "--image-size", 64, "--num-workers", 1)
    assert run(*arguments).exit_code == 0
    refused = run(*arguments)
    assert refused.exit_code != 0
    assert "overwrite" in refused.output
    assert run(*arguments, "--overwrite").exit_code == 0


def test_bad_values_are_reported_without_a_traceback(tmp_path):
    result = run("generate-data", tmp_path / "set", "--style", "cubist")
    assert result.exit_code == 2
    assert "style" in result.output and "Traceback" not in result.output
    assert not (tmp_path / "set").exists()


def test_the_command_lists_its_sub_commands():
    result = run("--help")
    assert result.exit_code == 0
    assert "generate-data" in result.output
