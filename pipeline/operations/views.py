"""A contact sheet of views: what each facet is trained not to see, on images of the experiment."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from PIL import Image, ImageDraw, ImageFont

from pipeline.config.ignores import ignored_words
from pipeline.config.sections import TrainParams
from pipeline.core.errors import ConfigError
from pipeline.core.layout import Layout
from pipeline.core.seeding import torch_generator
from pipeline.core.storage import atomic_file
from pipeline.datasets.store.images import ImageStore
from pipeline.datasets.store.spec import InputSpec
from pipeline.model.inputs import as_floats, as_pictures
from pipeline.report.mosaic import mosaic
from pipeline.views import View, check_ignored

_N_IMAGES = 8
_N_VIEWS = 9  # of each image, beside the image itself
_LINE = 18  # pixels of a line of text

Sheet = UInt8[np.ndarray, "_ _ 3"]


def draw_views(layout: Layout, params: TrainParams, path: Path) -> dict[int, list[str]]:
    """Write a picture with views as training draws them: a row an image, the image itself first.

    Args:
        layout: of an experiment whose images are prepared.
        params: its train section.
        path: of the PNG file.

    Returns:
        What each facet that ignores something ignores, in words.

    Raises:
        ConfigError: no facet ignores anything, or ignores what the images do not have.
        DataError: the prepared split is missing or damaged.
    """
    ignored = {facet: amounts for facet, amounts in enumerate(params.ignores or ()) if amounts}
    if not ignored:
        raise ConfigError(
            f"views need a facet that is trained not to see something, got none in {layout.experiment}; write, say, "
            "train.ignores: [null, {rotate: 15, shift: 10}] in params.yaml"
        )
    with ImageStore(layout.prepared / "train.h5") as store:
        check_ignored(params.ignores, store.spec)
        images = store.take(np.unique(np.linspace(0, store.n_images - 1, _N_IMAGES).astype(np.int64)))
        spec = store.spec
    words = {facet: ignored_words(amounts) for facet, amounts in ignored.items()}
    blocks = [
        _captioned(_views(images, spec, View(amounts), facet), [f"Facet {facet} is trained not to see:", *words[facet]])
        for facet, amounts in ignored.items()
    ]
    with atomic_file(path) as temporary:
        Image.fromarray(_stacked(blocks)).save(temporary, "PNG")
    return words


def _views(images: Shaped[np.ndarray, "image c h w"], spec: InputSpec, view: View, facet: int) -> Sheet:
    x = as_floats(spec, torch.from_numpy(images), torch.float32)
    generator = torch_generator(0, "contact sheet", facet)
    rows = [x, *(view(x, torch.rand(len(x), view.n_numbers, generator=generator)) for _ in range(_N_VIEWS))]
    return mosaic(as_pictures(spec, torch.stack(rows, dim=1)))


def _captioned(sheet: Sheet, lines: list[str]) -> Sheet:
    """Return a sheet below some lines of text, on white, wide enough for both."""
    font = ImageFont.load_default(_LINE - 4)
    width = max(sheet.shape[1], *(round(font.getlength(line)) + _LINE for line in lines))
    caption = Image.new("RGB", (width, _LINE * (len(lines) + 1)), "white")
    ImageDraw.Draw(caption).multiline_text((_LINE // 2, _LINE // 2), "\n".join(lines), "black", font)
    return _stacked([np.asarray(caption), sheet])


def _stacked(sheets: list[Sheet]) -> Sheet:
    widest = max(sheet.shape[1] for sheet in sheets)
    return np.concatenate(
        [np.pad(sheet, ((0, 0), (0, widest - sheet.shape[1]), (0, 0)), constant_values=255) for sheet in sheets]
    )
