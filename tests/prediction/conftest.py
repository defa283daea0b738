"""The published tiny experiment, built once for all tests that want it."""

from tests.operations.conftest import tiny as tiny
from tests.operations.conftest import tiny_template as tiny_template
