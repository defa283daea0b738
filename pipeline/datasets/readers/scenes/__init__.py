"""A renderer for scenes like those of 3DShapes, where every factor behind an image is known."""

from pipeline.datasets.readers.scenes.render import render_scenes as render_scenes
from pipeline.datasets.readers.scenes.source import Scenes as Scenes
