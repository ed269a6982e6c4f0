import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from speaq_hf import SpeaQConfig, SpeaQForSceneGraphGeneration
from speaq_hf.models.speaq.loss_speaq import (
    LayerPredictions,
    RelationAssigner,
    RelationTargets,
    SpeaQCriterion,
    cut_predicate_groups,
    cut_query_groups,
    reweight_predicates,
    span_relation_boxes,
)
from speaq_hf.models.speaq.query_matching_speaq import QueryBlock
from speaq_hf.models.speaq.vg150 import VG150_PREDICATE_COUNTS
from tests.helpers import REFERENCE, random_label, random_layers, read_reference, tiny_config


MATCHER_CASES = read_reference("matcher_cases.json")["cases"]
QUALITIES = {"max": "max", "min": "min", "gm": "geometric_mean", "am": "mean"}


def original_name(name: str) -> str:
    return name.replace("loss_class", "loss_ce").replace("loss_predicate", "loss_relation")


@pytest.fixture(scope="module")
def scenes() -> dict[str, Tensor]:
    return load_file(REFERENCE / "matcher_inputs.safetensors")


def scene_layers(scenes: dict[str, Tensor], scene: str, num_layers: int, multiplier: int) -> list[dict[str, Tensor]]:
    layers = []
    for layer in range(num_layers):
        read = {key: scenes[f"{scene}/layer_{layer}/{key}"].float() for key in
                ("subject_logits", "subject_boxes", "object_logits", "object_boxes")}  # fmt: skip
        outputs = {key: value.repeat_interleave(multiplier, dim=1) for key, value in read.items()}
        outputs["predicate_logits"] = scenes[f"{scene}/layer_{layer}/relation_logits"].float()
        outputs["relation_boxes"] = scenes[f"{scene}/layer_{layer}/relation_boxes"].float()
        layers.append(outputs)
    return layers


def scene_targets(scenes: dict[str, Tensor], scene: str, images: int) -> list[dict[str, Tensor]]:
    keys = {"class_labels": "combined_labels", "boxes": "combined_boxes", "relations": "image_relations"}
    return [{ours: scenes[f"{scene}/target_{i}/{theirs}"] for ours, theirs in keys.items()} for i in range(images)]


def assigner_of(case: dict) -> RelationAssigner:
    options = case["settings"]
    group_sizes = query_groups = None
    if case["matcher"] != "SpeaQHungarianMatcher":
        return RelationAssigner(scheme="one_to_one", per_layer=False)
    if options["USE_GROUP_MASK"]:
        groups = cut_predicate_groups(VG150_PREDICATE_COUNTS, options["NUM_GROUPS"])
        group_sizes = [next(g for g, group in enumerate(groups) if p in group) for p in range(50)]
        sizes = cut_query_groups(VG150_PREDICATE_COUNTS, groups, options["NUM_OBJECT_QUERIES"])
        query_groups = [size * options["MULTIPLY_QUERY"] for size in sizes]
    return RelationAssigner(
        scheme=options["ONE2MANY_SCHEME"],
        topk=options["ONE2MANY_K"],
        quality=QUALITIES[options.get("ONE2MANY_DYNAMIC_SCHEME", "max")],
        predicate_weight=options["ONE2MANY_PREDICATE_WEIGHT"] if options.get("ONE2MANY_PREDICATE_SCORE") else None,
        per_layer=options["MATCH_INDEPENDENT"],
        predicate_to_group=group_sizes,
        query_groups=query_groups,
    )


def case_inputs(scenes: dict[str, Tensor], case: dict) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    info = read_reference("matcher_cases.json")["scenes"][case["scene"]]
    layers = scene_layers(scenes, case["scene"], info["layers"], info["multiply_query"])
    if case["settings"].get("DEEP_SUPERVISION") is False:
        layers = layers[-1:]
    return layers, scene_targets(scenes, case["scene"], info["images"])


