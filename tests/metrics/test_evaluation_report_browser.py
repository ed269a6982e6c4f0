"""The evaluation report in headless Chromium: one page of 1,000 images, on which filters, pages and charts work."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.browser import Browser
from tests.metrics.made_up_evaluations import evaluate, page_data, written


@pytest.fixture(scope="module")
def evaluated():
    return evaluate(1000)


@pytest.fixture(scope="module")
def report(evaluated, tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("report"), evaluated)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator:
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture
def page(browser, report):
    browser.open(report)
    return browser


def choose(page, **values):
    """Fills fields of the filter; the page must answer within a second."""
    fields = "".join(
        f"document.getElementById({json.dumps(name)}).value = {json.dumps(value)};" for name, value in values.items()
    )
    start = time.perf_counter()
    page.run(f"{fields} document.getElementById('filters').dispatchEvent(new Event('input'));")
    assert time.perf_counter() - start < 1


def found(page):
    text = page.run("document.getElementById('range').textContent")
    return int(re.search(r"of (\d+) images", text).group(1)) if "of" in text else 0


def names(page):
    return page.run("[...document.querySelectorAll('.card h3')].map(h => h.firstChild.textContent)")


def test_opens_without_complaint_and_asks_for_nothing_else(page, report):
    assert page.complaints() == []
    assert page.requests() == [report.as_uri()]
    assert page.run("document.title") == "A <title> & more"
    assert page.run("document.querySelectorAll('.card').length") == 10
    assert page.run("document.querySelectorAll('.card img').length") == 30
    assert page.run("[...document.querySelectorAll('.card img')].every(i => i.complete && i.naturalWidth === 320)")


def test_does_not_overflow_a_narrow_screen(browser, report):
    browser.open(report, width=400)
    assert browser.run("document.documentElement.scrollWidth") <= 400
    assert browser.complaints() == []


def test_pages_are_turned(page):
    first = names(page)
    assert first == [f"image <{i}>.jpg" for i in range(10)]
    assert page.run("document.getElementById('previous').disabled")
    page.run("document.getElementById('next').click()")
    assert names(page) == [f"image <{i}>.jpg" for i in range(10, 20)]
    assert page.run("document.getElementById('range').textContent") == "11–20 of 1000 images"
    page.run("document.getElementById('previous-below').click()")
    assert names(page) == first
    choose(page, search="image <99")
    page.run("document.getElementById('next').click()")
    assert names(page) == ["image <999>.jpg"]
    assert page.run("document.getElementById('next').disabled")


def test_filters_find_what_the_examples_hold(page, report):
    data = page_data(report.read_text(encoding="utf-8"))
    keys = [outcome["key"] for outcome in data["outcomes"]]

    def count(fits):
        """Images with an annotated triplet that fits: its predicate, and its outcome for each model."""
        return sum(
            any(
                fits(triplet[2], *(keys[model["outcomes"][i][0]] for model in image["models"]))
                for i, triplet in enumerate(image["triplets"])
            )
            for image in data["images"]
        )

    choose(page, predicate="3")
    assert found(page) == count(lambda p, a, b: p == 3) > 0
    choose(page, outcome="below_k")
    assert found(page) == count(lambda p, a, b: p == 3 and "below_k" in (a, b)) > 0
    choose(page, model="1")
    assert found(page) == count(lambda p, a, b: p == 3 and b == "below_k") > 0
    choose(page, predicate="", outcome="", model="0>1")
    assert found(page) == count(lambda p, a, b: a == "hit" != b) > 0
    choose(page, outcome="missed", model="0")
    assert found(page) == count(lambda p, a, b: a != "hit") > 0
    page.run("document.querySelector('#filters button').click()")
    page.run("new Promise(done => setTimeout(done))")
    assert found(page) == 1000


def test_search_finds_names_and_triplets(page):
    choose(page, search="IMAGE <77>")
    assert names(page) == ["image <77>.jpg"]
    choose(page, search="man riding horse")
    assert 0 < found(page) < 200
    lists = page.run("[...document.querySelectorAll('li.matched')].map(i => i.textContent)")
    assert lists and all(re.match(r"man( \d)? riding horse", text) for text in lists)
    choose(page, search="ON TREE")
    assert found(page) > 0
    choose(page, search="no such thing")
    assert page.run("document.getElementById('range').textContent") == "No image fits."
    assert names(page) == []


def test_numbers_of_the_tables_lead_to_their_images(page):
    cell = "td.link[data-predicate='0'][data-outcome='wrong_predicate'][data-model='1']"
    count = int(page.run(f'document.querySelector("{cell}").textContent'))
    page.run(f'document.querySelector("{cell}").click()')
    assert page.run("document.getElementById('outcome').value") == "wrong_predicate"
    assert 0 < found(page) <= count
    page.run("document.querySelector('.heat .link').dispatchEvent(new Event('click'))")
    assert page.run("document.getElementById('instead').value") != ""
    assert found(page) > 0
    assert page.complaints() == []


def test_a_triplet_shows_its_ends(page):
    boxes = "document.querySelectorAll('.card .picture')[0].querySelectorAll('rect')"
    everything = page.run(f"{boxes}.length")
    page.run("document.querySelector('.card li').dispatchEvent(new Event('mouseenter'))")
    assert page.run(f"{boxes}.length") == 2 < everything
    page.run("document.querySelector('.card li').dispatchEvent(new Event('mouseleave'))")
    assert page.run(f"{boxes}.length") == everything


def test_bars_show_the_chosen_recall(page, evaluated):
    for protocol, k, constraint in (("speaq", 10, ""), ("sgbench", 5, "ng-")):
        for name, value in (("protocol", protocol), ("k", k), ("constraint", constraint)):
            page.run(f"document.getElementById('recall-{name}').value = '{value}'")
        page.run("document.getElementById('recall-k').dispatchEvent(new Event('input'))")
        for number, model in enumerate(evaluated.models):
            recall = model.results["protocols"][protocol]["metrics"][f"{constraint}recall_per_predicate@{k}"]
            shown = page.run(
                "[...document.querySelectorAll('.bar')].map(bar => [bar.dataset.predicate,"
                f" bar.querySelectorAll('.line > span')[{number}].textContent])"
            )
            expected = {
                str(i): "–" if np.isnan(value) else f"{100 * round(value, 5):.1f}" for i, value in enumerate(recall)
            }
            assert dict(shown) == expected
