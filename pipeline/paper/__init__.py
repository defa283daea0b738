"""The paper's tables and figures, computed from trained experiments, beside the numbers that it reports."""

from pipeline.paper.figures import write_paper_figures as write_paper_figures
from pipeline.paper.files import write_paper as write_paper
from pipeline.paper.results import SAMPLES as SAMPLES
from pipeline.paper.results import PaperResults as PaperResults
from pipeline.paper.results import paper_results as paper_results