class TestRecordedMatchings:
    @pytest.mark.parametrize("case", [c for c in MATCHER_CASES if "error" not in c], ids=lambda c: c["name"])
    def test_matches_like_the_original(self, scenes, case):
        layers, targets = case_inputs(scenes, case)
        assigner = assigner_of(case)
        for image, (queries, relations, copies) in enumerate(assigner(layers, targets)[-1]):
            expected = case["images"][image]
            if "k_per_relation" in expected:
                assert copies.tolist() == expected["k_per_relation"]
            assert len(queries) == len(expected["query"])
            if not expected.get("overflow", case["overflow"]):
                rows = targets[image]["relations"]
                found = dict(zip(queries.tolist(), rows[relations].tolist(), strict=True))
                original = rows[torch.tensor(expected["original_relation"], dtype=torch.long)]
                assert found == dict(zip(expected["query"], original.tolist(), strict=True))

    @pytest.mark.parametrize("case", [c for c in MATCHER_CASES if "error" not in c], ids=lambda c: c["name"])
    def test_costs_as_much_as_the_original(self, scenes, case):
        layers, targets = case_inputs(scenes, case)
        costs = costs_of(assigner_of(case), layers, targets)
        matched = assigner_of(case)(layers, targets)[-1]
        for (queries, relations, _), cost, expected in zip(matched, costs, case["images"], strict=True):
            total = cost[queries, relations].double().sum().item()
            assert total == pytest.approx(expected["total_cost"], rel=1e-5, abs=1e-6)

    @pytest.mark.parametrize("case", [c for c in MATCHER_CASES if c.get("cost_recorded")], ids=lambda c: c["name"])
    def test_cost_matrices(self, scenes, case):
        recorded = load_file(REFERENCE / "matcher_costs.safetensors")
        layers, targets = case_inputs(scenes, case)
        assigner = assigner_of(case)
        matched = assigner(layers, targets)[-1]
        for image, (cost, (_, _, copies)) in enumerate(zip(costs_of(assigner, layers, targets), matched, strict=True)):
            expected = recorded[f"{case['name']}/image_{image}"]
            torch.testing.assert_close(cost.repeat_interleave(copies, dim=1), expected, rtol=1e-5, atol=1e-4)


def costs_of(assigner: RelationAssigner, layers: list, targets: list) -> list[Tensor]:
    """Cost matrix `(R, r)` of each image in the last layer, with all queries."""
    gathered = RelationTargets.from_labels(targets, 150, 50, torch.device("cpu"))
    images = np.arange(len(gathered.counts)).repeat(gathered.counts)
    groups, sizes = np.zeros_like(images), [layers[0]["relation_boxes"].shape[1]]
    if assigner.predicate_to_group is not None:
        groups, sizes = np.array(assigner.predicate_to_group)[gathered.predicates], assigner.query_groups
    block = QueryBlock(np.arange(len(images)), images, 0, sum(sizes), groups, sizes)
    (costs,), _ = assigner._costs_and_copies(LayerPredictions.from_layers(layers), gathered, [block])
    outside = block.out_of_group()
    cost = costs[-1] if outside is None else costs[-1] + 1e6 * outside.astype(np.float32)
    return torch.from_numpy(cost).T.split(gathered.counts, dim=1)


class TestGroups:
    @pytest.mark.parametrize("table", read_reference("groups.json")["tables"], ids=lambda t: f"{t['object_queries']}-{t['num_groups']}")  # fmt: skip
    def test_recorded_groups(self, table):
        groups = cut_predicate_groups(VG150_PREDICATE_COUNTS, table["num_groups"])
        assert [len(group) for group in groups] == table["predicates_per_group"]
        assert cut_query_groups(VG150_PREDICATE_COUNTS, groups, table["object_queries"]) == table["queries_per_group"]
        for predicate, group in enumerate(table.get("predicate_to_group", [])):
            assert predicate in groups[group]

    @given(st.lists(st.integers(0, 10**6), min_size=1, max_size=60), st.data())
    def test_every_predicate_and_every_query_is_in_one_group(self, counts, data):
        num_groups = data.draw(st.integers(1, len(counts)))
        num_queries = data.draw(st.integers(num_groups, 300))
        groups = cut_predicate_groups(counts, num_groups)
        assert sorted(predicate for group in groups for predicate in group) == list(range(len(counts)))
        assert all(len(set(group)) == len(group) for group in groups)
        sizes = cut_query_groups(counts, groups, num_queries)
        assert sum(sizes) == num_queries and min(sizes) >= 0


