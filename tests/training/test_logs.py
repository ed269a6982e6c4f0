"""The log survives crashes and resumption."""

import json

from training.logs import JsonLinesLog


def test_lines_after_the_resumed_step_are_dropped(tmp_path):
    log = JsonLinesLog(tmp_path / "log.jsonl")
    for step in (1, 2, 2, 3, 4):
        log.write({"step": step, "loss": step / 2})
    log.drop_after(2)
    log.write({"step": 3, "loss": 9.0})
    assert [entry["step"] for entry in log.read()] == [1, 2, 2, 3]
    assert log.read()[-1]["loss"] == 9.0


def test_half_a_line_is_dropped(tmp_path):
    log = JsonLinesLog(tmp_path / "log.jsonl")
    log.write({"step": 1})
    with open(log.path, "a") as file:
        file.write('{"step": 2, "lo')
    log.drop_after(5)
    log.write({"step": 2})
    assert log.read() == [{"step": 1}, {"step": 2}]


def test_nan_becomes_null_so_that_any_parser_reads_it(tmp_path):
    log = JsonLinesLog(tmp_path / "log.jsonl")
    log.write({"step": 1, "zR@20": float("nan"), "list": [1.0, float("inf")]})
    assert json.loads(log.path.read_text(), parse_constant=lambda name: 1 / 0) == {
        "step": 1,
        "zR@20": None,
        "list": [1.0, None],
    }


def test_a_log_that_does_not_exist_is_empty(tmp_path):
    log = JsonLinesLog(tmp_path / "log.jsonl")
    assert log.read() == []
    log.drop_after(3)
    assert log.read() == []
