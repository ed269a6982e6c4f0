"""Videos: every frame upright with its time, and a copy with boxes, relations and sound."""

import json
import struct
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from speaq_hf.prediction_run.frame_choice import FrameChoice
from speaq_hf.prediction_run.frame_drawing import FrameArtist
from speaq_hf.prediction_run.interruption import InterruptedRun
from speaq_hf.prediction_run.run import PredictionRun
from speaq_hf.prediction_run.run_options import RunOptions
from speaq_hf.prediction_run.sources import SourceOptions, find_sources
from speaq_hf.predictions import read_scene_graphs
from speaq_hf.predictor import GraphOptions
from tests.prediction_run.test_run import Interrupted


av = pytest.importorskip("av")

from speaq_hf.prediction_run import video_run  # noqa: E402
from speaq_hf.prediction_run.video_reading import UnreadableVideoError, VideoReader, latest_frames  # noqa: E402
from speaq_hf.prediction_run.video_writing import VideoWriter  # noqa: E402


SIZE = (96, 64)


def write_video(path, images, times=None, sound=False, codec="libx264"):
    """A video of images at 10 frames per second, or at the given times, with a tone on request."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *images[0].size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        tone = container.add_stream("aac", rate=8000) if sound else None
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_image(image)
            frame.pts, frame.time_base = round(1000 * (times[number] if times else number / 10)), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            _write_tone(container, tone, len(images) / 10)
    return path


def _write_tone(container, stream, seconds):
    for start in range(0, int(8000 * seconds), 1024):
        wave = np.sin(np.arange(start, start + 1024) / 3).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def moving(genome, count):
    """Parts of an image, from left to right."""
    image = Image.open(sorted((genome / "VG_100K").glob("*.jpg"))[1]).resize((160, 80))
    return [image.crop((4 * number, 8, 4 * number + SIZE[0], 8 + SIZE[1])) for number in range(count)]


@pytest.fixture(scope="module")
def clip(genome, tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", moving(genome, 12), sound=True)


def read(path, **choice):
    with closing(VideoReader(str(path))) as reader:
        return list(reader.frames(FrameChoice(**choice)))


def test_frames_come_with_number_and_time(clip, genome):
    frames = read(clip)
    assert [frame.number for frame in frames] == list(range(12))
    assert [round(frame.time, 3) for frame in frames] == [number / 10 for number in range(12)]
    expected = np.asarray(moving(genome, 12)[7], dtype=float)
    assert np.abs(np.asarray(frames[7].image) - expected).mean() < 6


@pytest.mark.parametrize(
    ("choice", "numbers"),
    [({"every": 5}, [0, 5, 10]), ({"rate": 2}, [0, 5, 10]), ({"rate": 3}, [0, 4, 7, 10]), ({"rate": 50}, range(12))],
)
def test_some_frames_are_chosen(clip, choice, numbers):
    assert [frame.number for frame in read(clip, **choice)] == list(numbers)


def test_times_of_a_variable_rate_are_kept(genome, tmp_path):
    times = [0.0, 0.1, 0.5, 0.55, 2.0]
    path = write_video(tmp_path / "variable.mp4", moving(genome, 5), times)
    assert [round(frame.time, 2) for frame in read(path)] == times
    with VideoWriter(tmp_path / "copy.mp4", SIZE, 10) as writer:
        for frame in read(path):
            writer.write(frame.image, frame.time)
    assert [round(frame.time, 2) for frame in read(tmp_path / "copy.mp4")] == times


@pytest.mark.parametrize(
    ("matrix", "turn"), [((0, 1, -1, 0), Image.Transpose.ROTATE_270), ((-1, 0, 0, -1), Image.Transpose.ROTATE_180)]
)
def test_a_turned_video_is_upright(genome, tmp_path, matrix, turn):
    path = write_video(tmp_path / "turned.mp4", moving(genome, 2))
    plain, content = read(path)[0].image, path.read_bytes()
    unit = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    a, b, c, d = (value << 16 for value in matrix)
    place = content.index(unit, content.index(b"tkhd"))  # the movie's own header has such a matrix, too
    path.write_bytes(content[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + content[place + 36 :])
    turned = read(path)[0].image
    assert np.abs(np.asarray(turned, float) - np.asarray(plain.transpose(turn), float)).mean() < 1


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"no video", "cannot be read as a video"), (b"", "cannot be read as a video")],
)
def test_what_is_no_video_is_named(tmp_path, content, words):
    path = tmp_path / "broken.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableVideoError, match=words) as error:
        read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        _write_tone(container, container.add_stream("aac", rate=8000), 0.5)
    with pytest.raises(UnreadableVideoError, match="holds no pictures, only sound or text"):
        read(tmp_path / "sound.mp4")


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.avi", "out.webm"])
def test_containers_get_a_codec_that_they_take(genome, tmp_path, name):
    with VideoWriter(tmp_path / name, SIZE, 10) as writer:
        for number, image in enumerate(moving(genome, 3)):
            writer.write(image, number / 10)
    assert len(read(tmp_path / name)) == 3
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_without_h264_the_older_codec_is_taken(genome, tmp_path, monkeypatch):
    monkeypatch.setattr("speaq_hf.prediction_run.video_writing._can_encode", lambda codec: codec != "libx264")
    with VideoWriter(tmp_path / "out.mp4", SIZE, Fraction(30000, 1001)) as writer:
        for number, image in enumerate(moving(genome, 3)):
            writer.write(image, number * 1001 / 30000)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert [round(30 * frame.time) for frame in read(tmp_path / "out.mp4")] == [0, 1, 2]


def test_an_unknown_container_and_an_error_leave_nothing(genome, tmp_path):
    with pytest.raises(ValueError, match=r"no video can be written with the suffix '.foo'.*take .mp4"):
        VideoWriter(tmp_path / "out.foo", SIZE, 10)
    with pytest.raises(KeyError), VideoWriter(tmp_path / "out.mp4", SIZE, 10) as writer:
        writer.write(moving(genome, 1)[0], 0.0)
        raise KeyError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(96, 64), (33, 17), (17, 33), (1, 1), (3000, 40), (1279, 719)])
def test_drawn_frames_have_even_sides(predictor, size):
    image = Image.new("RGB", size, "white")
    artist = FrameArtist(size, min_score=0.0)
    drawn = artist.draw(image, predictor([image], GraphOptions(top_k=10))[0], "0:01")
    assert drawn.size == artist.size
    assert all(side % 2 == 0 and side <= 3000 for side in drawn.size)


def test_an_annotated_video_shows_boxes_and_keeps_the_sound(clip, tmp_path, predictor):
    options = RunOptions(
        output=tmp_path / "frames.jsonl", annotated_video=tmp_path / "out.mp4", batch_size=5, shown_score=0.0
    )
    summary = PredictionRun(find_sources([clip]), options)(predictor)
    assert summary.num_predicted == 12 and not summary.skipped
    frames = read(tmp_path / "out.mp4")
    assert [round(frame.time, 3) for frame in frames] == [number / 10 for number in range(12)]
    with av.open(str(clip)) as before, av.open(str(tmp_path / "out.mp4")) as after:
        assert after.streams.video[0].codec_context.name == "h264"
        packets = [[bytes(packet) for packet in file.demux(audio=0) if packet.size] for file in (before, after)]
    assert packets[0] == packets[1]
    graphs = dict(read_scene_graphs(options.output))
    assert len(graphs) == 12
    lines = [json.loads(line) for line in options.output.read_text().splitlines()[1:]]
    assert [(line["image_id"], line["video"], line["frame"], line["time"]) for line in lines[:2]] == [
        ("clip#0", "clip", 0, 0.0),
        ("clip#1", "clip", 1, 0.1),
    ]


def test_an_interrupted_video_goes_on_to_the_same_file(clip, photos, tmp_path, predictor, monkeypatch):
    sources = find_sources([clip, photos / "001.png"])
    options = RunOptions(output=tmp_path / "whole.jsonl", batch_size=5)
    PredictionRun(sources, options)(predictor)
    again = replace(options, output=tmp_path / "out.jsonl", annotated_video=tmp_path / "out.mp4")
    with pytest.raises(InterruptedRun):
        PredictionRun(sources, again)(Interrupted(predictor, 2))
    assert not (tmp_path / "out.mp4").exists()
    summary = PredictionRun(sources, replace(again, resume=True))(predictor)
    assert summary.num_predicted == 7
    assert again.output.read_bytes() == options.output.read_bytes()
    assert len(read(tmp_path / "out.mp4")) == 12


def test_a_video_that_breaks_off_keeps_what_came_before(clip, tmp_path, predictor, genome):
    whole = write_video(tmp_path / "whole.mkv", moving(genome, 30))
    content = whole.read_bytes()
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:2000])  # its index is at the end
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(content[: len(content) * 2 // 3])
    options = RunOptions(output=tmp_path / "out.jsonl", annotated_video=tmp_path / "videos")
    summary = PredictionRun(find_sources([broken, cut]), options)(predictor)
    assert list(summary.skipped)[0] == str(broken)
    assert 0 < summary.num_predicted <= 30
    assert len(read(tmp_path / "videos" / "cut.mp4")) == summary.num_predicted


def test_several_videos_need_a_folder(clip, tmp_path):
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes())
    with pytest.raises(ValueError, match="one file for 2 videos; name a folder"):
        PredictionRun(find_sources([clip, other]), RunOptions(annotated_video="out.mp4"))
    with pytest.raises(ValueError, match="none is among the sources"):
        PredictionRun([], RunOptions(annotated_video="out.mp4"))


def fake_camera(seconds):
    """A test picture of FFmpeg in the place of a camera."""
    return lambda device: VideoReader(f"testsrc=size=96x64:rate=20:duration={seconds}", format="lavfi")


needs_lavfi = pytest.mark.skipif("lavfi" not in av.formats_available, reason="this FFmpeg draws no test pictures")


@needs_lavfi
def test_a_camera_is_predicted_until_it_ends(tmp_path, predictor, monkeypatch):
    monkeypatch.setattr(video_run, "open_camera", fake_camera(1))
    options = RunOptions(output=tmp_path / "out.jsonl", annotated_video=tmp_path / "out.mp4")
    summary = PredictionRun(SourceOptions(camera="0").find(), options)(predictor)
    numbers = [json.loads(line)["frame"] for line in options.output.read_text().splitlines()[1:]]
    assert numbers == sorted(set(numbers)) and numbers[-1] == 19  # frames were passed over, not the last one
    assert len(read(tmp_path / "out.mp4")) == len(numbers) == summary.num_predicted


@needs_lavfi
def test_a_signal_ends_a_camera_in_good_order(tmp_path, predictor, monkeypatch):
    monkeypatch.setattr(video_run, "open_camera", fake_camera(3600))
    options = RunOptions(output=tmp_path / "out.jsonl", annotated_video=tmp_path / "out.mp4")

    summary = PredictionRun(SourceOptions(camera="0").find(), options)(Interrupted(predictor, 3))
    assert summary.is_complete and summary.num_predicted == 3
    assert len(read(tmp_path / "out.mp4")) == 3
    with pytest.raises(ValueError, match="--resume is for files"):
        PredictionRun(SourceOptions(camera="0").find(), replace(options, resume=True))


@needs_lavfi
def test_frames_that_nobody_has_time_for_are_passed_over(monkeypatch):
    import time

    with closing(fake_camera(3600)("0")) as reader, closing(latest_frames(reader, FrameChoice())) as frames:
        first = next(frames).number
        time.sleep(0.5)
        assert next(frames).number > first + 5


def test_a_missing_camera_is_named():
    from speaq_hf.prediction_run.video_reading import open_camera

    with pytest.raises(UnreadableVideoError, match="cannot be read as a video"):
        open_camera("97")