class TestAssigner:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10**6), st.lists(st.integers(0, 12), min_size=1, max_size=3), st.sampled_from(["dynamic", "static", "one_to_one"]))  # fmt: skip
    def test_each_query_serves_one_relation_and_each_relation_its_copies(self, seed, counts, scheme):
        layers = random_layers(images=len(counts), queries=50, seed=seed)
        targets = [random_label(4, r, seed + i) for i, r in enumerate(counts)]
        for layer in RelationAssigner(scheme=scheme)(layers, targets):
            for (queries, relations, copies), count in zip(layer, counts, strict=True):
                assert len(set(queries.tolist())) == len(queries)
                assert queries.tolist() == sorted(queries.tolist())
                assert relations.bincount(minlength=count).tolist() == copies.tolist()
                assert {"one_to_one": {1}, "static": {4}, "dynamic": {1, 2, 3, 4}}[scheme] >= set(copies.tolist())

    def test_more_relations_than_queries(self):
        layers, targets = random_layers(images=1, queries=3), [random_label(5, 9)]
        ((queries, relations, copies),) = RelationAssigner(scheme="static")(layers, targets)[-1]
        assert queries.tolist() == [0, 1, 2] and len(relations) == 3 and copies.tolist() == [4] * 9

    def test_joint_matching_is_shared_by_all_layers(self):
        layers, targets = random_layers(), [random_label(4, 3), random_label(4, 2, 1)]
        first, last = RelationAssigner(scheme="one_to_one", per_layer=False)(layers, targets)
        for (queries, relations, _), (other_queries, other_relations, _) in zip(first, last, strict=True):
            assert torch.equal(queries, other_queries) and torch.equal(relations, other_relations)

    def test_queries_stay_in_their_group_while_there_is_room(self):
        config = tiny_config()
        assigner = RelationAssigner.from_config(config)
        boundary = assigner.query_groups[0]
        layers, targets = random_layers(images=1), [random_label(6, 8)]
        assigner.scheme = "one_to_one"
        for ((queries, relations, _),) in assigner(layers, targets):
            predicates = targets[0]["relations"][relations, 2]
            for query, predicate in zip(queries.tolist(), predicates.tolist(), strict=True):
                assert (query >= boundary) == (assigner.predicate_to_group[predicate] == 1)

    def test_groups_without_counts_are_refused(self):
        config = tiny_config(group_predicate_counts=None)
        with pytest.raises(ValueError, match="group_predicate_counts"):
            RelationAssigner.from_config(config)

    def test_nan_predictions_do_not_stop_the_solver(self):
        layers = random_layers(images=1)
        for layer in layers:
            layer["subject_boxes"][:] = float("nan")
        ((queries, _, _),) = RelationAssigner()(layers, [random_label(3, 2)])[-1]
        assert len(queries) >= 2


class TestClassWeights:
    def test_recorded_weights(self):
        recorded = load_file(REFERENCE / "statistics.safetensors")
        for name in ("speaq", "baseline"):
            options = read_reference(f"config_{name}.json")
            weights = reweight_predicates(
                recorded["fg_rel_count"][:-1].tolist(),
                options["MODEL.DETR.OVERSAMPLE_PARAM"],
                options["MODEL.DETR.UNDERSAMPLE_PARAM"] / 2,
                options["MODEL.DETR.REWEIGHT_REL_EOS_COEF"],
            )
            torch.testing.assert_close(torch.tensor(weights), recorded[f"empty_rel_weight_{name}"].float())

    def test_recorded_weights_of_mixed_training(self):
        expected = torch.tensor(read_reference("weighted_loss.json")["relation_class_weights"]["fork"])
        counts = load_file(REFERENCE / "statistics.safetensors")["fg_rel_count"][:-1].tolist()
        config = SpeaQConfig(predicate_counts=counts, loss_weight_scope="relation_matched")
        assert expected[:-1].min() < 1  # unlike the published model's
        torch.testing.assert_close(torch.tensor(SpeaQCriterion.from_config(config).predicate_weights), expected)

    def test_zero_alpha_and_beta_weigh_all_alike(self):
        assert reweight_predicates([5, 1, 0], 0, 0, 0.1) == [1, 1, 1, 0.1]

    @pytest.mark.parametrize("counts", [[0, 0], [1, math.nan], [math.inf, 1], [3, -1]])
    def test_unusable_counts_weigh_all_alike(self, counts):
        assert reweight_predicates(counts, 0.07, 0.75, 0.2) == [1, 1, 0.2]


