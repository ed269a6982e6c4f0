"""What the tables, the charts and the images of the evaluation report say, and that its text is escaped."""

import base64
import dataclasses
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from speaq_hf.json_files import finite_or_none
from speaq_hf.metrics import PROTOCOLS, Difference, ErrorAnatomy, ObjectPrecision
from speaq_hf.metrics.evaluation_report import (
    EvaluatedModel,
    ReportClasses,
    ReportExample,
    write_evaluation_report,
)
from speaq_hf.metrics.report_charts import OUTCOMES, confusion_map, predicate_order, predicate_rows, recall_bar
from speaq_hf.metrics.report_images import ImageRules, image_values
from speaq_hf.metrics.report_tables import METRIC_MEANINGS, RULE_MEANINGS, difference_rows, further_tables, recall_rows
from speaq_hf.metrics.scene_graph_evaluator import RecallSettings, SceneGraphEvaluator
from speaq_hf.metrics.triplet_errors import CAUSES
from tests.metrics.made_up_evaluations import CLASSES, COUNTS, OBJECTS, PREDICATES, P, evaluate, page_data, written


@pytest.fixture(scope="module")
def two_models():
    return evaluate(30)


class TestTables:
    def test_every_number_of_every_protocol_is_there_with_its_interval(self, two_models):
        results = two_models.models[0].results
        rows = {row["name"]: row["cells"] for row in recall_rows(results)}
        strict = results["protocols"]["strict"]
        expected = f"{100 * strict['metrics']['mR@10']:.2f}"
        cell = rows["mR"][2 * list(PROTOCOLS).index("strict") + 1]
        low, high = strict["intervals"]["mR@10"]
        assert cell == {"value": expected, "interval": f"{100 * low:.1f} – {100 * high:.1f}"}
        assert len(rows) >= 12 and all(len(cells) == 2 * len(PROTOCOLS) for cells in rows.values())

    def test_a_number_that_no_image_defines_is_a_dash(self):
        results = {"ks": [1], "protocols": {"a": {"metrics": {"zR@1": float("nan"), "num_images": 3}}}}
        assert recall_rows(results)[0]["cells"] == [{"value": "–", "interval": ""}]

    def test_every_metric_and_rule_is_explained(self, two_models):
        assert [row["name"] for row in recall_rows(two_models.models[0].results) if not row["meaning"]] == []
        assert METRIC_MEANINGS.keys() >= {"R", "zR", "mR", "F", "pair_accuracy"}
        assert RULE_MEANINGS.keys() == PROTOCOLS["speaq"].rules.keys()

    def test_a_difference_counts_where_its_interval_leaves_0_out(self):
        columns = {
            "R@1": Difference(0.02, 0.01, 0.03),
            "mR@1": Difference(-0.02, -0.03, -0.01),
            "F@1": Difference(0.02, -0.01, 0.05),
        }
        protocols, rows = difference_rows({"strict": columns}, [1])
        assert protocols == ["strict"]
        assert [row["cells"][0]["side"] for row in rows] == ["better", "worse", ""]
        assert rows[0]["cells"] == [{"value": "+2.00", "interval": "+1.0 to +3.0", "side": "better"}]

    def test_other_tallies_are_tables_of_their_numbers(self):
        results = [
            {"ks": [1], "protocols": {}, "objects": {"AP50": 0.5, "images": n, "per_class": [1.0]}} for n in (3, 4000)
        ]
        (table,) = further_tables([("a", results[0]), ("b", results[1])])
        assert table == {"heading": "Objects", "rows": [("AP50", ["50.00", "50.00"]), ("images", ["3", "4,000"])]}


def test_results_from_a_json_file_give_the_same_page(two_models, tmp_path):
    """Where a number is nan the file has null."""
    nothing = SceneGraphEvaluator(
        RecallSettings(P, num_replicates=5),
        ["strict"],
        {"error_anatomy": ErrorAnatomy(P), "objects": ObjectPrecision(9)},
    )
    for name, models in (("some", two_models.models), ("none", [EvaluatedModel("empty", nothing.compute())])):
        saved = json.loads(json.dumps(finite_or_none([model.results for model in models])))
        loaded = [EvaluatedModel(model.name, results) for model, results in zip(models, saved, strict=True)]
        pages = [
            write_evaluation_report(tmp_path / f"{name}.html", either, CLASSES).read_text(encoding="utf-8")
            for either in (models, loaded)
        ]
        assert pages[0] == pages[1]
    assert '<th scope="row">AP50</th><td>–</td>' in pages[1]


