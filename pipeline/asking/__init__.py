"""Which images to ask a person about, so that a facet becomes what they want, and the sheets they answer on."""

from pipeline.asking.choose import choose_images as choose_images
from pipeline.asking.choose import nearness as nearness
from pipeline.asking.choose import weigh_images as weigh_images
