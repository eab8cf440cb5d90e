"""What computes, by the names that people know."""

NAMES = {
    "onnx": "ONNX Runtime",
    "openvino": "OpenVINO",
    "tensorrt": "TensorRT",
    "tensorrt-rtx": "TensorRT-RTX",
    "torch": "PyTorch",
}


def engine_in_words(name: str, provider: str, precision: str) -> str:
    """Device, engine and precision, such as "CPU, ONNX Runtime fp32"; a GPU by its number where that is known.

    Args:
        name, provider, precision: as EngineInfo and the manifest have them.
    """
    _, colon, number = provider.partition("cuda:")
    device = "CPU" if "CPU" in provider else f"GPU {number}" if colon and number.isdigit() else "GPU"
    return f"{device}, {NAMES.get(name, name)} {precision}"
