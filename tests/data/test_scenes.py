"""Synthetic scenes: exact outlines, rules that hold everywhere, statistics worth learning from."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from speaq_hf.data.affordances import AFFORDANCES
from speaq_hf.data.domains import DOMAINS
from speaq_hf.data.drawing import Pose, paint
from speaq_hf.data.everyday_world import EVERYDAY
from speaq_hf.data.frequency_baseline import pair_frequency_accuracy
from speaq_hf.data.generator import WORLDS
from speaq_hf.data.rendering import paint_objects, pixel_boxes
from speaq_hf.data.scene_objects import Scene, SceneObject
from speaq_hf.data.scene_rules import AmbiguousGeometry, derive_relations, object_below, spatial_relation
from speaq_hf.data.scenes import SceneComplexity, compose_scene
from speaq_hf.data.shapes import OBJECT_CLASSES, draw_object, outline
from speaq_hf.models.speaq.vg150 import VG150_OBJECTS, VG150_PREDICATES


BODIES = ("stand", "walk", "sit", "ride", "lie", "fly", "hang", "lean", "graze", "mount", "grow")


def scene_of(seed, **kwargs):
    return compose_scene(np.random.default_rng(seed), **kwargs)


HELD_OUT = EVERYDAY.held_out(0.12)


def triplets(scene):
    return [(scene.objects[s].label, p, scene.objects[o].label) for s, o, p in scene.relations]


@pytest.fixture(scope="module")
def train_scenes():
    return [scene_of([7, index], forbidden=HELD_OUT) for index in range(1200)]


@pytest.fixture(scope="module")
def scenes_for_testing():
    return [scene_of([8, index]) for index in range(300)]


def painted_bounds(parts, bounds, box, size):
    canvas = Image.new("RGBA", (2 * size, 2 * size), (0, 0, 0, 0))
    from PIL import ImageDraw

    paint(ImageDraw.Draw(canvas), parts, bounds, tuple(2 * side for side in box))
    return canvas.reduce(2).getchannel("A").getbbox()


# Figures --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", OBJECT_CLASSES)
def test_every_figure_touches_all_sides_of_its_box(label):
    rng = np.random.default_rng(3)
    for body in BODIES:
        for arms in ("down", "hold", "carry", "eat"):
            pose = Pose(body, arms, build=rng.integers(5) / 4, tilt=6.0 * rng.integers(-2, 3))
            figure = draw_object(label, int(rng.integers(1000)), pose, bool(rng.integers(2)))
            x, y, width, height = rng.integers([1, 1, 9, 9], [60, 60, 60, 60]).tolist()
            box = (x, y, x + width, y + height)
            assert painted_bounds(figure.parts, figure.bounds, box, 128) == box, (label, pose)


@pytest.mark.parametrize("label", OBJECT_CLASSES)
def test_colours_do_not_change_the_outline(label):
    for body in BODIES:
        pose = Pose(body, build=0.75)
        cached = outline(label, pose, True)
        figure = draw_object(label, 99, pose, True)
        assert figure.bounds == cached.bounds
        assert figure.joints == cached.joints


def test_individuals_of_a_class_differ_and_a_seed_fixes_one():
    def colours(seed):
        return [part.colour for part in draw_object("man", seed, Pose()).parts]

    assert colours(1) == colours(1)
    assert len({tuple(colours(seed)) for seed in range(20)}) == 20


def test_objects_alone_fill_their_annotated_boxes(train_scenes):
    checked = Counter()
    for scene in train_scenes[:60]:
        boxes = pixel_boxes(scene, 96, 96)
        for thing, box in zip(scene.objects, boxes, strict=True):
            alone = Scene(1.0, 1.0, scene.setting, [replace(thing, partner=None, contact=None, string=None)])
            canvas = Image.new("RGBA", (192, 192), (0, 0, 0, 0))
            paint_objects(canvas, alone, box[None] * 2)
            assert canvas.reduce(2).getchannel("A").getbbox() == tuple(box.tolist()), thing.label
            checked[thing.label] += 1
    assert len(checked) >= 24


# Rules ----------------------------------------------------------------------------------------------------------------


def standing(label, x, y, **kwargs):
    scale = OBJECT_CLASSES[label].size
    return SceneObject(label, 0, Pose(), False, (x, y), (scale, scale), depth=y, **kwargs)


def beside(label, other, gap):
    """A thing whose box starts `gap` to the right of the other's."""
    thing = standing(label, 0.0, other.origin[1])
    return replace(thing, origin=(other.box[2] + gap - thing.box[0], other.origin[1]))


def test_spatial_rules_on_hand_made_pairs():
    house = standing("house", 0.4, 0.9)
    assert spatial_relation(beside("man", house, 0.02), house) == "near"
    assert spatial_relation(beside("man", house, 0.1), house) is None
    assert spatial_relation(standing("man", 0.4, 0.95), house) == "in front of"
    table = standing("table", 0.4, 0.9)
    assert spatial_relation(standing("man", 0.4, 0.85), table) == "behind"


