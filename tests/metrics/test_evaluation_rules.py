"""The page that explains the rules says what is measured."""

import dataclasses
from pathlib import Path

import pytest

import speaq_hf.metrics
from benchmarks import evaluation_rules
from speaq_hf.metrics import PROTOCOLS


PAGE = Path(speaq_hf.metrics.__file__).with_name("README.md").read_text(encoding="utf-8")


def test_page_has_the_tables_of_the_program(capsys):
    evaluation_rules.main()
    tables = [table.strip() for table in capsys.readouterr().out.split("\n\n")]
    assert len(tables) == 1 + len(evaluation_rules.METRICS)
    for table in tables:
        assert table in PAGE, f"run python -m benchmarks.evaluation_rules, the page lacks\n{table}"


def test_page_explains_every_rule_and_protocol():
    for rule in PROTOCOLS["speaq"].rules:
        assert f"* `{rule}`: " in PAGE
    for name in PROTOCOLS:
        assert f"* `{name}`: " in PAGE


def test_every_difference_between_protocols_is_measured():
    changes = evaluation_rules.single_changes()
    for protocol in PROTOCOLS.values():
        differing = {rule for rule, value in protocol.rules.items() if value != PROTOCOLS["speaq"].rules[rule]}
        assert all(any(getattr(change, rule) == protocol.rules[rule] for change in changes) for rule in differing)
    for change in changes:
        assert sum(value != PROTOCOLS["speaq"].rules[rule] for rule, value in change.rules.items()) == 1


def test_numbers_are_those_of_the_protocols():
    results = evaluation_rules.measure(PROTOCOLS["speaq"])
    assert f"| `speaq` | {100 * results['R@20']:.2f} |" in evaluation_rules.effect_tables()
    renamed = dataclasses.replace(PROTOCOLS["strict"], name="other")
    assert evaluation_rules.measure(renamed)["mR@50"] == pytest.approx(0.1338, abs=5e-5)
