"""The data report: every kind of defect is planted and found at its place, and the numbers are those of the set."""

import base64
import io
import json
import re
import shutil

import h5py
import numpy as np
import pytest
from datasets import DatasetDict
from PIL import Image
from scipy.stats import chi2_contingency
from typer.testing import CliRunner

from speaq_hf.cli import app
from speaq_hf.data import generate_synthetic_genome, load_synthetic_genome, load_visual_genome, save_scene_graphs
from speaq_hf.data.defects import DEFECT_KINDS, DefectLog
from speaq_hf.data.genome_inspection import inspect_genome
from speaq_hf.data.report import report_data, report_json
from speaq_hf.data.report_page import report_page
from speaq_hf.data.report_text import report_text
from speaq_hf.data.set_comparison import compare_classes
from speaq_hf.data.set_summary import ClassCounts
from speaq_hf.text_files import write_text
from tests.data.factories import ARRAYS, dataset, row, write_genome
from tests.helpers import REFERENCE


H5, IMAGE_LIST, NAMES = "VG-SGG-with-attri.h5", "image_data.json", "VG-SGG-dicts-with-attri.json"
# The factory's boxes, but each at a place of its own.
SOUND = {"boxes_1024": [[100 + 20 * i, 100 + 10 * i, 50, 50] for i in range(9)]}


def write_sound(root, image_ids=(1, 2, 3, 4, 5), **arrays):
    """The factory's set without what the report warns of, `arrays` replaced."""
    write_genome(root, image_ids, **(SOUND | arrays))
    for image_id in image_ids:  # colours far enough apart to differ in the compressed files
        Image.new("RGB", (64, 48), (image_id * 40 % 256, 0, 0)).save(root / "VG_100K" / f"{image_id}.jpg")
    return root


@pytest.fixture
def root(tmp_path):
    return write_sound(tmp_path / "set")


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """Two small generated sets."""
    roots = [tmp_path_factory.mktemp("generated") / name for name in ("first", "second")]
    for seed, folder in enumerate(roots):
        generate_synthetic_genome(folder, 12 + 6 * seed, seed, image_size=64, num_workers=1)
    return roots


def found(root, **options):
    """(kind, name of the file, field, row) of every listed defect."""
    log = inspect_genome(root, **options).defects
    return [(d.kind, d.file.rsplit("/")[-1], d.field, d.row) for d in log.listed]


def changed(name, position, value):
    """One array of the sound set with one row replaced."""
    values = [list(v) if isinstance(v, list) else v for v in (ARRAYS | SOUND)[name]]
    values[position] = value
    return {name: values}


@pytest.mark.parametrize("keep", ["reference files", "generated files"])
def test_sound_sets_have_no_defects(root, generated, keep):
    log = inspect_genome(root if keep == "reference files" else generated[0]).defects
    assert not log.counts and not log.listed