class TestRelationBoxes:
    @pytest.mark.parametrize("name", "ABDE")
    def test_recorded_boxes(self, name):
        recorded = load_file(REFERENCE / "criterion.safetensors")
        for image in range(2):
            prefix = f"targets_{name}/{image}/prepared/"
            boxes = span_relation_boxes(recorded[prefix + "subject_boxes"], recorded[prefix + "object_boxes"])
            torch.testing.assert_close(boxes, recorded[prefix + "relation_boxes"], rtol=1e-6, atol=1e-6)


def criterion_labels(name: str, batch: dict[str, Tensor]) -> list[dict]:
    recorded = load_file(REFERENCE / "criterion.safetensors")
    labels = []
    for image in range(2):
        prefix = f"targets_{name}/{image}/"
        x1, y1, x2, y2 = recorded[prefix + "gt_boxes_xyxy"].reshape(-1, 4).unbind(dim=1)
        mask = batch["pixel_mask"][image]
        size = torch.stack([mask[0].sum(), mask[:, 0].sum()]).repeat(2)
        boxes = torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], dim=1) / size
        relations = recorded[prefix + "relations"].reshape(-1, 3)
        labels.append({"class_labels": recorded[prefix + "gt_classes"], "boxes": boxes, "relations": relations})
    return labels


