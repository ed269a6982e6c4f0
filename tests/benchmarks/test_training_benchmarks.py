"""The programs that measure training run, and the plain path they measure beside ours gives the same losses."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from benchmarks import assignment, training_step
from benchmarks.plain_criterion import PlainCriterion, PlainMatcher
from speaq_hf.models.speaq.loss_speaq import RelationAssigner, SpeaQCriterion
from tests.helpers import REFERENCE, random_label, random_layers, tiny_config
from tests.models.speaq.test_loss_speaq import MATCHER_CASES, assigner_of, case_inputs


def assert_equal_to_ours(config, layers, labels):
    (plain, terms), (ours, expected) = (
        criterion(layers, labels) for criterion in (PlainCriterion(config), SpeaQCriterion.from_config(config))
    )
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    assert terms.keys() == expected.keys()
    for name, value in terms.items():
        torch.testing.assert_close(expected[name], value, rtol=1e-4, atol=1e-5, msg=name)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(0, 12), min_size=1, max_size=3),
    st.sampled_from(["dynamic", "static", "one_to_one"]),
    st.sampled_from(["max", "min", "geometric_mean", "mean"]),
    st.sampled_from([None, -0.5, 0.5]),
    st.integers(1, 4),
)
def test_plain_and_ours_agree_with_full_groups_too(seed, counts, scheme, quality, weight, groups):
    fields = {"assignment": scheme, "assignment_quality": quality, "assignment_predicate_weight": weight}
    config = tiny_config(num_query_groups=groups, predicate_counts=[9, 7, 5, 3, 1], **fields)
    layers = random_layers(images=len(counts), seed=seed)
    assert_equal_to_ours(config, layers, [random_label(4, r, seed + i) for i, r in enumerate(counts)])


def test_more_relations_than_queries():
    assert_equal_to_ours(tiny_config(), random_layers(), [random_label(6, 40), random_label(3, 25, 1)])


@pytest.mark.parametrize(
    "case",
    [c for c in MATCHER_CASES if "error" not in c and c["settings"].get("MATCH_INDEPENDENT")],
    ids=lambda c: c["name"],
)
def test_recorded_cases(case):
    layers, targets = case_inputs(load_file(REFERENCE / "matcher_inputs.safetensors"), case)
    from benchmarks.plain_criterion import prepare_targets

    assigner: RelationAssigner = assigner_of(case)
    for outputs, ours in zip(layers, assigner(layers, targets), strict=True):
        for plain, found in zip(PlainMatcher(assigner)(outputs, prepare_targets(targets)), ours, strict=True):
            if not case["overflow"]:
                assert all(torch.equal(a, b) for a, b in zip(plain, found, strict=True))


def test_the_assignment_benchmark_runs(tmp_path):
    assignment.main(["--quick", "--output", str(tmp_path / "figures.json")])
    results = json.loads((tmp_path / "figures.json").read_text())["results"]
    assert [row["relations_per_image"] for row in results] == [1, 3]
    assert results[0]["forward"]["ours"]["times_faster"] > 0


def test_the_training_benchmark_runs(tmp_path, capsys):
    training_step.main(["--quick", "--output", str(tmp_path / "figures.json")])
    report = json.loads((tmp_path / "figures.json").read_text())
    assert (
        report["times"].keys() == report["stages"].keys() == report["memory"].keys() == {"plain", *training_step.FAST}
    )
    assert "bf16, checkpointing" in capsys.readouterr().out
