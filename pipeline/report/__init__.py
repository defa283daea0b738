"""The page: what stage report writes for it, and how publishing composes it. No torch, no tables."""

from pipeline.report import rows as rows
from pipeline.report import showcase as showcase
from pipeline.report.assets import write_assets as write_assets
from pipeline.report.compose import compose as compose
from pipeline.report.erase import erase_images as erase_images
from pipeline.report.thumbnails import write_thumbnails as write_thumbnails
