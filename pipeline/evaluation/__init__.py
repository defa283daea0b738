"""How good and how different the facets are: the only part of the pipeline that sees labels."""

from pipeline.evaluation.score import score_models as score_models
from pipeline.evaluation.score_files import write_score as write_score
