"""What the command line and the flows both call, one module an operation; import the module that you need."""
