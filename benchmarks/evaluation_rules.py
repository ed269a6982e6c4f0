# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""How far every rule of the evaluation moves the numbers, on the 60 recorded images.

Prints the tables of speaq_hf/metrics/README.md.

python -m benchmarks.evaluation_rules
"""

import dataclasses
import sys
from collections.abc import Sequence

from speaq_hf.metrics import PROTOCOLS, EvaluationProtocol, SceneGraphRecall
from tests.metrics.recorded_images import recorded_predictions, recorded_references


METRICS, KS = ("R", "ng-R", "mR"), (20, 50, 100)
BASE = PROTOCOLS["speaq"]


def single_changes() -> list[EvaluationProtocol]:
    """The protocol `speaq` with one rule at a time as another protocol has it, named after the rule."""
    changes = {
        (rule, value)
        for protocol in PROTOCOLS.values()
        for rule, value in protocol.rules.items()
        if value != BASE.rules[rule]
    }
    order = list(BASE.rules)
    return [
        dataclasses.replace(BASE, name=f"`{rule}={value!r}`", **{rule: value})
        for rule, value in sorted(changes, key=lambda change: order.index(change[0]))
    ]


def measure(protocol: EvaluationProtocol) -> dict[str, float]:
    """Results on the recorded images, in mode sgdet."""
    metric = SceneGraphRecall(50, KS, protocol=protocol)
    metric.add_batch(recorded_predictions("sgdet"), recorded_references())
    return metric.compute()


def rules_table() -> str:
    """The rules of every protocol."""
    rows = [[f"`{rule}`", *(repr(p.rules[rule]) for p in PROTOCOLS.values())] for rule in BASE.rules]
    fingerprints = ["fingerprint", *(f"`{protocol.fingerprint}`" for protocol in PROTOCOLS.values())]
    return _table(["rule", *(f"`{name}`" for name in PROTOCOLS)], [*rows, fingerprints])


def effect_tables() -> str:
    """A table for each metric, in percent: `speaq`, each of its rules changed alone, and the other protocols."""
    others = [dataclasses.replace(p, name=f"all of `{p.name}`") for p in PROTOCOLS.values() if p is not BASE]
    results = {protocol.name: measure(protocol) for protocol in (*single_changes(), *others)}
    base = measure(BASE)
    tables = []
    for metric in METRICS:
        columns = [f"{metric}@{k}" for k in KS]
        rows = [["`speaq`", *(f"{100 * base[column]:.2f}" for column in columns)]]
        for name, values in results.items():
            rows.append([name, *(_with_difference(values[column], base[column]) for column in columns)])
        tables.append(_table(["%", *columns], rows))
    return "\n\n".join(tables)


def _with_difference(value: float, base: float) -> str:
    difference = f"{100 * (value - base):+.2f}"
    return f"{100 * value:.2f} (0)" if value == base else f"{100 * value:.2f} ({difference})"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    """Run the program."""
    sys.stdout.write(f"{rules_table()}\n\n{effect_tables()}\n")


if __name__ == "__main__":
    main()