@pytest.mark.parametrize("gap", [0.05, -0.02])
def test_geometry_between_two_rules_is_ambiguous(gap):
    house = standing("house", 0.4, 0.9)
    with pytest.raises(AmbiguousGeometry):
        spatial_relation(beside("man", house, gap), house)


def test_what_stands_behind_must_stay_visible():
    with pytest.raises(AmbiguousGeometry):
        spatial_relation(standing("cat", 0.4, 0.85), standing("house", 0.4, 0.9))


def test_the_topmost_thing_below_counts():
    table = standing("table", 0.5, 0.9)
    cup = replace(standing("cup", 0.5, table.box[1]), support="held up", partner=0, contact="on")
    bird = replace(standing("bird", 0.5, cup.box[1] - 0.1), support="air")
    assert object_below([table, cup, bird], 2) == 1
    away = replace(bird, origin=(2.0, bird.origin[1]))
    assert object_below([table, cup, away], 2) is None
    with pytest.raises(AmbiguousGeometry):
        object_below([table, cup, replace(bird, origin=(0.5, cup.box[1]))], 2)


def test_mirrored_scenes_have_the_same_relations(train_scenes):
    for scene in train_scenes[:150]:
        mirrored = [
            replace(thing, mirror=not thing.mirror, origin=(1.0 - thing.origin[0], thing.origin[1]))
            for thing in scene.objects
        ]
        if "street" in {thing.label for thing in scene.objects}:
            mirrored[0] = replace(mirrored[0], mirror=False)
        assert sorted(derive_relations(mirrored)) == sorted(scene.relations)


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_one_direction_of_spatial_relations_per_class_pair(world):
    for pair, affordance in world.affordances.items():
        assert world.spatial_pair(*pair) == world.spatial_pair(*pair[::-1])
        if affordance.predicates.keys() & {"near", "behind", "in front of", "looking at"}:
            assert world.spatial_pair(*pair) == pair


def test_affordances_use_the_vocabulary():
    names = {name for world in WORLDS.values() for pair in world.affordances for name in pair}
    assert names == set(OBJECT_CLASSES) <= set(VG150_OBJECTS)
    for world in WORLDS.values():
        tables = world.affordances.values()
        predicates = {name for affordance in tables for name in affordance.predicates}
        assert predicates <= set(VG150_PREDICATES)
        assert sorted(world.predicates) == sorted(world.ranking) == sorted(predicates)


# Scenes ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.floats(1, 2), st.booleans())
def test_any_scene_keeps_its_promises(seed, length, is_portrait):
    width, height = (1.0, length) if is_portrait else (length, 1.0)
    scene = scene_of(seed, width=width, height=height)
    assert scene.objects
    for left, top, right, bottom in (thing.box for thing in scene.objects):
        assert -1e-9 <= left < right <= width + 1e-9
        assert -1e-9 <= top < bottom <= height + 1e-9
    pairs = [(subject, object_) for subject, object_, _ in scene.relations]
    assert len(set(pairs)) == len(pairs) <= 8
    for subject, predicate, object_ in triplets(scene):
        assert predicate in AFFORDANCES[subject, object_].predicates


def test_relations_follow_from_the_objects(train_scenes):
    for scene in train_scenes[:300]:
        assert sorted(derive_relations(scene.objects)) == sorted(scene.relations)


def test_painting_order_follows_the_predicates(train_scenes):
    for scene in train_scenes[:300]:
        order = {index: place for place, index in enumerate(scene.painting_order())}
        for subject, object_, predicate in scene.relations:
            if predicate in ("behind", "under"):
                assert order[subject] < order[object_]
            if predicate in ("in front of", "riding", "on", "sitting on", "walking on", "parked on"):
                assert order[subject] > order[object_]


def test_scenes_are_rich_but_learnable(train_scenes):
    with_relations = [scene for scene in train_scenes if scene.relations]
    assert 0.01 < 1 - len(with_relations) / len(train_scenes) < 0.06
    labels = Counter(thing.label for scene in train_scenes for thing in scene.objects)
    predicates = Counter(name for scene in train_scenes for *_, name in scene.relations)
    assert len(labels) >= 24
    assert min(labels.values()) >= 12
    assert len(predicates) >= 13
    assert min(predicates.values()) >= 0.005 * predicates.total()
    assert all(3 <= len(scene.objects) <= 8 for scene in with_relations)
    assert all(2 <= len(scene.relations) <= 8 for scene in with_relations)


def test_small_objects_are_not_tiny(train_scenes):
    sides = defaultdict(list)
    for scene in train_scenes:
        for thing in scene.objects:
            left, top, right, bottom = thing.box
            sides[thing.label].append(((right - left) * (bottom - top)) ** 0.5)
    assert min(float(np.median(values)) for values in sides.values()) >= 0.12


def test_nearly_every_object_takes_part(train_scenes):
    alone = total = several = 0
    for scene in train_scenes:
        if scene.relations:
            counts = Counter(index for row in scene.relations for index in row[:2])
            total += len(scene.objects)
            alone += len(scene.objects) - len(counts)
            several += sum(count > 1 for count in counts.values())
    assert alone / total < 0.05
    assert several / total > 0.25


