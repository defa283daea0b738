"""What training, scoring and assignment see of images: the HDF5 store, ids and labels."""
