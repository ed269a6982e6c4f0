"""The log survives crashes and resumption."""

import json
import os

import pytest

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


@pytest.mark.parametrize(
    "line", [b"null", b"{", b"\0" * 40, b'{"loss": "\xff"}', b"[1]", b'{"step": null}', b'{"loss": 1}', b"\x85"]
)
def test_a_damaged_line_is_named_and_left_out(tmp_path, caplog, line):
    log = JsonLinesLog(tmp_path / "log.jsonl")
    log.path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 2}\n')
    log.drop_after(2)
    (message,) = caplog.messages
    assert f"{log.path}, line 2 is damaged" in message
    assert log.path.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_each_line_is_on_the_disk_before_the_run_goes_on(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    log = JsonLinesLog(tmp_path / "log.jsonl")
    log.write({"step": 1})
    log.write({"step": 2})
    log.drop_after(1)
    assert synced == [12, 24, 12]


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