def test_labels_do_not_give_the_predicate_away(train_scenes, scenes_for_testing):
    names, predicates = list(OBJECT_CLASSES), list(VG150_PREDICATES)

    def rows(scenes):
        return np.array(
            [(names.index(s), names.index(o), predicates.index(p)) for scene in scenes for s, p, o in triplets(scene)]
        )

    assert 0.55 <= pair_frequency_accuracy(rows(train_scenes), rows(scenes_for_testing)) <= 0.78


def test_zero_shot_triplets_occur_in_test_scenes_only(train_scenes, scenes_for_testing):
    assert not any(row in HELD_OUT for scene in train_scenes for row in triplets(scene))
    assert sum(row in HELD_OUT for scene in scenes_for_testing for row in triplets(scene)) >= 10
    usual = {(*pair[:1], next(iter(entry.predicates)), pair[1]) for pair, entry in AFFORDANCES.items()}
    assert not HELD_OUT & usual


def test_a_weight_makes_a_predicate_more_frequent():
    def share(weights):
        scenes = [scene_of([5, index], predicate_weights=weights) for index in range(200)]
        counts = Counter(name for scene in scenes for *_, name in scene.relations)
        return counts["carrying"] / counts.total()

    assert share({"carrying": 10.0}) > 2 * share({}) > 4 * share({"carrying": 0.1})


def test_a_scene_hangs_on_its_generator_alone():
    assert scene_of(5) == scene_of(5)
    assert scene_of(5) != scene_of(6)


def test_complexity_is_respected():
    complexity = SceneComplexity(min_objects=2, max_objects=3, min_relations=1, max_relations=3, empty_share=0.0)
    scenes = [scene_of(seed, complexity=complexity) for seed in range(60)]
    assert {len(scene.objects) for scene in scenes} == {2, 3}
    assert {len(scene.relations) for scene in scenes} <= {1, 2, 3}
    empty = [scene_of(seed, complexity=SceneComplexity(empty_share=1.0)) for seed in range(20)]
    assert all(scene.objects and not scene.relations for scene in empty)


def test_zoom_magnifies_the_objects():
    def boy_heights(zoom):
        complexity = SceneComplexity(2, 3, 1, 3, empty_share=0.0, min_zoom=zoom, max_zoom=zoom)
        objects = [thing for seed in range(60) for thing in scene_of(seed, complexity=complexity).objects]
        return [thing.scale[1] for thing in objects if thing.label == "boy"]

    assert np.median(boy_heights(1.3)) == pytest.approx(1.3 / 0.9 * np.median(boy_heights(0.9)), rel=0.07)


@pytest.mark.parametrize(
    "field",
    [
        {"min_objects": 1},
        {"max_objects": 2},
        {"max_objects": 13},
        {"min_relations": 0},
        {"max_relations": 1},
        {"empty_share": 1.5},
        {"usual_boost": float("nan")},
        {"min_zoom": 1.5},
        {"min_zoom": 0.0},
        {"max_zoom": 3.0},
        {"crowding": 0.0},
    ],
)
def test_impossible_complexity_is_refused(field):
    with pytest.raises(ValueError, match=next(iter(field))):
        SceneComplexity(**field)


# Pictures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", DOMAINS)
def test_pictures_have_the_right_size_and_boxes(domain):
    render = DOMAINS[domain].render
    scene = scene_of(11, width=1.5, height=1.0)
    image, boxes = render(np.random.default_rng(0), scene, 150, 100)
    assert (image.mode, image.size) == ("RGB", (150, 100))
    assert boxes.shape == (len(scene.objects), 4)
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= [150, 100]).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 2).all()
    again, _ = render(np.random.default_rng(0), scene, 150, 100)
    assert np.array_equal(np.asarray(image), np.asarray(again))


@pytest.mark.parametrize("domain", DOMAINS)
def test_objects_are_visible_in_the_picture(domain):
    render = DOMAINS[domain].render
    scene = next(s for s in map(scene_of, range(50)) if s.relations and not any(t.string for t in s.objects))
    full, boxes = render(np.random.default_rng(0), scene, 128, 128)
    background, _ = render(np.random.default_rng(0), replace(scene, objects=[], relations=[]), 128, 128)
    changed = np.abs(np.asarray(full, int) - np.asarray(background, int)).max(-1) > 8
    for x1, y1, x2, y2 in boxes.tolist():
        assert changed[y1:y2, x1:x2].mean() > 0.15
    assert not changed[: max(0, boxes[:, 1].min() - 3)].any()


def test_photographs_show_the_same_objects():
    similarities = []
    for scene in map(scene_of, range(12)):
        flat, photo = (
            np.asarray(domain.render(np.random.default_rng(0), scene, 128, 128)[0].convert("L"), float)
            for domain in (DOMAINS["synthetic"], DOMAINS["real"])
        )
        x1, y1, x2, y2 = max(pixel_boxes(scene, 128, 128).tolist(), key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))
        similarities.append(np.corrcoef(flat[y1:y2, x1:x2].ravel(), photo[y1:y2, x1:x2].ravel())[0, 1])
    assert np.median(similarities) > 0.6
