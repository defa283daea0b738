"""Views: images transformed in ways that a facet is trained not to see."""

from pipeline.views.view import View as View
from pipeline.views.view import check_ignored as check_ignored
