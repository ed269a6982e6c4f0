import pytest
import torch

from speaq_hf import SpeaQConfig
from speaq_hf.models.speaq.loss_speaq import SpeaQCriterion
from speaq_hf.models.speaq.vg150 import VG150_OBJECTS, VG150_PREDICATE_COUNTS, VG150_PREDICATES
from tests.helpers import read_reference, tiny_config


def test_defaults_are_the_published_ones():
    config = SpeaQConfig()
    assert (config.num_labels, config.num_predicates, config.num_relation_queries) == (150, 50, 600)
    assert (config.assignment, config.assignment_topk, config.assignment_quality) == ("dynamic", 4, "max")
    assert config.backbone_config.depths == [3, 4, 23, 3]
    assert config.id2label[0] == "airplane" and config.predicate2id["wears"] == 48


def test_vocabulary_is_visual_genomes():
    recorded = read_reference("vg/VG-SGG-dicts-with-attri.json")
    assert {name: index + 1 for index, name in enumerate(VG150_OBJECTS)} == recorded["label_to_idx"]
    assert {name: index + 1 for index, name in enumerate(VG150_PREDICATES)} == recorded["predicate_to_idx"]
    groups = read_reference("groups.json")
    order, counts = groups["relation_order_by_frequency"], groups["relation_frequency_sorted"]
    assert [VG150_PREDICATE_COUNTS[predicate] for predicate in order] == counts


def test_iterative_sgg():
    config = SpeaQConfig.iterative_sgg(num_object_queries=100)
    assert (config.num_relation_queries, config.assignment, config.num_query_groups) == (100, "one_to_one", 1)
    assert config.match_per_layer is False


@pytest.mark.parametrize("config", [SpeaQConfig(), SpeaQConfig.iterative_sgg(), tiny_config()], ids=["speaq", "isg", "tiny"])  # fmt: skip
def test_round_trip(config, tmp_path):
    config.save_pretrained(tmp_path)
    loaded = SpeaQConfig.from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    assert loaded.id2predicate == config.id2predicate  # integer keys


def test_another_vocabulary_does_not_inherit_visual_genomes_counts():
    config = SpeaQConfig(id2predicate={0: "on", 1: "under"}, num_query_groups=2, predicate_counts=[7, 3])
    assert config.group_predicate_counts == [7, 3]
    assert SpeaQConfig(id2predicate={0: "on", 1: "under"}, num_query_groups=1).group_predicate_counts is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"match_per_layer": False}, "assignment.*match_per_layer"),
        ({"num_query_groups": 51}, "num_query_groups.*id2predicate"),
        ({"num_object_queries": 3}, "num_query_groups.*num_object_queries"),
        ({"d_model": 250}, "d_model.*encoder_attention_heads"),
        ({"d_model": 6, "encoder_attention_heads": 1, "decoder_attention_heads": 1}, "multiple of 4"),
        ({"predicate_counts": [1, 2, 3]}, "predicate_counts.*50 entries"),
        ({"predicate_class_weights": [1.0] * 50}, "predicate_class_weights.*51 entries.*background"),
        ({"group_predicate_counts": [-1] * 50}, "group_predicate_counts.*not negative"),
        ({"object_counts": [1]}, "object_counts.*150 entries"),
        ({"zero_shot_triplets": [[0, 0, 50]]}, "zero_shot_triplets.*\\[0, 0, 50\\]"),
        ({"id2label": {0: "a", 2: "b"}}, "id2label.*gaps"),
        ({"id2predicate": {0: "a", 1: "a"}, "num_query_groups": 1}, "id2predicate.*duplicate names: \\['a'\\]"),
        ({"dropout": 1.0}, "dropout"),
        ({"giou_cost": float("nan")}, "giou_cost"),
        ({"assignment_predicate_weight": float("nan")}, "assignment_predicate_weight.*finite"),
        ({"assignment_predicate_weight": -float("inf")}, "assignment_predicate_weight.*finite"),
        ({"predicate_reweight_beta": 500.0}, "predicate_reweight_alpha.*predicate_reweight_beta.*reduce"),
        ({"predicate_reweight_alpha": 1e300}, "predicate_reweight_alpha.*predicate_reweight_beta.*reduce"),
        ({"id2label": {0: "a", 1: "b"}, "label2id": {"a": 1, "b": 0}}, "label2id.*inverse of `id2label`.*'a', 0"),
        ({"id2predicate": {0: "a"}, "predicate2id": {"b": 0}, "num_query_groups": 1}, "predicate2id.*inverse"),
        ({"decoder_layers": 0}, "decoder_layers"),
        ({"relation_query_multiplier": 0}, "relation_query_multiplier"),
        ({"activation_function": "rel"}, "activation_function.*gelu"),
    ],
)
def test_impossible_combinations_name_the_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        SpeaQConfig(**fields)


