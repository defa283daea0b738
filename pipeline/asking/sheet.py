"""The contact sheet that goes with a form: one HTML file without any other, which a browser shows and prints."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pipeline.core.storage import atomic_file
from pipeline.core.text import counted, percent, printable

_LEAST_SIDE = 128  # a picture is shown at least so large, enlarged by a whole factor

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff; }
p { max-width: 46rem; }
ol { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 1rem; }
li { width: 11rem; break-inside: avoid; overflow-wrap: anywhere; }
img { display: block; image-rendering: pixelated; max-width: 100%; border: 1px solid #ccc; }
b { font-size: 1.2em; }
small { color: #555; }
"""


@dataclass(frozen=True)
class Question:
    """One image that a person is asked about.

    Attributes:
        image: how the form names it.
        picture: as the model sees it.
        confidence: how sure the published model is of its cluster in the facet, 0 to 1.
    """

    image: str
    picture: UInt8[np.ndarray, "channel height width"]
    confidence: float


def write_sheet(path: Path, experiment: str, facet: int, form: str, questions: Sequence[Question]) -> None:
    """Write the contact sheet; the file appears as a whole.

    Args:
        path: of the HTML file.
        experiment: its name.
        facet: what the questions are about.
        form: name of the CSV file to fill in.
        questions: in the order of the form's lines.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    title = html.escape(f"{experiment}: {counted(len(questions), 'question')} about facet {facet}")
    items = "\n".join(_item(number, question) for number, question in enumerate(questions, 1))
    text = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{_STYLE}</style>
<h1>{title}</h1>
<p>What shall facet {facet} tell apart? Write a word for each image into the column <i>label</i> of
<code>{html.escape(form)}</code>: the same word for images that belong together in this respect, whatever else they
show. The words are yours. Leave open what you cannot tell. The first ones tell most.</p>
<ol>
{items}
</ol>
</html>
"""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def delete_sheets(folder: Path) -> None:
    """Delete the contact sheets of a folder, as they may show images that were removed; forms stay."""
    for path in folder.glob("facet_*.html"):
        path.unlink()


def _item(number: int, question: Question) -> str:
    name = html.escape(printable(question.image), quote=True)
    height, width = question.picture.shape[1:]
    factor = max(1, -(-_LEAST_SIDE // max(height, width)))
    data = base64.b64encode(_png(question.picture)).decode()
    return (
        f'<li><b>{number}</b><img width="{width * factor}" height="{height * factor}" alt="image {number}: {name}" '
        f'src="data:image/png;base64,{data}">{name}<br><small>now {percent(question.confidence)} sure</small></li>'
    )


def _png(picture: UInt8[np.ndarray, "channel height width"]) -> bytes:
    pixels = picture[:3].transpose(1, 2, 0) if len(picture) >= 3 else picture[0]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()
