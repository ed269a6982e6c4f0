import json

import pytest

from speaq_hf.json_files import write_json


def test_what_json_does_not_know_becomes_null(tmp_path):
    nan, infinity = float("nan"), float("inf")
    write_json(tmp_path / "new" / "a.json", {"a": [1, 0.5, nan], "b": {"c": (infinity, -infinity, "nan")}, "d": True})
    content = json.loads((tmp_path / "new" / "a.json").read_text())
    assert content == {"a": [1, 0.5, None], "b": {"c": [None, None, "nan"]}, "d": True}


def test_a_file_that_cannot_be_made_leaves_the_old_one(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"] and (tmp_path / "a.json").read_text() == "1\n"
