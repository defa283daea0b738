"""Parameters: parsed once, strictly, into frozen records."""

from pipeline.config import sections as sections
from pipeline.config.load import Params as Params
from pipeline.config.load import load_params as load_params
from pipeline.config.load import load_sections as load_sections
