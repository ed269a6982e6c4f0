"""Long tails follow the exponent asked for; the held-out triplets follow their share."""

import json
from collections import Counter

import numpy as np
import pytest

from speaq_hf.data.affordances import AFFORDANCES
from speaq_hf.data.domains import DOMAINS
from speaq_hf.data.everyday_world import EVERYDAY
from speaq_hf.data.generator import generate_synthetic_genome
from speaq_hf.data.scenes import SceneComplexity, compose_scene
from speaq_hf.data.triplet_distribution import TripletDistribution


RANKING = EVERYDAY.ranking
FEW = SceneComplexity(min_objects=2, max_objects=4, min_relations=1, max_relations=4)
EXPONENTS = (0.0, 1.0, 2.0)


def predicate_counts(exponent):
    distribution = TripletDistribution(predicate_zipf=exponent)
    weights, counts = distribution.predicate_weights(FEW), Counter()
    for index in range(400):
        scene = compose_scene(np.random.default_rng([9, index]), 1, 1, FEW, distribution.held_out(), weights)
        counts.update(name for *_, name in scene.relations)
    return np.array([counts[name] for name in RANKING])


def fitted_exponent(counts):
    """Slope of log frequency over log rank."""
    return -np.polyfit(np.log(np.arange(1, len(counts) + 1)), np.log(counts + 0.5), 1)[0]


@pytest.fixture(scope="module")
def counts():
    return {exponent: predicate_counts(exponent) for exponent in EXPONENTS}


def test_ranks_cover_all_generated_predicates():
    assert sorted(RANKING) == sorted({name for entry in AFFORDANCES.values() for name in entry.predicates})


def test_the_fitted_exponent_follows_the_knob(counts):
    fitted = [fitted_exponent(counts[exponent]) for exponent in EXPONENTS]
    assert fitted == pytest.approx(EXPONENTS, abs=0.3)
    assert (np.diff(fitted) > 0.5).all()


def test_frequencies_are_close_to_the_law(counts):
    for exponent in (1.0, 2.0):
        law = np.arange(1, len(RANKING) + 1) ** -exponent
        distance = np.abs(counts[exponent] / counts[exponent].sum() - law / law.sum()).sum() / 2
        assert distance < 0.15, exponent


def test_a_larger_exponent_has_a_rarer_tail(counts):
    tails = [counts[exponent][8:].sum() / counts[exponent].sum() for exponent in EXPONENTS]
    assert (np.diff(tails) < 0).all()
    assert tails[-1] < 0.1 < 0.35 < tails[0]


def test_no_exponent_leaves_composition_alone():
    assert TripletDistribution().predicate_weights(FEW) == {}


def test_a_smaller_share_holds_out_a_part():
    nothing, some, more, everything = (
        TripletDistribution(held_out_share=share).held_out() for share in (0, 0.1, 0.4, 1)
    )
    assert nothing < some < more < everything
    assert not nothing
    usual = {(pair[0], next(iter(entry.predicates)), pair[1]) for pair, entry in AFFORDANCES.items()}
    every = {(pair[0], name, pair[1]) for pair, entry in AFFORDANCES.items() for name in entry.predicates}
    assert everything == every - usual


def test_the_share_reaches_the_set_and_is_recorded(tmp_path):
    distribution = TripletDistribution(held_out_share=1.0)
    generate_synthetic_genome(
        tmp_path, 60, image_size=32, distribution=distribution, complexity=FEW, split_shares=(1, 0, 0), num_workers=1
    )
    content = json.loads((tmp_path / "synthetic-SGG-dicts-with-attri.json").read_text())
    assert content["generator"]["distribution"] == {"predicate_zipf": None, "held_out_share": 1.0}
    shown = {name for name, count in content["predicate_count"].items() if count}
    # What is left are the usual predicates of the pairs.
    assert shown <= {next(iter(entry.predicates)) for entry in AFFORDANCES.values()}


def test_two_sets_have_their_own_distributions(tmp_path):
    def tail(domain, distribution, ranks):
        root = generate_synthetic_genome(
            tmp_path, 150, image_size=32, domain=domain, distribution=distribution, complexity=FEW, num_workers=1
        )
        content = json.loads((root / DOMAINS[domain].files.categories).read_text())
        assert content["generator"]["predicate_weights"].keys() == ranks
        frequencies = content["predicate_count"]
        return sum(frequencies[name] for name in RANKING[8:]) / sum(frequencies.values())

    rare, usual = TripletDistribution(predicate_zipf=2.0), TripletDistribution()
    assert tail("real", rare, set(RANKING)) < 0.15 < 0.25 < tail("synthetic", usual, set())


@pytest.mark.parametrize(
    "field", [{"predicate_zipf": -1}, {"predicate_zipf": float("nan")}, {"predicate_zipf": 4}, {"held_out_share": 1.1}]
)
def test_impossible_distributions_are_refused(field):
    with pytest.raises(ValueError, match=next(iter(field))):
        TripletDistribution(**field)
