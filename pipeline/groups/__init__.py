"""Components joined into groups, without labels: what other seeds do not tell apart belongs together."""

from pipeline.groups.find import GROUP_IMAGES as GROUP_IMAGES
from pipeline.groups.find import find_groups as find_groups
from pipeline.groups.find import group_facet as group_facet
