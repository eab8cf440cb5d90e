"""ONNX Runtime, and the ONNX graphs that other engines start from."""
