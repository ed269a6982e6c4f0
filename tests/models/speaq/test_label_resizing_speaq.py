"""What was learned about a class goes with its name to a model with another vocabulary."""

import contextlib
import logging

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import AutoConfig, AutoModelForObjectDetection

from speaq_hf import AutoModelForSceneGraphGeneration, SpeaQConfig, SpeaQForSceneGraphGeneration
from tests.helpers import random_label, tiny_config


OBJECTS = ["person", "horse", "hat", "table", "cup", "tree"]
PREDICATES = ["on", "near", "wearing", "riding", "behind"]
NAMES = st.lists(st.sampled_from([*OBJECTS, *PREDICATES, "zebra", "kite", "under"]), min_size=1, unique=True)


def model_with_distinct_rows():
    torch.manual_seed(0)
    model = SpeaQForSceneGraphGeneration(
        tiny_config(predicate_counts=[5, 4, 3, 2, 1], object_counts=[6, 5, 4, 3, 2, 1])
    )
    with torch.no_grad():
        for head in (model.class_head, model.predicate_head):
            head.bias.copy_(torch.arange(1.0, len(head.bias) + 1))
    return model.eval()


@pytest.fixture
def model():
    return model_with_distinct_rows()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    model_with_distinct_rows().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def original():
    return model_with_distinct_rows()


def vocabulary(names):
    return dict(enumerate(names))


def assert_rows_follow(head, names, old_head, old_names):
    """Shared rows and the background's are the same; the others are not those of anybody, and start without bias."""
    assert head.weight.shape == (len(names) + 1, 32) and head.bias.shape == (len(names) + 1,)
    assert head.out_features == len(names) + 1
    for row, name in enumerate([*names, "background"]):
        if name in [*old_names, "background"]:
            old = [*old_names, "background"].index(name)
            assert torch.equal(head.weight[row], old_head.weight[old]) and head.bias[row] == old_head.bias[old]
        else:
            assert head.bias[row] == 0 and head.weight[row].abs().sum() > 0
            assert not any(torch.equal(head.weight[row], other) for other in old_head.weight)


@contextlib.contextmanager
def warnings_of(caplog):
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        yield caplog


