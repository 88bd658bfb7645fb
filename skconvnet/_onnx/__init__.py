"""ONNX: the graphs that networks are written to and read from."""
