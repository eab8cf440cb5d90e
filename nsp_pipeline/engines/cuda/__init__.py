"""A GPU through cuda-python: memory, streams, and ways through it that overlap."""
