"""How good and how different the facets are: the only part of the library that sees labels."""

from pipeline.evaluation.paper import PaperResults as PaperResults
from pipeline.evaluation.paper import paper_results as paper_results
from pipeline.evaluation.paper_files import write_paper as write_paper
from pipeline.evaluation.score import score_models as score_models
from pipeline.evaluation.score_files import write_score as write_score