IN_HDF5 = {
    "class 0": (changed("labels", 4, [0]), ("unknown_class", "labels", 4)),
    "class beyond the names": (changed("labels", 8, [4]), ("unknown_class", "labels", 8)),
    "unknown predicate": (changed("predicates", 2, [3]), ("unknown_class", "predicates", 2)),
    "no width": (changed("boxes_1024", 3, [100, 100, 0, 50]), ("empty_box", "boxes_1024", 3)),
    "negative height": (changed("boxes_1024", 3, [100, 100, 5, -1]), ("empty_box", "boxes_1024", 3)),
    "right of the image": (changed("boxes_1024", 2, [1100, 50, 20, 20]), ("box_outside_image", "boxes_1024", 2)),
    "below an image of 1024 x 768": (changed("boxes_1024", 2, [50, 900, 20, 20]), ("box_outside_image", "boxes_1024", 2)),
    "left of the image": (changed("boxes_1024", 2, [-50, 50, 20, 20]), ("box_outside_image", "boxes_1024", 2)),
    "across the border": (changed("boxes_1024", 2, [1020, 50, 50, 20]), ("box_across_border", "boxes_1024", 2)),
    "box twice": (changed("boxes_1024", 4, SOUND["boxes_1024"][3]) | changed("labels", 4, [1]), ("duplicate_box", "boxes_1024", 4)),
    "box of another image": (changed("relationships", 1, [3, 5]), ("relation_to_missing_box", "relationships", 1)),
    "box that nobody has": (changed("relationships", 4, [7, 9]), ("relation_to_missing_box", "relationships", 4)),
    "box before the first": (changed("relationships", 0, [-1, 0]), ("relation_to_missing_box", "relationships", 0)),
    "self relation": (changed("relationships", 3, [5, 5]), ("self_relation", "relationships", 3)),
    "relation twice": (changed("relationships", 2, [3, 4]) | changed("predicates", 2, [2]), ("duplicate_relation", "relationships", 2)),
    "range beyond the boxes": (changed("img_to_last_box", 4, 9), ("broken_range", "img_to_first_box", 4)),
    "range turned around": (changed("img_to_last_rel", 2, 0), ("broken_range", "img_to_first_rel", 2)),
    "range with one end": (changed("img_to_last_rel", 1, 0), ("broken_range", "img_to_first_rel", 1)),
    "unknown split": (changed("split", 3, 7), ("unknown_split", "split", 3)),
    "rows of nobody": (
        changed("img_to_first_rel", 4, -1) | changed("img_to_last_rel", 4, -1), ("unowned_rows", "relationships", 4),
    ),
    "no array": ({"predicates": None}, ("missing_array", "predicates", None)),
    "floating point": ({"split": [0.5] * 5}, ("broken_array", "split", None)),
    "three columns": ({"relationships": [[0, 1, 2]] * 5}, ("broken_array", "relationships", None)),
    "fewer labels": ({"labels": ARRAYS["labels"][:8]}, ("length_mismatch", "boxes_1024", 8)),
    "fewer predicates": ({"predicates": ARRAYS["predicates"][:4]}, ("length_mismatch", "relationships", 4)),
    "fewer attributes": ({"attributes": [[0]] * 3}, ("length_mismatch", "boxes_1024", 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_HDF5)
def test_defects_of_annotations_are_found_at_their_row(tmp_path, name):
    arrays, (kind, field, row_) = IN_HDF5[name]
    root = write_sound(tmp_path / "set", **(arrays))
    assert (kind, H5, field, row_) in found(root)


def test_one_planted_defect_is_one_defect(tmp_path):
    """A defect does not drag others along: only what it breaks by itself is named beside it."""
    follow_ups = {"fewer labels", "fewer predicates", "no array", "range beyond the boxes"}
    for i, (name, (arrays, (kind, field, row_))) in enumerate(IN_HDF5.items()):
        if name not in follow_ups:
            defects = found(write_sound(tmp_path / str(i), **(arrays)))
            assert defects == [(kind, H5, field, row_)], name


def test_images_that_share_rows(tmp_path):
    root = write_sound(tmp_path / "set", **changed("img_to_last_box", 0, 2))
    assert found(root) == [("shared_rows", H5, "img_to_first_box", 1)]


def test_defects_of_image_files(root):
    folder = root / "VG_100K"
    (folder / "1.jpg").unlink()
    (folder / "2.jpg").write_bytes((folder / "2.jpg").read_bytes()[:300])
    Image.new("RGB", (48, 64), (9, 9, 9)).save(folder / "3.jpg")
    shutil.copy(folder / "5.jpg", folder / "4.jpg")
    (folder / "77.jpg").write_text("not an image")
    expected = {
        ("missing_image", IMAGE_LIST, None, 0),
        ("unreadable_image", IMAGE_LIST, None, 1),
        ("size_mismatch", IMAGE_LIST, None, 2),
        ("duplicate_image", IMAGE_LIST, None, 4),
        ("unlisted_image", "77.jpg", None, None),
    }
    assert set(found(root)) == expected
    assert set(found(root, decode_images=False)) == {
        d for d in expected if d[0] in ("missing_image", "unlisted_image")
    }


@pytest.mark.parametrize("content", [b"", b"GIF89a", bytes(range(256)) * 4])
def test_files_that_are_no_images(root, content):
    (root / "VG_100K" / "2.jpg").write_bytes(content)
    assert found(root) == [("unreadable_image", IMAGE_LIST, None, 1)]


def test_an_image_that_ends_early(root):
    """Its header is whole, so that only decoding the pixels shows it."""
    file = root / "VG_100K" / "2.jpg"
    row(size=(64, 48))["image"].save(file)
    assert found(root) == []
    file.write_bytes(file.read_bytes()[:-200])
    assert Image.open(file).size == (64, 48)
    assert found(root) == [("unreadable_image", IMAGE_LIST, None, 1)]


def test_a_turned_photo_has_the_size_that_is_seen(root):
    """Cameras store turned photos with a note to turn them, which `datasets` follows."""
    stored = Image.new("RGB", (48, 64), (200, 0, 0))
    exif = stored.getexif()
    exif[0x0112] = 6
    stored.save(root / "VG_100K" / "1.jpg", exif=exif)
    assert found(root) == []
    assert load_visual_genome(root, "train", num_validation_images=0)[0]["image"].size == (64, 48)


def test_defects_of_the_image_list(root):
    entries = json.loads((root / IMAGE_LIST).read_text())
    entries[1]["image_id"] = 1
    entries[2]["width"] = 0
    entries[3] = "photo"
    (root / IMAGE_LIST).write_text(json.dumps(entries))
    defects = [d for d in found(root) if d[0] != "unlisted_image"]
    assert defects == [
        ("broken_image_entry", IMAGE_LIST, None, 2),
        ("broken_image_entry", IMAGE_LIST, None, 3),
        ("duplicate_image_id", IMAGE_LIST, None, 1),
    ]


def test_image_list_of_another_length(root):
    entries = json.loads((root / IMAGE_LIST).read_text())
    (root / IMAGE_LIST).write_text(json.dumps(entries[:4]))
    inspection = inspect_genome(root)
    assert set(inspection.defects.counts) == {"length_mismatch", "unlisted_image"}
    assert len(inspection.table.labels) == 9  # the classes do not depend on the sizes


def test_images_known_to_be_corrupt_are_no_defect(tmp_path):
    root = write_sound(tmp_path / "set", image_ids=(1, 1592, 2, 3, 4, 5))
    (root / "VG_100K" / "1592.jpg").write_bytes(b"")
    inspection = inspect_genome(root)
    assert not inspection.defects.counts
    assert inspection.table.image_ids.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("{", "unreadable_file"),
        ("null", "unreadable_file"),
        ("[" * 100_000, "unreadable_file"),
        ("[]", "broken_vocabulary"),
        ('{"label_to_idx": {"cat": 1, "dog": 3, "hat": 4}, "predicate_to_idx": {"on": 1, "near": 2}}', "broken_vocabulary"),
        ('{"label_to_idx": {"cat": 1, "": 2, "hat": 3}, "predicate_to_idx": {"on": 1, "near": 2}}', "broken_vocabulary"),
        (r'{"label_to_idx": {"cat": 1, "a": 2, "\ud800": 3}, "predicate_to_idx": {"on": 1, "near": 2}}', "broken_vocabulary"),
        ('{"label_to_idx": {"cat": 1, "dog": 2, "hat": [3]}, "predicate_to_idx": {"on": 1, "near": 2}}', "broken_vocabulary"),
        (
            '{"label_to_idx": {"cat": 1, "dog": 2, "hat": 3}, "predicate_to_idx": {"on": 1, "near": 2}, '
            '"idx_to_predicate": {"1": "near", "2": "on"}}',
            "broken_vocabulary",
        ),
    ],
)  # fmt: skip
def test_defects_of_the_vocabulary(root, content, kind):
    (root / NAMES).write_text(content)
    assert {(d[0], d[1]) for d in found(root)} == {(kind, NAMES)}


