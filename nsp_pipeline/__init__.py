"""nsp-pipeline: clean folders of noisy photos with a denoiser fitted to their camera.

Importing this package, and denoising on ONNX Runtime, never imports torch.
"""

__version__ = "0.1.0"
