"""One thin module per DVC stage: read parameters, call the library, write the declared outputs."""