@pytest.mark.parametrize("file", [H5, NAMES, IMAGE_LIST, "VG_100K"])
def test_a_missing_file_is_one_defect(root, file):
    shutil.rmtree(root / file) if (root / file).is_dir() else (root / file).unlink()
    assert found(root) == [("missing_file", file, None, None)]


@pytest.mark.parametrize("file", [H5, NAMES, IMAGE_LIST])
@pytest.mark.parametrize("damage", ["empty", "half", "noise"])
def test_a_file_that_cannot_be_read_is_one_defect(root, file, damage):
    content = (root / file).read_bytes()
    damaged = {"empty": b"", "half": content[: len(content) // 2], "noise": np.random.default_rng(0).bytes(500)}
    (root / file).write_bytes(damaged[damage])
    assert found(root) == [("unreadable_file", file, None, None)]
    assert report_text(report_data(root))


@pytest.mark.parametrize("seed", range(30))
def test_no_damage_to_the_annotations_is_a_traceback(root, seed):
    """Wild values in all arrays, and flipped bytes in the file: defects or nothing, and every output is written."""
    rng = np.random.default_rng(seed)
    if seed % 2:
        content = bytearray((root / H5).read_bytes())
        for position in rng.integers(0, len(content), 20):
            content[position] = rng.integers(256)
        (root / H5).write_bytes(content)
    else:
        with h5py.File(root / H5, "r+") as handle:
            for name in rng.choice(list(handle), 3, replace=False):
                wild = [*range(-3, 12), -(2**63), 2**63 - 1, 2**31]
                handle[name][...] = rng.choice(wild, handle[name].shape)
    report = report_data(root, num_samples=1 if seed < 4 else 0)
    assert report_text(report) and report_json(report)
    if seed < 4:
        assert report_page(report)


def test_counts_are_exact_where_few_are_listed(tmp_path):
    root = write_sound(tmp_path / "set", **({"labels": [[9]] * 9}))
    log = inspect_genome(root, log=DefectLog(2)).defects
    assert log.counts == {"unknown_class": 9} and log.num_errors == 9
    assert [d.row for d in log.listed] == [0, 1]
    text = report_text(report_data(root, max_listed=2))
    assert "unknown_class): 9" in text and "… and 7 more" in text and "row 1 of 'labels'" in text
    assert "row 2 of 'labels'" not in text


def test_every_kind_of_defect_is_an_error_or_a_warning():
    assert {severity for severity, _ in DEFECT_KINDS.values()} == {"error", "warning"}
    log = DefectLog()
    log.add("duplicate_box", "file", "message")
    assert (log.num_errors, log.num_warnings) == (0, 1)
    with pytest.raises(KeyError):
        log.add("no such kind", "file", "message")
    with pytest.raises(ValueError, match="max_listed"):
        DefectLog(-1)


def test_what_is_sound_is_what_the_reader_reads(generated):
    """Files and the datasets read from them have the same numbers."""
    splits = {
        name: load_synthetic_genome(generated[1], name, keep_empty=True) for name in ("train", "validation", "test")
    }
    from_files = report_data(generated[1], num_samples=50).sets[0]
    from_rows = report_data(DatasetDict(splits), num_samples=50).sets[0]
    assert from_files.summary.to_dict()["total"]["images"] == 18
    # The file's splits alternate, so that only the order differs.
    assert from_rows.to_dict()["summary"] == from_files.to_dict()["summary"]
    graphs = [{sample.name: sample.graph.to_dict() for sample in s.samples} for s in (from_rows, from_files)]
    assert graphs[0] == graphs[1] and len(graphs[0]) >= 15
    assert not from_rows.defects.counts and not from_files.defects.counts


def test_summary_counts_what_is_there(root):
    summary = report_data(root).sets[0].summary
    assert summary.to_dict()["splits"] == {
        "train": {"images": 3, "boxes": 5, "relations": 3, "images_without_boxes": 0, "images_without_relations": 1},
        "validation": {"images": 1, "boxes": 2, "relations": 1, "images_without_boxes": 0, "images_without_relations": 0},
        "test": {"images": 1, "boxes": 2, "relations": 1, "images_without_boxes": 0, "images_without_relations": 0},
    }  # fmt: skip
    assert dict(zip(summary.objects.names, summary.objects.counts.tolist(), strict=True)) == {
        "cat": 3,
        "dog": 3,
        "hat": 3,
    }
    assert dict(zip(summary.predicates.names, summary.predicates.counts.tolist(), strict=True)) == {"near": 3, "on": 2}
    assert summary.boxes_per_image.tolist() == [0, 1, 4]
    assert summary.relations_per_image.tolist() == [1, 3, 1]
    area = 50 * 50 / (1024 * 768)  # of every box
    (bin_,) = np.flatnonzero(summary.box_areas)
    edges = summary.to_dict()["box_areas"]["edges"]
    assert edges[bin_] <= area < edges[bin_ + 1] and summary.box_areas[bin_] == 9


def test_defective_rows_do_not_count(tmp_path):
    arrays = changed("labels", 3, [9]) | changed("relationships", 3, [0, 5])
    summary = report_data(write_sound(tmp_path / "set", **(arrays))).sets[0].summary
    assert summary.total.boxes == 8
    assert summary.total.relations == 2  # the two of the nameless box and the one to another image are out


def test_rows_need_not_be_ordered_by_image(tmp_path):
    """The second image's rows lie before the first image's."""
    arrays = {"img_to_first_box": [1, 0, 3, 5, 7], "img_to_last_box": [2, 0, 4, 6, 8]} | changed(
        "relationships", 0, [2, 1]
    )
    inspection = inspect_genome(write_sound(tmp_path / "set", **(arrays)))
    assert not inspection.defects.counts
    boxes, labels, relations = inspection.table.graph(0)
    assert labels.tolist() == [1, 2] and relations.tolist() == [[1, 0, 0]] and boxes.shape == (2, 4)
    assert inspection.table.graph(1)[1].tolist() == [0]


def test_head_and_tail():
    tail = ClassCounts(["a", "b", "c", "d", "e"], np.array([3, 60, 0, 30, 7])).tail()
    assert tail["covering"] == {0.5: 1, 0.8: 2, 0.95: 3}
    assert (tail["used"], tail["rare"], tail["most_frequent"], tail["imbalance"]) == (4, 2, "b", 20.0)
    even = ClassCounts(["a", "b", "c"], np.array([5, 5, 5])).tail()
    assert even["effective_classes"] == pytest.approx(3)
    assert ClassCounts(["a"], np.array([0])).tail()["most_frequent"] is None


def test_comparison_of_two_distributions():
    first = ClassCounts(["a", "b", "c", "x"], np.array([50, 30, 20, 0]))
    second = ClassCounts(["b", "a", "c", "y"], np.array([60, 20, 0, 20]))
    comparison = compare_classes(first, second)
    assert (comparison.common, comparison.only_first, comparison.only_second) == (["a", "b"], ["c"], ["y"])
    assert comparison.total_variation == pytest.approx(0.5)
    assert [(gap.name, gap.first, gap.second) for gap in comparison.gaps][0] == ("a", 0.5, 0.2)
    assert "x" not in {gap.name for gap in comparison.gaps}
    expected = chi2_contingency([[50, 30], [20, 60]], correction=False)
    assert comparison.chi_square.statistic == pytest.approx(expected.statistic)
    assert comparison.chi_square.p_value == pytest.approx(expected.pvalue)
    assert comparison.chi_square.cramers_v == pytest.approx((expected.statistic / 160) ** 0.5)
    assert comparison.chi_square.balanced_cramers_v == pytest.approx((expected.statistic / 160) ** 0.5)  # 80 and 80


def test_the_balanced_effect_size_does_not_depend_on_the_sizes_of_the_sets():
    names, counts = ["a", "b", "c"], np.array([10, 20, 70])
    first = ClassCounts(names, np.array([60, 30, 10]))
    small, large = (compare_classes(first, ClassCounts(names, counts * n)).chi_square for n in (1, 10_000))
    assert large.cramers_v < small.cramers_v / 10
    assert large.balanced_cramers_v == pytest.approx(small.balanced_cramers_v) == pytest.approx(small.cramers_v)


def test_test_of_equal_and_of_disjoint_distributions():
    counts = ClassCounts(["a", "b"], np.array([40, 60]))
    assert compare_classes(counts, counts).chi_square.p_value == 1
    assert compare_classes(counts, counts).chi_square.cramers_v == 0
    other = ClassCounts(["c", "b"], np.array([5, 0]))
    comparison = compare_classes(counts, other)
    assert comparison.chi_square is None and comparison.common == [] and comparison.total_variation == 1


def test_two_sets_side_by_side(generated):
    report = report_data(*generated)
    content = json.loads(report_json(report))
    assert [s["name"] for s in content["sets"]] == ["first", "second"]
    counts = [s["summary"]["predicates"]["counts"] for s in content["sets"]]
    used = [{name for name, count in c.items() if count} for c in counts]
    assert set(content["comparison"]["predicates"]["common"]) == used[0] & used[1]
    assert set(content["comparison"]["predicates"]["only_first"]) == used[0] - used[1]
    text = report_text(report)
    assert "Cramér's V" in text and "largest gaps" in text
    assert [reported.name for reported in report_data(generated[0], generated[0], num_samples=0).sets] == [
        f"{generated[0]} (1)",
        f"{generated[0]} (2)",
    ]


class TestPage:
    def test_it_needs_no_other_file(self, generated):
        page = report_page(report_data(*generated, num_samples=2))
        sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
        assert len(sources) == 5 and all(source.startswith("data:image/") for source in sources)
        assert not re.search(r"https?://(?!www\.w3\.org)|@import|url\(", page)
        picture = re.search(r"data:image/webp;base64,([^\"]+)", page).group(1)
        assert Image.open(io.BytesIO(base64.b64decode(picture))).size[0] > 600  # full width of the page

    def test_names_are_escaped(self, root):
        names = {"label_to_idx": {"<b>cat": 1, "dog": 2, "hat": 3}, "predicate_to_idx": {"<script>": 1, "on": 2}}
        (root / NAMES).write_text(json.dumps(names))
        page = report_page(report_data(root))
        assert "&lt;script&gt;" in page and "<script>" not in page and "<b>cat" not in page

    def test_bars_are_logarithmic(self, tmp_path):
        """A class ten times rarer is one decade shorter, and the rarest still has a bar."""
        labels = [1] * 1000 + [2] * 100 + [3]
        boxes = [[10 + 3 * (i % 20), 10 + 3 * (i // 20), 20, 20] for i in range(len(labels))]
        page = report_page(report_data(dataset([row(boxes=boxes, labels=[x - 1 for x in labels])])))
        widths = [float(w) for w in re.findall(r'<div style="width: ([\d.]+)%', page)]
        assert len(widths) == 3
        assert widths[0] - widths[1] == pytest.approx(100 / 4, abs=0.02) and widths[2] > 0
        assert "Never annotated: near, on" in page


def test_a_single_image_without_relations(tmp_path):
    report = report_data(dataset([row(boxes=[[0, 0, 40, 30]], labels=[1])]))
    summary = report.sets[0].summary
    assert (summary.total.images, summary.total.boxes, summary.total.relations) == (1, 1, 0)
    assert summary.box_areas[-1] == 1  # the box fills the image
    assert "none of 2 classes annotated" in report_text(report)
    assert "Never annotated: near, on" in report_page(report)


def test_an_image_without_anything():
    report = report_data(dataset([row()]), dataset([row()]))
    assert report.predicates.chi_square is None and report.predicates.gaps == []
    assert "chi-square test: needs" in report_text(report) and report_page(report)


def test_a_set_without_any_relation(tmp_path):
    arrays = {"img_to_first_rel": [-1] * 5, "img_to_last_rel": [-1] * 5, "predicates": np.zeros((0, 1), int)}
    root = write_sound(tmp_path / "set", **arrays, relationships=np.zeros((0, 2), int))
    report = report_data(root)
    assert not report.sets[0].defects.counts and report.sets[0].summary.total.relations == 0
    assert report_text(report) and report_page(report)


def test_reference_files():
    """The recorded set: relations annotated twice, boxes across the border, and one image of another size."""
    report = report_data(REFERENCE / "vg", images="images")
    assert report.sets[0].defects.counts == {"duplicate_relation": 35, "box_across_border": 23, "size_mismatch": 1}
    assert report.num_errors == 1


def test_arguments_are_checked(root):
    with pytest.raises(ValueError, match="one or two"):
        report_data()
    with pytest.raises(ValueError, match="num_samples"):
        report_data(root, num_samples=-1)
    with pytest.raises(ValueError, match="num_threads"):
        report_data(root, num_threads=0)
    with pytest.raises(FileNotFoundError, match="synthetic-SGG-with-attri.h5"):
        report_data(root / "VG_100K")


def test_a_report_is_written_whole_or_not_at_all(tmp_path):
    write_text(tmp_path / "new" / "report.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "new" / "report.txt", "half of it \ud800")
    assert (tmp_path / "new" / "report.txt").read_text() == "old"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.txt"]


class TestCommand:
    def run(self, *arguments):
        return CliRunner().invoke(app, ["data-report", *map(str, arguments)])

    def test_a_sound_set(self, generated, tmp_path):
        result = self.run(*generated, "--json", tmp_path / "r.json", "--html", tmp_path / "r.html", "--num-samples", 1)
        assert result.exit_code == 0, result.output
        assert "No defects." in result.output
        assert json.loads((tmp_path / "r.json").read_text())["sets"][1]["defects"]["errors"] == 0
        assert (tmp_path / "r.html").read_text().startswith("<!DOCTYPE html>")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["r.html", "r.json"]

    def test_warnings_and_errors_differ_in_the_exit_code(self, tmp_path):
        warned = write_sound(tmp_path / "warned", **(changed("relationships", 3, [5, 5])))
        broken = write_sound(tmp_path / "broken", **(changed("labels", 4, [0])))
        assert self.run(warned).exit_code == 0
        result = self.run(warned, broken)
        assert result.exit_code == 1
        assert "row 4 of 'labels': class 0 is not in 1..3" in result.output
        assert "row 3 of 'relationships': box 5 twice, image 4" in result.output

    @pytest.mark.parametrize("option", ["--html", "--json"])
    def test_a_folder_for_a_file_is_refused_before_the_inspection(self, root, tmp_path, option, monkeypatch):
        monkeypatch.setattr("speaq_hf.data.report.inspect_genome", lambda *_, **__: pytest.fail("inspected"))
        (tmp_path / "pages").mkdir()
        result = self.run(root, option, tmp_path / "pages")
        assert result.exit_code == 2 and "folder; name a file in it" in result.output
        assert not list(tmp_path.glob("*.tmp"))
        (tmp_path / "file").touch()
        assert self.run(root, option, tmp_path / "file" / "report").exit_code == 2

    def test_images_are_decoded_unless_told_otherwise(self, root):
        (root / "VG_100K" / "1.jpg").write_bytes(b"")
        assert self.run(root).exit_code == 1
        assert self.run(root, "--no-images").exit_code == 0

    def test_a_folder_without_a_set(self, tmp_path):
        result = self.run(tmp_path)
        assert result.exit_code == 2
        assert "Traceback" not in result.output


def test_sets_in_other_formats_are_counted_and_compared(generated, tmp_path):
    splits = {split: load_synthetic_genome(generated[0], split) for split in ("train", "test")}
    save_scene_graphs(splits, tmp_path / "coco", "coco")
    report = report_data(generated[0], tmp_path / "coco", num_samples=1)
    original, converted = report.sets
    assert not original.defects.counts and not converted.defects.counts
    counts = {name: len(part) for name, part in splits.items()}
    assert converted.summary.to_dict()["splits"] and len(converted.samples) == 1 and report.predicates is not None
    assert sum(counts.values()) <= 12
    result = CliRunner().invoke(app, ["data-report", str(tmp_path / "coco")])
    assert result.exit_code == 0 and "predicates" in result.output.lower()
    (tmp_path / "nothing").mkdir()
    with pytest.raises(FileNotFoundError, match="nothing: expected a folder"):
        report_data(tmp_path / "nothing")
