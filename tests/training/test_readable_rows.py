"""What takes the place of an unreadable image."""

import pytest

from speaq_hf.data.images import UnreadableImageError
from training.augmented_rows import Draw
from training.errors import exit_on_user_error
from training.readable_rows import ReadableRows


class Rows(list):
    """Row numbers; negative ones cannot be read."""

    def __getitem__(self, draw):
        if list.__getitem__(self, draw.row) < 0:
            raise UnreadableImageError(f"image {draw.row} cannot be read")
        return {"draw": draw}


def draws(rows, *indices):
    examples = [rows[Draw(index, 5)] for index in indices]
    return [(*example["draw"], example["num_unreadable"]) for example in examples]


def test_the_next_of_the_same_source_takes_the_place():
    rows = ReadableRows(Rows([0, 1, -2, *range(3, 200)]), ["real"] * 3 + ["synthetic"] * 197)
    assert draws(rows, 0, 1, 2, 3) == [(0, 5, 0), (1, 5, 0), (0, 5, 1), (3, 5, 0)]
    rows = ReadableRows(Rows([0, -1, 2, -3]))
    assert draws(rows, 0, 1, 2, 3) == [(0, 5, 0), (2, 5, 1), (2, 5, 0), (0, 5, 1)]


def test_a_source_without_any_readable_image_ends_the_run():
    rows = ReadableRows(Rows([0, -1, -2]), ["real", "synthetic", "synthetic"])
    with pytest.raises(UnreadableImageError, match="none of 2 images from row 1 on"):
        draws(rows, 1)


def test_errors_of_readers_are_one_line_and_say_which_process(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "3")
    text = "Caught E in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  x\nspeaq.E: image 7 is gone\n"
    with pytest.raises(SystemExit), exit_on_user_error(every_process=True):
        raise ValueError(text)
    assert capsys.readouterr().err == "[rank 3] error: image 7 is gone\n"
    with pytest.raises(SystemExit), exit_on_user_error():
        raise ValueError("every process says it")
    assert capsys.readouterr().err == ""
