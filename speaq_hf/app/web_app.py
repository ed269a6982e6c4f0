# Copyright 2026 The speaq_hf team. Licensed under the Apache License, Version 2.0.
"""The web app: choose a picture, see its scene graph. `speaq app` starts it.

The server predicts once for each picture and model; thresholds, links and downloads work in the browser. Nothing is asked
of any other server, and nothing is told to one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import gradio as gr
from markupsafe import Markup
from PIL import Image

from ..image_reading import UnreadableImageError, read_image
from ..interactive_graph import framed_page, render_interactive_graph
from ..predictor import GraphOptions
from ..scene_graph import SceneGraph
from .model_shelf import PACKAGED_MODEL, ModelShelf


EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "assets" / "examples").glob("*.jpg"))
# Scores are products of three probabilities. Of what it knows a model scores some relation above this. A guide only: the
# packaged model gives up to 0.4 to some photographs, which it does not know.
LOW_SCORE = 0.3
_MAX_RELATIONS = 100
# At first the relations with at least this score are shown, within limits; the slider brings the others.
_LIKELY_SCORE, _FEWEST_SHOWN, _MOST_SHOWN = 0.05, 3, 15
_MAX_FILE_SIZE = "50mb"
_HOUR = 3600  # seconds

_INTRODUCTION = (
    "# Scene graphs\n"
    "Choose a picture: the model finds its objects and how they relate. Point at a box, a node or a row to see what "
    "belongs together."
)
_WELCOME = "<p class='welcome'>The graph will be here.</p>"
_STYLE = """
.welcome { padding: 4rem 1rem; text-align: center; color: var(--body-text-color-subdued); border: 1px dashed var(--border-color-primary); border-radius: 8px; }
.problem, .hint { margin: 0 0 .5rem; padding: .6rem .9rem; border-left: 4px solid #d97706; border-radius: 4px; background: var(--background-fill-secondary); color: var(--body-text-color); overflow-wrap: anywhere; }
.problem { border-color: #dc2626; }
.html-container { padding: 0 !important; }
.fillable.app { padding: 1rem clamp(.75rem, 2.5vw, 2rem) !important; }
"""
# On a phone the graph lies below what was tapped.
_SHOW_GRAPH = (
    "() => { if (innerWidth < 700) document.querySelector('#graph iframe')?.scrollIntoView({ behavior: 'smooth' }); }"
)


def build_app(
    models: Iterable[str | os.PathLike] = (), examples: Iterable[str | os.PathLike] | None = None
) -> gr.Blocks:
    """Makes the app.

    Args:
        models: Folders and Hub names of models to choose from, the first at first; the packaged one is always there, too.
        examples: Picture files to choose from; default: drawn ones that come with the package.

    Returns:
        The app; `launch_app` starts it.
    """
    shelf = ModelShelf(models)
    pictures = [[str(path)] for path in (EXAMPLES if examples is None else examples)]
    with gr.Blocks(
        title="Scene graphs", analytics_enabled=False, fill_width=True, delete_cache=(_HOUR, 24 * _HOUR)
    ) as app:
        gr.Markdown(_INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=1, min_width=290):
                image = _picture_field()
                if pictures:
                    choice = gr.Dataset(
                        label="Examples", components=[gr.Image(visible=False)], samples=pictures, type="index"
                    )
                    # Not `gr.Examples`, which puts a fresh field without our `preprocess` in the place of this one.
                    choice.click(lambda index: pictures[index][0], choice, image, api_visibility="private")
                model = gr.Dropdown(
                    shelf.names,
                    value=shelf.names[0],
                    label="Model",
                    info="The packaged one is small and knows drawn scenes only.",
                    elem_id="model",
                )
            with gr.Column(scale=4, min_width=320):
                graph = gr.HTML(_WELCOME, elem_id="graph", js_on_load=None, min_height=320)
        predicted = gr.on(
            [image.change, model.change],
            lambda path, name: graph_page(shelf, path, name),
            [image, model],
            graph,
            api_visibility="private",
            trigger_mode="always_last",
        )
        predicted.then(None, js=_SHOW_GRAPH)
    return app


def launch_app(app: gr.Blocks, *, host: str | None = None, port: int | None = None, share: bool = False) -> str:
    """Starts the app in threads of its own; `app.block_thread()` waits for its end.

    Args:
        app: From `build_app`.
        host: Address to listen at; default: GRADIO_SERVER_NAME, else this machine alone.
        port: Default: GRADIO_SERVER_PORT, else the first free one from 7860 on.
        share: Make it reachable for everybody through gradio's servers.

    Returns:
        Its address.

    Raises:
        OSError: The port is taken.
    """
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    _, local_address, public_address = app.launch(
        server_name=host,
        server_port=port,
        share=share,
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
        run_history=False,
        footer_links=[],
        max_file_size=_MAX_FILE_SIZE,
        theme=gr.themes.Default(primary_hue="blue", **fonts),
        css=_STYLE,
    )
    return public_address or local_address


def graph_page(shelf: ModelShelf, path: str | os.PathLike | None, name: str) -> str:
    """What the app shows of a picture.

    Args:
        shelf: The models.
        path: The picture's file, if one is chosen.
        name: Of the model.

    Returns:
        HTML: the graph, or one sentence that says why there is none.
    """
    if path is None:
        return _WELCOME
    path = Path(path)
    try:
        image = read_image(path)
    except UnreadableImageError:
        return _message("problem", f"{path.name} cannot be read as an image; choose another file.")
    try:
        predictor = shelf[name]
    except (OSError, ValueError, KeyError) as error:
        return _message("problem", f"The model {name} cannot be loaded: {str(error).strip().splitlines()[0]}")
    graph = predictor([image], GraphOptions(top_k=_MAX_RELATIONS))[0]
    return _hint(graph, name) + framed_page(_viewer(graph, image, path.stem))


def _picture_field() -> gr.Image:
    """A field that hands files on as they come: `read_image` turns them upright and says what is wrong with them."""
    image = gr.Image(type="filepath", label="Picture", elem_id="picture", height=240, buttons=[])
    # gradio would fail at a broken file before we can say a word. A subclass could do this, too, but gradio writes a .pyi
    # file beside every module that has one.
    image.preprocess = lambda payload: None if payload is None else payload.path
    return image


def _viewer(graph: SceneGraph, image: Image.Image, file_name: str) -> str:
    likely = int((graph.relation_scores >= _LIKELY_SCORE).sum())
    num_shown = min(max(likely, _FEWEST_SHOWN), _MOST_SHOWN)
    return render_interactive_graph(
        graph, image, file_name=file_name, num_shown=num_shown, max_relations=_MAX_RELATIONS
    )


def _hint(graph: SceneGraph, name: str) -> str:
    best = max(graph.relation_scores.tolist(), default=0.0)
    if best >= LOW_SCORE:
        return ""
    reason = "it knows drawn scenes only" if name == PACKAGED_MODEL else "it may not know such pictures"
    return _message("hint", f"The model is not sure of anything here (its best score is {best:.2f}): {reason}.")


def _message(kind: str, text: str) -> str:
    return str(Markup('<p class="{}" role="alert">{}</p>').format(kind, text))
