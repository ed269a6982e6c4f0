"""Lines of images that are done survive whatever cuts off the file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaq_hf.prediction_run.records import RecordFile, Records, skipped_line, video_line


LINES = ['{"image_id": 1, "boxes": []}', '{"image_id": "a \\u00e9", "boxes": [1]}', skipped_line("b", "no image"),
         '{"image_id": "clip#0", "x": 0}', video_line("clip", [0])]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    file = RecordFile(folder, 0)
    file.add(LINES[:2])
    file.add(LINES[2:])
    file.close()
    return folder / "0000-0000.jsonl"


def test_records_come_back(whole):
    records = Records.read([whole])
    assert list(records.predicted) == ["1", "a é", "clip#0"]
    assert (records.skipped, records.frames) == ({"b": "no image"}, {"clip": [0]})
    assert list(records.lines(["clip#0", "missing", 1])) == [f"{LINES[i]}\n".encode() for i in (3, 0)]


@given(st.data())
def test_a_file_that_was_cut_off_gives_its_whole_lines(whole, tmp_path_factory, data):
    content = whole.read_bytes()
    cut = content[: data.draw(st.integers(0, len(content)))]
    zeros = data.draw(st.sampled_from([b"", b"\0" * 9, b"\0\0}\n"]))
    file = tmp_path_factory.mktemp("cut") / "part.jsonl"
    file.write_bytes(cut + zeros)
    records = Records.read([file])
    complete = [line for line, _ in zip(LINES, range(cut.count(b"\n")), strict=False)]
    assert list(records.lines(records.predicted)) == [f"{line}\n".encode() for line in complete if "image_id" in line]


def test_of_an_image_with_two_lines_the_first_counts(tmp_path):
    for process, line in enumerate(('{"image_id": 1, "n": 1}', '{"image_id": "1", "n": 2}')):
        file = RecordFile(tmp_path, process)
        file.add([line])
        file.close()
    records = Records.read(sorted(tmp_path.iterdir()))
    assert list(records.lines([1])) == [b'{"image_id": 1, "n": 1}\n']


def test_nobody_writes_behind_a_line_that_was_cut_off(tmp_path):
    (tmp_path / "0000-0003.jsonl").write_bytes(b'{"image_id": 1, "bo')
    file = RecordFile(tmp_path, 3)
    file.add(LINES[:1])
    file.close()
    assert list(Records.read(sorted(tmp_path.iterdir())).predicted) == ["1"]
