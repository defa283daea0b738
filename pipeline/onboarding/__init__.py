"""A first look at a folder, and the experiment that is proposed for it."""
