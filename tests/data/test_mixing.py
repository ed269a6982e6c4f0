from collections import Counter

import pytest
from datasets import DatasetDict, Features, Image, List, Value
from torch.utils.data import DataLoader

from speaq_hf.data import (
    RatioBatchSampler,
    mix_datasets,
    object_names,
    predicate_names,
    rename_classes,
    scene_graph_features,
)
from tests.data.factories import OBJECTS, PREDICATES, dataset, row


REAL_SYNTHETIC = {"real": 0.7, "synthetic": 0.3}


def names(**counts):
    """Source names of a mixed dataset's rows."""
    return [name for name, count in counts.items() for _ in range(count)]


def small(count, first_id=0, **vocabulary):
    return dataset([row(first_id + index, size=(4, 3)) for index in range(count)], **vocabulary)


# Datasets -------------------------------------------------------------------------------------------------------------


def test_mixture_holds_every_row_with_source_and_weight():
    mixed = mix_datasets(
        {"real": small(3), "synthetic": small(2, 10)}, REAL_SYNTHETIC, {"real": 1.0, "synthetic": 0.5}
    )
    assert mixed["image_id"][:] == [0, 1, 2, 10, 11]
    assert mixed["source"][:] == names(real=3, synthetic=2)
    assert mixed["loss_weight"][:] == [1.0] * 3 + [0.5] * 2
    assert object_names(mixed) == OBJECTS and predicate_names(mixed) == PREDICATES


def test_weights_default_to_one_and_old_columns_are_replaced():
    labelled = small(2).add_column("source", ["old"] * 2).add_column("loss_weight", [9.0] * 2)
    other = small(1).add_column("source", [3])
    mixed = mix_datasets({"real": labelled, "synthetic": other}, REAL_SYNTHETIC)
    assert mixed["source"][:] == names(real=2, synthetic=1)
    assert mixed["loss_weight"][:] == [1.0] * 3


def test_selected_and_transformed_sources_and_extra_columns():
    real = small(3).add_column("note", ["x"] * 3).select([2, 0])
    mixed = mix_datasets({"real": real, "synthetic": small(1, 10)}, REAL_SYNTHETIC)
    assert mixed["image_id"][:] == [2, 0, 10]
    assert "note" not in mixed.column_names


@pytest.mark.parametrize("mode", ["batch", "interleave"])
def test_transforms_go_on_to_work_on_their_rows(mode):
    def marking(mark):
        def transform(batch):
            return {"id": batch["image_id"], "mark": [mark] * len(batch["source"]), "weight": batch["loss_weight"]}

        return transform

    sources = {"real": small(3).with_transform(marking("r")), "synthetic": small(2, 10).with_transform(marking("s"))}
    mixed = mix_datasets(sources, REAL_SYNTHETIC, {"real": 1.0, "synthetic": 0.5}, mode=mode)
    for example in mixed[:]["id"], mixed[len(mixed) - 1 :: -1]["id"]:
        assert set(example) == {0, 1, 2, 10, 11}
    rows = [mixed[index] for index in range(len(mixed))]
    assert all((row["mark"], row["weight"]) == (("s", 0.5) if row["id"] >= 10 else ("r", 1.0)) for row in rows)
    with pytest.raises(ValueError, match=r"sources \['real'\] have a transform, \['synthetic'\] have none"):
        mix_datasets({"real": sources["real"], "synthetic": small(1)}, REAL_SYNTHETIC)


@pytest.mark.parametrize("stream", [False, True])
def test_columns_of_other_types_are_cast(stream):
    other = small(2, 10)
    types = other.features | {"width": Value("int64"), "image": Image(decode=False)}
    types["objects"] = types["objects"] | {"bbox": List(List(Value("float64")))}
    sources = {"real": other.cast(Features(types)), "synthetic": small(3)}
    if stream:
        sources = {name: source.to_iterable_dataset() for name, source in sources.items()}
    mixed = mix_datasets(sources, REAL_SYNTHETIC, mode="interleave" if stream else "batch")
    expected = scene_graph_features(OBJECTS, PREDICATES)
    assert {name: mixed.features[name] for name in expected} == expected
    rows = list(mixed)
    assert {row["image_id"] for row in rows} == {0, 1, 2, 10, 11}
    assert {row["width"] for row in rows} == {4} and all(row["image"].size == (4, 3) for row in rows)


