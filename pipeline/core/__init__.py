"""What every room stands on: errors, files, locks of memory and processes, words; none of it knows of images."""