def assert_losses(loss_dict: dict[str, Tensor], expected: dict[str, float]) -> None:
    ours = {original_name(name): value.item() for name, value in loss_dict.items() if "/" not in name}
    original = {name: value for name, value in expected.items() if name.startswith("loss_") and "_real" not in name and "_synthetic" not in name}  # fmt: skip
    assert ours.keys() == original.keys()
    for name, value in original.items():
        assert ours[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


class TestRecordedLosses:
    @pytest.mark.parametrize("name", "ABCDE")
    def test_losses_and_gradients(self, model, variant, batch, name):
        expected = read_reference("criterion.json")[f"{variant}/{name}"]
        disable_dropout(model)
        outputs = model(**batch, labels=criterion_labels(name, batch))
        assert_losses(outputs.loss_dict, expected["unweighted"])
        assert outputs.loss.item() == pytest.approx(expected["total"], rel=1e-4)
        outputs.loss.backward()
        norms = [p.grad.norm() for p in model.parameters() if p.grad is not None]
        assert len(norms) == sum(p.requires_grad for p in model.parameters())
        assert torch.stack(norms).norm().item() == pytest.approx(expected["total_grad_norm"], rel=1e-3)
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        checked = 0
        for original, norm in expected["grad_norms"].items():
            ours = [gradients[n].flatten() for n in names_of(original)]
            checked += 1
            assert torch.cat(ours).norm().item() == pytest.approx(norm, rel=1e-3, abs=1e-5), original
        assert checked > 5

    @pytest.mark.parametrize("case", ["ones", "half", "quarter_double", "absent", "half_without_types", "both_real"])
    @pytest.mark.parametrize("name", "ABCDE")
    @pytest.mark.parametrize("variant", ["speaq"], indirect=True)
    def test_published_weighting(self, model, batch, name, case):
        recorded = read_reference("weighted_loss.json")
        expected = recorded["results"].get(f"{name}/{case}/fork")
        if expected is None:
            pytest.skip("not recorded")
        disable_dropout(model)
        model.config.loss_weight_scope = "relation_matched"
        model.config.predicate_class_weights = recorded["relation_class_weights"]["fork"]
        labels = criterion_labels(name, batch)
        for label, weight in zip(labels, recorded["cases"][case]["loss_weight"] or [], strict=False):
            label["loss_weight"] = weight
        sources = recorded["cases"][case].get("dataset_type") or []
        for label, source in zip(labels, sources, strict=False):
            label["source"] = source
        outputs = model(**batch, labels=labels)
        assert_losses(outputs.loss_dict, expected["unweighted"])
        assert outputs.loss.item() == pytest.approx(expected["total"], rel=1e-4)
        for kind in ("predicate", "bbox_relation", "giou_relation"):
            original = kind.replace("predicate", "relation")
            for source in set(sources):
                theirs = expected["unweighted"][f"loss_{original}_{source}"]
                if theirs:  # the original has no number for a source without a matched query
                    assert outputs.loss_dict[f"loss_{kind}/{source}"].item() == pytest.approx(theirs, rel=1e-3), kind


def disable_dropout(model: SpeaQForSceneGraphGeneration) -> None:
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0


def names_of(original: str) -> list[str]:
    from conversion.detectron2_weights import _cut_attention, rename

    dummy = torch.zeros(3)
    return [name for name, _ in _cut_attention(rename(original), dummy)]


class TestLossWeight:
    def setup_method(self):
        self.layers = random_layers(images=3)
        self.labels = [random_label(5, 4, 1), random_label(2, 0, 2), random_label(6, 7, 3)]
        self.criterion = SpeaQCriterion.from_config(tiny_config())

    def weighted(self, *weights: float) -> tuple[Tensor, dict[str, Tensor]]:
        labels = [label | {"loss_weight": w} for label, w in zip(self.labels, weights, strict=True)]
        return self.criterion(self.layers, labels)

    def test_weight_one_equals_no_weight_bit_for_bit(self):
        loss, losses = self.criterion(self.layers, self.labels)
        same, same_losses = self.weighted(1.0, 1.0, 1.0)
        assert torch.equal(loss, same)
        assert all(torch.equal(losses[name], same_losses[name]) for name in losses)

    @settings(max_examples=20, deadline=None)
    @given(st.floats(0.01, 10))
    def test_a_weight_on_every_image_scales_every_loss(self, weight):
        _, losses = self.criterion(self.layers, self.labels)
        _, scaled = self.weighted(weight, weight, weight)
        for name, value in losses.items():
            torch.testing.assert_close(scaled[name], value * weight)

    def test_loss_is_linear_in_the_weights(self):
        parts = [self.weighted(*row)[0] for row in torch.eye(3).tolist()]
        loss, _ = self.weighted(0.5, 2.0, 3.0)
        torch.testing.assert_close(loss, 0.5 * parts[0] + 2.0 * parts[1] + 3.0 * parts[2])

    @pytest.mark.parametrize("scope", ["all", "relation_matched"])
    def test_losses_of_a_source_are_those_of_its_images_alone(self, scope):
        criterion = replace(self.criterion, loss_weight_scope=scope)
        sources, rows = ("real", "synthetic", "real"), {"real": [0, 2], "synthetic": [1]}
        weights = (1.0, 0.5, 0.25)
        labels = [
            label | {"loss_weight": weight, "source": source}
            for label, weight, source in zip(self.labels, weights, sources, strict=True)
        ]
        _, losses = criterion(self.layers, labels)
        assert all(f"loss_bbox_object/{source}" in losses for source in rows)
        for source, images in rows.items():
            layers = [{name: values[images] for name, values in layer.items()} for layer in self.layers]
            _, alone = criterion(layers, [self.labels[image] for image in images])
            for name in (name for name in losses if name.endswith(f"/{source}")):
                if scope == "relation_matched" and name == "loss_predicate/synthetic":
                    continue  # no relation at all: the published code then looks at the background, alone
                torch.testing.assert_close(losses[name], alone[name.removesuffix(f"/{source}")])
        assert not any("/" in name for name in criterion(self.layers, self.labels)[1])

    @pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf, 1e39, "heavy", [1.0, 2.0]])
    def test_senseless_weights_are_refused(self, weight):
        with pytest.raises(ValueError, match=r"labels\[1\]\['loss_weight'\]"):
            self.weighted(1.0, weight, 1.0)