class TestResizeLabels:
    def test_rows_follow_names(self, model, original):
        model.resize_labels(vocabulary(["tree", "zebra", "person"]), vocabulary(["behind", "under", "on"]))
        assert_rows_follow(model.class_head, ["tree", "zebra", "person"], original.class_head, OBJECTS)
        assert_rows_follow(model.predicate_head, ["behind", "under", "on"], original.predicate_head, PREDICATES)

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(objects=NAMES, predicates=NAMES)
    def test_any_vocabularies(self, original, objects, predicates):
        model = model_with_distinct_rows()
        model.resize_labels(vocabulary(objects), vocabulary(predicates), num_query_groups=1)
        assert_rows_follow(model.class_head, objects, original.class_head, OBJECTS)
        assert_rows_follow(model.predicate_head, predicates, original.predicate_head, PREDICATES)

    def test_there_and_back(self, model, original):
        """Through a larger vocabulary in another order nothing is lost."""
        before = {name: value.clone() for name, value in model.state_dict().items()}
        model.resize_labels(vocabulary(["zebra", *OBJECTS[::-1]]), vocabulary([*PREDICATES[::-1], "under"]))
        model.resize_labels(vocabulary(OBJECTS), vocabulary(PREDICATES))
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())

    def test_configuration_is_that_of_the_new_vocabulary(self, model):
        held = model.model.decoder.config
        model.resize_labels(id2predicate=vocabulary(["on", "under"]), predicate_counts=[7, 3])
        config = model.config
        assert held is config
        assert (config.num_predicates, config.predicate2id) == (2, {"on": 0, "under": 1})
        assert (config.predicate_counts, config.group_predicate_counts) == ([7, 3], [7, 3])
        assert config.object_counts == [6, 5, 4, 3, 2, 1] and config.num_labels == 6
        model.resize_labels(id2label=vocabulary(["zebra"]))
        assert (config.num_labels, config.label2id, config.object_counts) == (1, {"zebra": 0}, None)
        assert config.predicate_counts == [7, 3]

    def test_what_was_resized_is_trained_saved_and_loaded(self, model, tmp_path):
        model.resize_labels(
            vocabulary(OBJECTS[::-1]), vocabulary([*PREDICATES, "under"]), predicate_counts=[6, 5, 4, 3, 2, 1]
        )
        pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        outputs = model.train()(pixels, labels=[random_label(3, 2)])
        outputs.loss.backward()
        assert model.class_head.weight.grad.abs().sum() > 0 and outputs.predicate_logits.shape == (1, 20, 7)
        model.save_pretrained(tmp_path)
        loaded, report = SpeaQForSceneGraphGeneration.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(report.values()) and loaded.config.id2label == vocabulary(OBJECTS[::-1])
        assert torch.equal(loaded(pixels).predicate_logits, model.eval()(pixels).predicate_logits)

    def test_parameters_stay_frozen_and_keep_their_format(self, model):
        model.to(torch.bfloat16).class_head.requires_grad_(False)
        model.resize_labels(vocabulary(["tree", "zebra"]), vocabulary(["on", "under"]))
        assert not model.class_head.weight.requires_grad and model.predicate_head.weight.requires_grad
        assert {p.dtype for p in (*model.class_head.parameters(), *model.predicate_head.parameters())} == {
            torch.bfloat16
        }

    def test_what_is_kept_is_not_touched(self, model):
        parameters = dict(model.named_parameters())
        model.resize_labels(id2label=vocabulary(["tree"]))
        new = {name for name, value in model.named_parameters() if value is not parameters[name]}
        assert new == {"class_head.weight", "class_head.bias"}
        model.resize_labels()
        model.resize_labels(vocabulary(["tree"]))
        assert {name for name, value in model.named_parameters() if value is not parameters[name]} == new

    def test_new_names_are_logged(self, model, caplog):
        with warnings_of(caplog):
            model.resize_labels(vocabulary(["tree", "zebra", "person"]))
        assert (
            "`class_head`: 2 of 3 names keep their rows; 4 are dropped: horse, hat, table, cup; 1 start" in caplog.text
        )
        assert "random numbers and need training: zebra." in caplog.text and "predicate_head" not in caplog.text
        with warnings_of(caplog):
            model.resize_labels(vocabulary(["person", "tree"]))
        assert not caplog.messages

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"id2predicate": {0: "on"}}, "`num_query_groups` .2. must not exceed the number of predicates"),
            ({"id2label": {1: "person"}}, "`id2label` must map 0, 1, 2"),
            ({"id2label": {0: "a", 1: "a"}}, "`id2label` has duplicate names"),
            ({"id2predicate": {0: "on", 1: "in"}, "predicate_counts": [1]}, "predicate_counts` needs 2 entries"),
            ({"id2label": {0: "a"}, "d_model": 64}, "changes vocabularies, got .'d_model'."),
        ],
    )
    def test_what_does_not_fit_changes_nothing(self, model, original, arguments, message):
        with pytest.raises(ValueError, match=message):
            model.resize_labels(**arguments)
        assert model.config.to_dict() == original.config.to_dict()
        assert torch.equal(model.class_head.weight, original.class_head.weight)

    @pytest.mark.parametrize("is_wrapped", [False, True])
    def test_heads_that_are_not_plain_are_refused(self, model, is_wrapped):
        model.class_head = nn.Sequential(model.class_head) if is_wrapped else model.class_head.to("meta")
        with pytest.raises(TypeError, match="`class_head` cannot be moved.*resize the plain model"):
            model.resize_labels(vocabulary(["tree"]), vocabulary(["on", "under"]))
        assert model.predicate_head.out_features == 6