def test_differences_from_a_json_file_may_be_undefined():
    columns = {"R@1": Difference(0.02, None, None), "mR@1": Difference(None, None, None)}
    cells = [row["cells"][0] for row in difference_rows({"strict": columns}, [1])[1]]
    assert cells == [{"value": "+2.00", "interval": "", "side": ""}, {"value": "–", "interval": "", "side": ""}]


class TestCharts:
    def test_predicates_stand_in_the_order_of_training_in_thirds(self):
        order = predicate_order(P, COUNTS)
        assert [place["number"] for place in order] == [1, 0, 2, 3, 4, 5]
        assert [place["part"] for place in order] == ["head", "head", "body", "body", "tail", "tail"]
        assert [place["number"] for place in predicate_order(P, None)] == list(range(P))

    def test_the_bar_is_as_long_as_recall_1(self, two_models):
        assert [outcome.key for outcome in OUTCOMES] == ["hit", *CAUSES]
        for model in two_models.models:
            parts = recall_bar(model.results["error_anatomy"])
            assert sum(part["share"] for part in parts) == pytest.approx(1, abs=1e-12)
            assert min(part["count"] for part in parts[:-1]) > 0  # every cause but the rare last one occurs there

    def test_only_predicates_that_occur_are_listed(self, two_models):
        anatomy = two_models.models[0].results["error_anatomy"]
        rows = predicate_rows(anatomy, PREDICATES, predicate_order(P, COUNTS))
        assert [row["number"] for row in rows] == [1, 0, 2, 3, 4]  # "has" is never annotated
        assert all(sum(count for _, count, _ in row["cells"]) == row["total"] for row in rows)

    def test_confusion_shows_the_rows_and_columns_that_occur(self):
        confusion = np.zeros((4, 4), dtype=int)
        confusion[2, 0], confusion[2, 3] = 3, 1
        shown = confusion_map({"confusion": confusion.tolist()}, "abcd", predicate_order(4, [1, 2, 3, 4]))
        assert shown["rows"] == [(2, "c")] and shown["columns"] == [(3, "d"), (0, "a")]
        assert shown["cells"] == [(0, 0, 1, 0.25), (0, 1, 3, 0.75)] and shown["left_out"] == 0
        assert confusion_map({"confusion": [[0]]}, "a", predicate_order(1, None)) is None

    def test_confusion_of_many_predicates_leaves_out_the_least_confused(self):
        confusion = np.eye(100, dtype=int) * np.arange(1, 101)
        shown = confusion_map(
            {"confusion": confusion.tolist()}, [str(i) for i in range(100)], predicate_order(100, None)
        )
        assert [number for number, _ in shown["rows"]] == list(range(40, 100))
        assert shown["left_out"] == np.arange(1, 41).sum()


class TestImages:
    def values(self, **overrides):
        truth = {
            "boxes": [[0, 0, 400, 400], [600, 0, 1000, 400]],
            "labels": [0, 1],
            "relations": [[0, 1, 3], [1, 0, 1]],
        }
        predicted = {
            "boxes": [[0, 0, 10, 10], [0, 0, 400, 400], [600, 0, 1000, 400]],
            "labels": [2, 0, 1],
            "scores": [1, 1, 1],
            "relations": [[0, 1, 0], [1, 0, 0], [2, 1, 4], [1, 2, 3]],
            "relation_scores": [0.9, 0.8, 0.7, 0.6],
        }
        rules = {"k": 5, "iou_threshold": 0.5, "mode": "sgdet", "num_objects": 3, "num_predicates": P}
        rules |= {"num_predictions": 1, "thumbnail_side": 100} | overrides
        example = ReportExample("a.jpg", truth, [predicted], Image.new("RGB", (1000, 400)))
        return image_values(example, ImageRules(PROTOCOLS["strict"], **rules))

    def test_rows_are_the_first_and_the_hits_and_boxes_fit_the_picture(self):
        values = self.values()
        assert values["size"] == [100, 40]
        assert values["objects"] == [[0, 0, 0, 40, 40], [1, 60, 0, 40, 40]]
        assert values["triplets"] == [(0, 1, 3), (1, 0, 1)]
        (model,) = values["models"]
        assert model["objects"] == [[2, 0, 0, 1, 1], [0, 0, 0, 40, 40], [1, 60, 0, 40, 40]]
        assert model["rows"] == [[0, 0, 1, 0, 0.9, False], [3, 1, 2, 3, 0.6, True]]
        wrong = [outcome.key for outcome in OUTCOMES].index("wrong_predicate")
        assert model["outcomes"] == [[0, 3, [1, 2, 3]], [wrong, None, [2, 1, 4]]]

    def test_objects_of_no_listed_row_are_left_out(self):
        (model,) = self.values(k=1)["models"]
        assert [row[0] for row in model["rows"]] == [0]
        assert len(model["objects"]) == 3  # two speak for the triplets that were missed

    def test_picture_is_a_small_jpeg(self):
        head, content = self.values()["picture"].split(",")
        assert head == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(content))) as thumbnail:
            assert (thumbnail.format, thumbnail.size) == ("JPEG", (100, 40))

    def test_class_without_a_name_is_named(self):
        with pytest.raises(ValueError, match="Example 'a.jpg' of the report: object class 2 has no name, there are 2"):
            self.values(num_objects=2)