@pytest.mark.parametrize("name", ["id2label", "label2id"])
def test_a_vocabulary_is_a_dict(name):
    with pytest.raises(ValueError, match=f"`{name}` must be a dict.*got list.*enumerate"):
        SpeaQConfig(**{name: ["a", "b"]})


def test_strong_reweighting_stays_finite():
    config = tiny_config(predicate_reweight_alpha=1.0, predicate_reweight_beta=5.0, predicate_counts=[1, 0, 0, 0, 0])
    weights = SpeaQCriterion.from_config(config)._class_weights(torch.zeros(()))[2]
    assert weights.isfinite().all() and weights.max() > 1e20


def test_mixed_numbers_are_numbers():
    assert SpeaQConfig(predicate_counts=[1.5] + [2] * 49).predicate_counts[:2] == [1.5, 2]


def test_inverse_vocabularies_suffice():
    config = SpeaQConfig(predicate2id={"on": 0, "under": 1}, label2id={"cup": 0, "table": 1}, num_query_groups=1)
    assert (config.id2predicate, config.id2label) == ({0: "on", 1: "under"}, {0: "cup", 1: "table"})


def test_fields_of_a_backbone_change_the_default_one():
    backbone = SpeaQConfig(backbone_config={"depths": [1, 1, 1, 1]}).backbone_config
    assert (backbone.model_type, backbone.depths, backbone.out_features) == ("resnet", [1, 1, 1, 1], ["stage4"])


class TestReplacedFields:
    """`from_pretrained(folder, field=…)`."""

    @pytest.fixture
    def folder(self, tmp_path):
        SpeaQConfig(predicate_counts=[3] * 50, predicate_class_weights=[1.0] * 51).save_pretrained(tmp_path)
        return tmp_path

    def test_are_checked(self, folder):
        with pytest.raises(ValueError, match="id2label.*gaps"):
            SpeaQConfig.from_pretrained(folder, id2label={0: "a", 2: "b"})
        with pytest.raises(ValueError, match="activation_function.*'rel'"):
            SpeaQConfig.from_pretrained(folder, activation_function="rel")

    def test_a_new_vocabulary_drops_what_described_the_old_one(self, folder):
        config = SpeaQConfig.from_pretrained(folder, id2predicate={0: "on", 1: "under"}, num_query_groups=1)
        assert config.predicate2id == {"on": 0, "under": 1}
        assert config.predicate_counts is config.predicate_class_weights is config.group_predicate_counts is None
        config = SpeaQConfig.from_pretrained(folder, label2id={"cup": 0}, predicate_counts=[4] * 50)
        assert (config.id2label, config.num_labels, config.predicate_counts[0]) == ({0: "cup"}, 1, 4)
        assert SpeaQConfig.from_pretrained(folder, num_labels=3).num_labels == 3

    def test_an_inverse_given_with_its_vocabulary_is_checked(self, folder):
        names = {"id2label": {0: "cup", 1: "table"}}
        assert SpeaQConfig.from_pretrained(folder, **names, label2id={"cup": 0, "table": 1}).num_labels == 2
        with pytest.raises(ValueError, match="label2id.*inverse"):
            SpeaQConfig.from_pretrained(folder, **names, label2id={"cup": 1, "table": 0})

    def test_a_vocabulary_assigned_before_saving_loads(self, folder):
        config = SpeaQConfig.from_pretrained(folder)
        config.id2label = {index: f"thing {index}" for index in range(150)}
        config.save_pretrained(folder)
        assert SpeaQConfig.from_pretrained(folder).label2id["thing 7"] == 7

    def test_part_of_the_backbone(self, folder):
        backbone = SpeaQConfig.from_pretrained(folder, backbone_config={"depths": [1, 1, 1, 1]}).backbone_config
        assert (backbone.depths, backbone.out_features) == ([1, 1, 1, 1], ["stage4"])

    def test_what_is_no_field_is_handed_back(self, folder):
        config, unused = SpeaQConfig.from_pretrained(folder, hidden_size=128, colour=1, return_unused_kwargs=True)
        assert (config.d_model, unused) == (128, {"colour": 1})