class TestFromPretrained:
    NEW = {"id2label": vocabulary(["tree", "zebra", "person"]), "id2predicate": vocabulary(["behind", "under", "on"])}

    @pytest.mark.parametrize("auto_class", [None, AutoModelForSceneGraphGeneration, AutoModelForObjectDetection])
    def test_rows_follow_names(self, saved, original, caplog, auto_class):
        with warnings_of(caplog):
            model = (auto_class or SpeaQForSceneGraphGeneration).from_pretrained(
                saved, **self.NEW, ignore_mismatched_sizes=True
            )
        assert_rows_follow(model.class_head, ["tree", "zebra", "person"], original.class_head, OBJECTS)
        assert_rows_follow(model.predicate_head, ["behind", "under", "on"], original.predicate_head, PREDICATES)
        assert model.config.id2label == self.NEW["id2label"] and model.config.predicate2id["under"] == 1
        assert model.config.predicate_counts is None and model.config.group_predicate_counts is None
        assert "zebra" in caplog.text and "under" in caplog.text and "MISMATCH" not in caplog.text
        others = {name: value for name, value in model.state_dict().items() if "_head." not in name or "box" in name}
        assert all(torch.equal(value, original.state_dict()[name]) for name, value in others.items())

    def test_order_alone(self, saved, original):
        """Nothing has another size, yet every row would have another's name."""
        reverse = {"id2label": vocabulary(OBJECTS[::-1]), "id2predicate": vocabulary(PREDICATES[::-1])}
        model = SpeaQForSceneGraphGeneration.from_pretrained(saved, **reverse, ignore_mismatched_sizes=True)
        assert_rows_follow(model.class_head, OBJECTS[::-1], original.class_head, OBJECTS)
        pixels = torch.zeros(1, 3, 64, 64)
        logits = model(pixels).predicate_logits
        assert torch.allclose(logits[..., :-1].flip(-1), original(pixels).predicate_logits[..., :-1], atol=1e-6)

    def test_other_names_of_the_same_number(self, saved, original):
        names = ["person", "zebra", "hat", "table", "kite", "tree"]
        model = SpeaQForSceneGraphGeneration.from_pretrained(
            saved, id2label=vocabulary(names), ignore_mismatched_sizes=True
        )
        assert_rows_follow(model.class_head, names, original.class_head, OBJECTS)

    def test_a_translation_keeps_the_rows(self, saved, original, caplog):
        names = ["Mensch", "Pferd", "Hut", "Tisch", "Tasse", "Baum"]
        with warnings_of(caplog):
            model = SpeaQForSceneGraphGeneration.from_pretrained(saved, id2label=vocabulary(names))
        assert torch.equal(model.class_head.weight, original.class_head.weight) and not caplog.messages
        assert model.config.id2label == vocabulary(names)

    def test_names_that_moved_are_warned_of(self, saved, original, caplog):
        with warnings_of(caplog):
            model = AutoModelForSceneGraphGeneration.from_pretrained(saved, id2label=vocabulary(OBJECTS[::-1]))
        assert torch.equal(model.class_head.weight, original.class_head.weight)
        assert "6 names have moved: row 0, now 'tree', was 'person', and 'tree' was row 5" in caplog.text
        assert "ignore_mismatched_sizes=True" in caplog.text and "predicate_head" not in caplog.text

    def test_without_leave_sizes_must_fit(self, saved):
        with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
            SpeaQForSceneGraphGeneration.from_pretrained(saved, **self.NEW)

    def test_report_and_format(self, saved):
        model, report = SpeaQForSceneGraphGeneration.from_pretrained(
            saved, **self.NEW, ignore_mismatched_sizes=True, output_loading_info=True, dtype=torch.bfloat16
        )
        assert report.pop("mismatched_keys") == {
            (f"{head}.{name}", (old, *width), (4, *width))
            for head, old in (("class_head", 7), ("predicate_head", 6))
            for name, width in (("weight", (32,)), ("bias", ()))
        }
        assert not any(report.values()) and model.class_head.weight.dtype == model.dtype == torch.bfloat16
        assert not model.training and not model.model.backbone.model.embedder.embedder.convolution.weight.requires_grad

    def test_other_fields_go_with_it(self, saved):
        """50 groups fit the new predicates only, and the other weights whose sizes differ are new, as ever."""
        many = vocabulary([f"predicate {index}" for index in range(50)])
        model = SpeaQForSceneGraphGeneration.from_pretrained(
            saved,
            id2predicate=many,
            predicate_counts=[1] * 50,
            num_query_groups=50,
            num_object_queries=60,
            output_attentions=True,
            ignore_mismatched_sizes=True,
        )
        assert (model.config.num_query_groups, model.predicate_head.out_features) == (50, 51)
        assert model.config.output_attentions and model.model.subject_queries.weight.shape == (60, 32)

    @pytest.mark.parametrize("as_path", [False, True])
    def test_a_whole_configuration(self, saved, original, tmp_path, as_path):
        config = AutoConfig.from_pretrained(saved, **self.NEW)
        config.save_pretrained(tmp_path)
        model = SpeaQForSceneGraphGeneration.from_pretrained(
            saved, config=tmp_path if as_path else config, ignore_mismatched_sizes=True
        )
        assert_rows_follow(model.class_head, ["tree", "zebra", "person"], original.class_head, OBJECTS)
        assert config.id2label == self.NEW["id2label"]  # the caller's is left alone

    def test_num_labels(self, saved):
        model = SpeaQForSceneGraphGeneration.from_pretrained(saved, num_labels=3, ignore_mismatched_sizes=True)
        assert (
            model.config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"} and model.class_head.out_features == 4
        )

    def test_weights_without_a_configuration(self, original):
        """Nobody knows which names they had: by size, as ever."""
        config = SpeaQConfig.from_dict(original.config.to_dict(), **self.NEW)
        model = SpeaQForSceneGraphGeneration.from_pretrained(
            None, config=config, state_dict=original.state_dict(), ignore_mismatched_sizes=True
        )
        assert model.class_head.out_features == 4 and not torch.equal(
            model.class_head.bias[2], original.class_head.bias[0]
        )

    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(OSError, match="nowhere"):
            SpeaQForSceneGraphGeneration.from_pretrained(
                tmp_path / "nowhere", config=tiny_config(), ignore_mismatched_sizes=True
            )


@pytest.mark.parametrize("names", [["a", "b"], {0: 5}, {0: "a", 1: None}])
def test_what_are_no_names_leaves_the_model_as_it_was(names):
    model = SpeaQForSceneGraphGeneration(tiny_config())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="`id2label` must"):
        model.resize_labels(id2label=names)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