class TestPage:
    def test_asks_for_nothing_outside_and_is_written_whole(self, two_models, tmp_path):
        page = written(tmp_path, two_models).read_text(encoding="utf-8")
        markup = re.sub(r'id="report-data">.*?</script>', "", page, flags=re.DOTALL)
        addresses = re.findall(r"https?://[^\"'\s]*", markup)
        assert set(addresses) == {"http://www.w3.org/2000/svg"}  # a name, not an address
        assert re.search(r"@import|url\(|<link|<iframe", markup) is None
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]

    def test_every_text_is_escaped(self, two_models, tmp_path):
        page = written(tmp_path, two_models).read_text(encoding="utf-8")
        assert "<h1>A &lt;title&gt; &amp; more</h1>" in page
        assert "speaq &lt;i&gt;best&lt;/i&gt;" in page
        for text in ("<img src=x", "<script>throw", "<i>best", "image <0>", '<b>&amp; "'):
            assert text not in page
        data = page_data(page)
        assert data["objects"] == OBJECTS and data["predicates"] == PREDICATES
        assert data["images"][0]["name"] == "image <0>.jpg"

    def test_both_graphs_of_every_image_are_in_the_page(self, two_models, tmp_path):
        data = page_data(written(tmp_path, two_models).read_text(encoding="utf-8"))
        assert len(data["images"]) == 30 and all(len(image["models"]) == 2 for image in data["images"])
        anatomies = [model.results["error_anatomy"] for model in two_models.models]
        for number, anatomy in enumerate(anatomies):
            outcomes = [row[0] for image in data["images"] for row in image["models"][number]["outcomes"]]
            counts = dict(
                zip((outcome.key for outcome in OUTCOMES), np.bincount(outcomes, minlength=len(OUTCOMES)), strict=True)
            )
            assert counts == anatomy["counts"]

    def test_one_model_without_errors_images_counts_and_intervals(self, tmp_path):
        evaluator = SceneGraphEvaluator(RecallSettings(P, ks=(5,)), ["speaq"])
        model = EvaluatedModel("only", evaluator.compute())
        write_evaluation_report(tmp_path / "r.html", [model], ReportClasses(OBJECTS, PREDICATES))
        page = (tmp_path / "r.html").read_text()
        assert 'id="metrics"' in page and 'id="predicates"' in page
        for section in ("errors", "confusion", "images", "differences"):
            assert f'id="{section}"' not in page

    def test_models_that_were_not_evaluated_alike_are_refused(self, two_models, tmp_path):
        first = two_models.models[0]
        other = dataclasses.replace(first, results=first.results | {"mode": "sgcls"})
        with pytest.raises(ValueError, match="The models were not evaluated alike: mode is sgdet and sgcls"):
            write_evaluation_report(tmp_path / "r.html", [first, other], CLASSES)
        with pytest.raises(ValueError, match="one or two models, got 3"):
            write_evaluation_report(tmp_path / "r.html", [first] * 3, CLASSES)

    @pytest.mark.parametrize(
        ("classes", "message"),
        [
            (ReportClasses(OBJECTS, PREDICATES[1:]), "The results have 6 predicates, but there are 5 names"),
            (
                ReportClasses(OBJECTS, PREDICATES, [1]),
                "predicate_counts must hold 6 numbers, one per predicate, got 1",
            ),
        ],
    )
    def test_classes_that_do_not_fit_are_refused(self, two_models, tmp_path, classes, message):
        with pytest.raises(ValueError, match=message):
            write_evaluation_report(tmp_path / "r.html", two_models.models, classes)

    def test_faulty_examples_are_named(self, two_models, tmp_path):
        example = dataclasses.replace(two_models.examples[0], predictions=[])
        with pytest.raises(
            ValueError, match="Example 'image <0>.jpg' of the report has 0 predictions, but there are 2 models"
        ):
            write_evaluation_report(tmp_path / "r.html", two_models.models, CLASSES, [example])
        example = dataclasses.replace(two_models.examples[0], predictions=[{}, {}])
        with pytest.raises(ValueError, match="Example 'image <0>.jpg' of the report: .*`boxes` is missing"):
            write_evaluation_report(tmp_path / "r.html", two_models.models, CLASSES, [example])
        assert list(tmp_path.iterdir()) == []