def test_columns_that_cannot_be_cast():
    wide = small(1).map(lambda _: {"width": 2**40}, features=Features(small(1).features | {"width": Value("int64")}))
    with pytest.raises(ValueError, match="'width' of source 'synthetic' is Value.'int64'.*not fit Value.'int32'"):
        mix_datasets({"real": small(1), "synthetic": wide}, REAL_SYNTHETIC)
    sources = {"real": small(1).add_column("note", ["x"]), "synthetic": small(1).add_column("note", [1])}
    with pytest.raises(ValueError, match="column 'note' has other types in other sources: {'real': Value.'string'"):
        mix_datasets(sources, REAL_SYNTHETIC)


def transformed(real, synthetic, count=2):
    """A mixture of `count` rows of each source with the given transforms."""
    sources = {"real": small(count).with_transform(real), "synthetic": small(count, 10).with_transform(synthetic)}
    return mix_datasets(sources, REAL_SYNTHETIC)


def ids(rows):
    return {"id": rows["image_id"]}


def test_no_row_of_a_transformed_mixture():
    assert transformed(ids, ids)[[]] == {"id": []}


def test_transforms_that_do_not_fit_together():
    def halved(rows):
        return {"id": rows["image_id"][::2]}

    with pytest.raises(
        ValueError, match="source 'synthetic' gave 1 values of 'id' for 2 rows; .*filter before mixing"
    ):
        transformed(ids, halved)[:]
    with pytest.raises(ValueError, match=r"same columns, got \['id'\] for 'real' and \['other'\] for 'synthetic'"):
        transformed(ids, lambda rows: {"other": rows["image_id"]})[:]
    with pytest.raises(TypeError, match="source 'real' must return a dict of columns, got list"):
        transformed(lambda rows: rows["image_id"], ids)[:]


def test_transforms_that_cannot_be_mixed():
    with pytest.raises(
        ValueError, match=r"source 'mixed' is a mixture .* \['real', 'synthetic'\]; mix all sources at once"
    ):
        mix_datasets(
            {"mixed": transformed(ids, ids), "other": small(1).with_transform(ids)}, {"mixed": 0.5, "other": 0.5}
        )
    real = small(2).with_transform(ids, columns=["image_id"])
    with pytest.raises(ValueError, match=r"'real' is for the columns \['image_id'\] only"):
        mix_datasets({"real": real, "synthetic": small(2).with_transform(ids)}, REAL_SYNTHETIC)


def test_streams_are_interleaved():
    sources = {"real": small(200).to_iterable_dataset(), "synthetic": small(40, 1000).to_iterable_dataset()}
    mixed = mix_datasets(sources, REAL_SYNTHETIC, {"real": 1.0, "synthetic": 0.5}, seed=3, mode="interleave")
    assert object_names(mixed) == OBJECTS
    rows = list(mixed)
    assert {row["image_id"] for row in rows} == {*range(200), *range(1000, 1040)}
    assert abs(Counter(row["source"] for row in rows)["real"] / len(rows) - 0.7) < 0.08
    assert {(row["source"], row["loss_weight"]) for row in rows} == {("real", 1.0), ("synthetic", 0.5)}
    assert rows[0]["image"].size == (4, 3)
    with pytest.raises(ValueError, match="streams.*mode='interleave'"):
        mix_datasets(sources, REAL_SYNTHETIC)
    with pytest.raises(ValueError, match=r"\['real'\] are streams and the others are not"):
        mix_datasets(sources | {"synthetic": small(2)}, REAL_SYNTHETIC, mode="interleave")


