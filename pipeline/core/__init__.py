"""What every room builds on: errors, files, records, memory, processes, text; nothing here knows of images."""
