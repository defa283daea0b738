"""The page: composed at publishing from what stage report left and what the tables say."""

from pipeline.page import rows as rows
from pipeline.page.compose import compose as compose
from pipeline.page.compose import composer as composer