def test_interleaving_keeps_every_row_and_the_ratio_in_expectation():
    sources = {"real": small(300), "synthetic": small(30, 1000)}
    mixed = mix_datasets(sources, REAL_SYNTHETIC, seed=1, mode="interleave")
    assert set(mixed["image_id"][:]) == {*range(300), *range(1000, 1030)}
    share = Counter(mixed["source"][:])["real"] / len(mixed)
    assert abs(share - 0.7) < 0.08
    assert mixed["image_id"][:] == mix_datasets(sources, REAL_SYNTHETIC, seed=1, mode="interleave")["image_id"][:]
    assert mixed["image_id"][:] != mix_datasets(sources, REAL_SYNTHETIC, seed=2, mode="interleave")["image_id"][:]


def test_sources_of_one_row():
    assert len(mix_datasets({"real": small(1), "synthetic": small(1)}, REAL_SYNTHETIC)) == 2
    assert len(mix_datasets({"only": small(1)}, {"only": 1.0})) == 1


@pytest.mark.parametrize(
    ("ratios", "message"),
    [
        ({"real": 0.7, "synthetic": 0.2}, "sum to 1, got .*0.8999|sum to 1, got .*0.9"),
        ({"real": 0.7}, r"must name the sources \['real', 'synthetic'\]"),
        ({"real": 1.2, "synthetic": -0.2}, "at least one in 1000000, got {'synthetic': -0.2}"),
        ({"real": 1.0, "synthetic": 0.0}, "at least one in 1000000.*leave such a source out"),
        ({"real": 1 - 1e-9, "synthetic": 1e-9}, "at least one in 1000000, got {'synthetic': 1e-09}"),
        ({"real": float("nan"), "synthetic": 0.3}, "finite"),
    ],
)
def test_impossible_ratios(ratios, message):
    with pytest.raises(ValueError, match=message):
        mix_datasets({"real": small(1), "synthetic": small(1)}, ratios)
    with pytest.raises(ValueError, match=message):
        mix_datasets({"real": small(1), "synthetic": small(1)}, ratios, mode="interleave")
    with pytest.raises(ValueError, match=message):
        RatioBatchSampler(names(real=5, synthetic=5), ratios, batch_size=10)


@pytest.mark.parametrize("weight", [-0.5, float("nan"), float("inf"), 3.5e38])
def test_impossible_loss_weights(weight):
    with pytest.raises(ValueError, match="loss weights must be finite and at least 0.*synthetic"):
        mix_datasets({"real": small(1), "synthetic": small(1)}, REAL_SYNTHETIC, {"real": 1.0, "synthetic": weight})
    with pytest.raises(ValueError, match="loss_weights must name the sources"):
        mix_datasets({"real": small(1), "synthetic": small(1)}, REAL_SYNTHETIC, {"real": 1.0})


@pytest.mark.parametrize("number", ["0.7", None, [0.7]])
def test_ratios_and_weights_that_are_no_numbers(number):
    sources = {"real": small(1), "synthetic": small(1)}
    with pytest.raises(TypeError, match="ratios must be numbers, got {'real':"):
        mix_datasets(sources, {"real": number, "synthetic": 0.3})
    with pytest.raises(TypeError, match="ratios must be numbers, got {'real':"):
        RatioBatchSampler(names(real=5, synthetic=5), {"real": number, "synthetic": 0.3}, batch_size=10)
    with pytest.raises(TypeError, match="loss weights must be numbers, got {'real':"):
        mix_datasets(sources, REAL_SYNTHETIC, {"real": number, "synthetic": 1})


