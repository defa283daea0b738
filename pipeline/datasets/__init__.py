"""Sources of images, the prepared store, and everything between the two."""