class TestCriterion:
    def test_batch_without_relations_trains_background(self):
        layers = random_layers()
        for layer in layers:
            for name in layer:
                layer[name].requires_grad_()
        criterion = SpeaQCriterion.from_config(tiny_config())
        loss, losses = criterion(layers, [random_label(0, 0), random_label(3, 0)])
        loss.backward()
        assert losses["loss_class_subject"] > 0 and losses["loss_bbox_subject"] == 0
        # Every output has a gradient, so that data-parallel training does not wait for one that never comes.
        assert all(value.grad is not None for layer in layers for value in layer.values())

    def test_no_background_weight_and_no_relations(self):
        config = tiny_config(eos_coefficient=0, predicate_eos_coefficient=0)
        loss, _ = SpeaQCriterion.from_config(config)(random_layers(images=1), [random_label(2, 0)])
        assert loss == 0

    @pytest.mark.parametrize("images", [1, 2])
    def test_duplicating_the_batch_keeps_the_loss(self, images):
        layers, labels = random_layers(images=images), [random_label(4, 3, i) for i in range(images)]
        criterion = SpeaQCriterion.from_config(tiny_config())
        doubled = [{name: value.repeat(2, 1, 1) for name, value in layer.items()} for layer in layers]
        torch.testing.assert_close(criterion(doubled, labels * 2)[0], criterion(layers, labels)[0])

    def test_autocast_does_not_change_the_loss(self):
        layers, labels = random_layers(), [random_label(4, 3), random_label(4, 2, 1)]
        criterion = SpeaQCriterion.from_config(tiny_config())
        half = [{name: value.bfloat16() for name, value in layer.items()} for layer in layers]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, _ = criterion(half, labels)
        assert loss.dtype == torch.float32
        upcast = [{name: value.float() for name, value in layer.items()} for layer in half]
        assert torch.equal(loss, criterion(upcast, labels)[0])

    def test_layer_suffixes(self):
        criterion = SpeaQCriterion.from_config(tiny_config())
        _, losses = criterion(random_layers(num_layers=3, images=1), [random_label(3, 2)])
        last = {name for name in losses if not name[-1].isdigit()}
        assert len(last) == 9
        assert losses.keys() == last | {f"{name}_{layer}" for name in last for layer in (0, 1)}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"relations": torch.tensor([[0, 4, 1]])}, r"labels\[0\]\['relations'\]\[:, :2\] must lie in \[0, 4\)"),
            ({"relations": torch.tensor([[0, 1, 5]])}, r"config.num_predicates"),
            ({"relations": torch.tensor([[-1, 1, 0]])}, r"got \[-1\]"),
            ({"class_labels": torch.tensor([0, 1, 2, 6])}, r"config.num_labels"),
            ({"class_labels": torch.tensor([0, 1])}, r"2 class_labels but 4 boxes"),
            ({"boxes": torch.full((4, 4), math.nan)}, r"must be finite"),
            ({"boxes": torch.full((4, 4), math.inf)}, r"must be finite"),
            ({"boxes": torch.zeros(2, 8)}, r"labels\[0\]\['boxes'\] must have shape \(rows, 4\), got \(2, 8\)"),
            ({"boxes": torch.zeros(4, 5)}, r"\['boxes'\].*got \(4, 5\)"),
            ({"boxes": torch.tensor([[0.5, 0.5, -0.1, 0.2]] * 4)}, r"\['boxes'\].*w, h ≥ 0"),
            ({"boxes": torch.tensor([[200.0, 100, 40, 30]] * 4)}, r"\['boxes'\].*not pixels.*200.0"),
            ({"relations": torch.tensor([0, 1, 2])}, r"\['relations'\] must have shape \(rows, 3\), got \(3,\)"),
            ({"relations": torch.tensor([[0, 1], [1, 2], [2, 0]])}, r"\['relations'\].*got \(3, 2\)"),
            ({"relations": None}, r"\['relations'\] must have shape \(rows, 3\), got NoneType"),
            ({"relations": [[0, 1, 2], [0, 1]]}, r"\['relations'\] must have shape \(rows, 3\), got list"),
            ({"class_labels": torch.zeros(2, 2, dtype=torch.long)}, r"\['class_labels'\].*\(rows,\), got \(2, 2\)"),
        ],
    )
    def test_wrong_labels_are_named(self, change, message):
        criterion = SpeaQCriterion.from_config(tiny_config())
        with pytest.raises(ValueError, match=message):
            criterion(random_layers(images=1), [random_label(4, 2) | change])

    @pytest.mark.parametrize(
        ("label", "message"),
        [
            (None, r"labels\[1\] must be a dict with class_labels.*got NoneType"),
            (
                random_label(2, 1) | {"class_labels": torch.tensor([0.0, 1.0])},
                r"labels\[1\]\['class_labels'\].*float32",
            ),
            (random_label(2, 1) | {"relations": torch.tensor([[0.0, 1, 2]])}, r"labels\[1\]\['relations'\].*float32"),
            (random_label(2, 1) | {"class_labels": torch.tensor([True, False])}, r"\['class_labels'\].*bool"),
        ],
    )
    def test_labels_of_the_wrong_type_are_named(self, label, message):
        criterion = SpeaQCriterion.from_config(tiny_config())
        with pytest.raises(TypeError, match=message):
            criterion(random_layers(), [random_label(4, 2), label])

    @pytest.mark.parametrize(
        ("field", "row", "message"),
        [
            ("class_labels", 9, r"labels\[2\]\['class_labels'\] must lie in \[0, 6\)"),
            (
                "relations",
                torch.tensor([0, 3, 1]),
                r"labels\[2\]\['relations'\]\[:, :2\] must lie in \[0, 3\).*got \[3\]",
            ),
            (
                "relations",
                torch.tensor([0, 1, 7]),
                r"labels\[2\]\['relations'\]\[:, 2\].*config.num_predicates.*got \[7\]",
            ),
            ("boxes", torch.tensor([0.5, 0.5, 3.0, 0.1]), r"labels\[2\]\['boxes'\]"),
        ],
    )
    def test_the_image_of_a_wrong_row_is_named(self, field, row, message):
        labels = [random_label(4, 2), random_label(0, 0), random_label(3, 2), random_label(5, 1)]
        labels[2][field][-1] = row
        with pytest.raises(ValueError, match=message):
            SpeaQCriterion.from_config(tiny_config())(random_layers(images=4), labels)

    def test_empty_fields_of_any_layout_and_lists_are_understood(self):
        criterion, layers = SpeaQCriterion.from_config(tiny_config()), random_layers()
        expected = random_label(3, 2)
        lists = {name: value.tolist() for name, value in expected.items()} | {"loss_weight": None}
        empty = {"class_labels": [], "boxes": torch.zeros(0), "relations": torch.zeros(0, 5)}
        loss, _ = criterion(layers, [lists, empty])
        assert torch.equal(loss, criterion(layers, [expected, random_label(0, 0)])[0])

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
    @pytest.mark.parametrize("scope", ["all", "relation_matched"])
    def test_the_default_dtype_does_not_matter(self, dtype, scope):
        layers = random_layers()
        labels = [random_label(4, 3) | {"source": "real"}, random_label(4, 2, 1) | {"loss_weight": 0.5}]
        criterion = SpeaQCriterion.from_config(tiny_config(loss_weight_scope=scope, predicate_counts=[9, 7, 5, 3, 1]))
        expected, expected_losses = criterion(layers, labels)
        lists = [
            {name: value.tolist() if torch.is_tensor(value) else value for name, value in label.items()}
            for label in labels
        ]
        before = torch.get_default_dtype()
        try:
            torch.set_default_dtype(dtype)
            loss, losses = criterion(layers, labels)
            own, _ = criterion([{name: value.to(dtype) for name, value in layer.items()} for layer in layers], lists)
        finally:
            torch.set_default_dtype(before)
        assert loss.dtype == torch.float32 and torch.equal(loss, expected)
        assert all(torch.equal(losses[name], value) for name, value in expected_losses.items())
        assert own.isfinite() and own.dtype == torch.promote_types(dtype, torch.float32)

    def test_missing_field_and_missing_image_are_named(self):
        criterion = SpeaQCriterion.from_config(tiny_config())
        label = random_label(2, 1)
        with pytest.raises(ValueError, match="one entry per image"):
            criterion(random_layers(images=2), [label])
        incomplete = copy.copy(label)
        del incomplete["relations"]
        with pytest.raises(ValueError, match=r"labels\[0\] lacks \['relations'\]"):
            criterion(random_layers(images=1), [incomplete])