def test_sources_that_are_no_datasets():
    with pytest.raises(TypeError, match=r"source 'real' must be one dataset, got the splits \['train'\]; choose one"):
        mix_datasets({"real": DatasetDict(train=small(1)), "synthetic": small(1)}, REAL_SYNTHETIC)
    for wrong, name in (([], "list"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"source 'synthetic' must be a Dataset or IterableDataset .*, got {name}"):
            mix_datasets({"real": small(1), "synthetic": wrong}, REAL_SYNTHETIC)
    with pytest.raises(TypeError, match="names of sources must be texts, got 0"):
        mix_datasets({0: small(1), "synthetic": small(1)}, {0: 0.5, "synthetic": 0.5})


def test_loss_weight_zero_is_allowed():
    mixed = mix_datasets({"a": small(1), "b": small(1)}, {"a": 0.5, "b": 0.5}, {"a": 0.0, "b": 1.0})
    assert mixed["loss_weight"][:] == [0.0, 1.0]


def test_arguments_that_name_no_source():
    sources = {"real": small(1), "synthetic": small(1)}
    with pytest.raises(TypeError, match='sources must be a mapping of names to datasets, {"real": dataset.*got list'):
        mix_datasets(list(sources.values()), REAL_SYNTHETIC)
    with pytest.raises(TypeError, match=r"ratios must be a mapping such as .*, got \[0.7, 0.3\]"):
        mix_datasets(sources, [0.7, 0.3])
    with pytest.raises(TypeError, match=r"loss_weights must be a mapping such as .*, got \[1, 0.5\]"):
        mix_datasets(sources, REAL_SYNTHETIC, [1, 0.5])


def test_a_sampler_of_rows_says_what_to_pass():
    mixed = mix_datasets({"real": small(1), "synthetic": small(1)}, REAL_SYNTHETIC)
    with pytest.raises(
        TypeError, match=r'got a dict; pass the column.*RatioBatchSampler\(mixed\["source"\]'
    ) as caught:
        RatioBatchSampler(mixed, REAL_SYNTHETIC, batch_size=10)
    assert len(str(caught.value)) < 200


def test_empty_source_and_unknown_mode():
    with pytest.raises(ValueError, match=r"sources \['synthetic'\] hold no image"):
        mix_datasets({"real": small(1), "synthetic": small(1).select([])}, REAL_SYNTHETIC)
    with pytest.raises(ValueError, match="'batch' or 'interleave', got 'zip'"):
        mix_datasets({"real": small(1), "synthetic": small(1)}, REAL_SYNTHETIC, mode="zip")


def test_functions_on_a_mixed_stream_see_images():
    sources = {"real": small(3).to_iterable_dataset(), "synthetic": small(2, 10).to_iterable_dataset()}
    mixed = mix_datasets(sources, REAL_SYNTHETIC, {"real": 1.0, "synthetic": 0.5}, mode="interleave")
    widths = mixed.map(lambda row: {"width": row["image"].width, "image_id": row["image_id"]})
    assert {row["width"] for row in widths} == {4}
    kept = list(mixed.filter(lambda row: row["image"].height == 3 and row["source"] == "synthetic"))
    assert {row["image_id"] for row in kept} == {10, 11} and kept[0]["image"].size == (4, 3)
    assert {row["loss_weight"] for row in kept} == {0.5}
    batched = mixed.map(lambda rows: {"size": [image.size for image in rows["image"]]}, batched=True)
    assert next(iter(batched))["size"] == (4, 3)
    assert next(iter(mixed.shuffle(seed=0, buffer_size=3).take(2)))["image"].size == (4, 3)
    assert mixed.features["loss_weight"].dtype == "float32" and object_names(mixed) == OBJECTS


def test_empty_streams():
    sources = {"real": small(2).to_iterable_dataset(), "synthetic": small(2).to_iterable_dataset()}
    sources["synthetic"] = sources["synthetic"].filter(lambda row: row["image_id"] > 5)
    with pytest.raises(ValueError, match=r"sources \['synthetic'\] hold no image"):
        mix_datasets(sources, REAL_SYNTHETIC, mode="interleave")


@pytest.mark.parametrize("stream", [False, True])
def test_classes_are_renumbered_by_name(stream):
    objects, predicates = OBJECTS[::-1][:-1], PREDICATES[::-1]  # another order, and a name less
    kept = OBJECTS[1:]
    boxes = [[0, 0, 2, 2], [1, 1, 3, 3]]
    theirs = row(10, size=(4, 3)) | {
        "objects": {"bbox": boxes, "category": [objects.index(kept[0]), objects.index(kept[1])]},
        "relations": [[1, 0, predicates.index("on")]],
        "predicates": [predicates.index("on")],
    }
    empty = row(11, size=(4, 3)) | {"objects": {"bbox": [], "category": []}, "relations": [], "predicates": []}
    other = dataset([theirs, empty, theirs], objects=objects, predicates=predicates)
    sources = {"real": small(2), "synthetic": other.select([2, 1])}
    if stream:
        sources = {name: part.to_iterable_dataset() for name, part in sources.items()}
    mixed = mix_datasets(sources, {"real": 0.5, "synthetic": 0.5}, mode="interleave" if stream else "batch")
    assert object_names(mixed) == OBJECTS and predicate_names(mixed) == PREDICATES
    rows = {row["image_id"]: row for row in mixed if row["source"] == "synthetic"}
    assert [OBJECTS[label] for label in rows[10]["objects"]["category"]] == kept[:2]
    assert rows[10]["objects"]["bbox"] == boxes
    assert rows[10]["relations"] == [[1, 0, PREDICATES.index("on")]]
    assert rows[10]["predicates"] == [PREDICATES.index("on")]
    assert rows[11]["objects"]["category"] == rows[11]["relations"] == []


def test_classes_that_the_first_source_lacks_are_listed_with_similar_ones():
    message = (
        r"""'synthetic' has 1 object classes that 'real' lacks: 'cap' \(similar: 'cat'\).*rename_classes\(dataset, """
    )
    with pytest.raises(ValueError, match=message + r"""objects={"cap": "cat"}\)"""):
        mix_datasets({"real": small(1), "synthetic": small(1, objects=["cat", "dog", "cap"])}, REAL_SYNTHETIC)
    with pytest.raises(ValueError, match=r"1 predicate classes that 'real' lacks: 'over';.*predicates="):
        mix_datasets({"real": small(1), "synthetic": small(1, predicates=["near", "over"])}, REAL_SYNTHETIC)
    many = [f"{number:03}" for number in range(150)]
    with pytest.raises(ValueError, match=r"'000', .*'009' and 140 more; sources") as caught:
        mix_datasets({"real": small(1), "synthetic": small(1, objects=many)}, REAL_SYNTHETIC)
    assert "'010'" not in str(caught.value)


@pytest.mark.parametrize("stream", [False, True])
def test_renamed_classes_can_be_mixed(stream, monkeypatch):
    monkeypatch.setattr(Image, "decode_example", lambda *_: pytest.fail("an image was decoded"))
    other = dataset(
        [row(10, (4, 3), [[0, 0, 2, 2]] * 3, [0, 1, 2], [[0, 1, 0], [1, 2, 1]])] * 2,
        ["man", "hat", "woman"],
        ["on", "upon"],
    ).select([1])
    renamed = rename_classes(
        other.to_iterable_dataset() if stream else other, {"man": "cat", "woman": "cat"}, {"upon": "on"}
    )
    assert object_names(renamed) == ["cat", "hat"] and predicate_names(renamed) == ["on"]
    assert renamed.column_names == other.column_names
    graph = next(iter(renamed.select_columns(["objects", "relations", "predicates"])))
    assert graph["objects"]["category"] == [0, 1, 0]
    assert graph["relations"] == [[0, 1, 0], [1, 2, 0]] and graph["predicates"] == [0, 0]
    if not stream:
        mixed = mix_datasets({"real": small(1), "synthetic": renamed}, REAL_SYNTHETIC)
        assert mixed.select_columns(["objects"])[1]["objects"]["category"] == [
            OBJECTS.index(name) for name in ("cat", "hat", "cat")
        ]


def test_names_that_cannot_be_renamed():
    with pytest.raises(ValueError, match=r"objects: there is no class 'catt' \(similar: 'cat'\)"):
        rename_classes(small(1), objects={"catt": "cat"})
    with pytest.raises(ValueError, match="predicates: the new name of 'on' must be a text that is not empty, got ''"):
        rename_classes(small(1), predicates={"on": ""})


def test_loader_reads_a_mixture():
    mixed = mix_datasets({"real": small(7), "synthetic": small(3, 10)}, REAL_SYNTHETIC)
    sampler = RatioBatchSampler(mixed["source"], REAL_SYNTHETIC, batch_size=10)
    (batch,) = DataLoader(mixed, batch_sampler=sampler, collate_fn=list)
    assert [example["source"] for example in batch] == names(real=7, synthetic=3)
