"""The tags of a DNG, by number, and which of its directories holds the picture."""

from nsp_pipeline.frames.metadata.ifd import Buffer, Directory, Structure
from nsp_pipeline.frames.sniff import CFA, LINEAR_RAW, PHOTOMETRIC, SUBFILE_TYPE, picture_directories

COMPRESSION = 259
CFA_REPEAT, CFA_PATTERN = 33421, 33422
DNG_VERSION, DNG_BACKWARD_VERSION, UNIQUE_CAMERA_MODEL, LOCALIZED_CAMERA_MODEL = 50706, 50707, 50708, 50709
BLACK_REPEAT, BLACK_LEVEL, WHITE_LEVEL = 50713, 50714, 50717
DEFAULT_CROP_ORIGIN, DEFAULT_CROP_SIZE = 50719, 50720
COLOR_MATRIX_1, COLOR_MATRIX_2 = 50721, 50722
AS_SHOT_NEUTRAL, AS_SHOT_WHITE_XY, BASELINE_EXPOSURE = 50728, 50729, 50730
CALIBRATION_ILLUMINANT_1, CALIBRATION_ILLUMINANT_2 = 50778, 50779
ACTIVE_AREA = 50829
OPCODE_LIST_1, OPCODE_LIST_2, OPCODE_LIST_3 = 51008, 51009, 51022
NOISE_PROFILE = 51041
D65, D50, STANDARD_LIGHT_A = 21, 23, 17
"""Codes of light sources, as in EXIF."""


def raw_directory(structure: Structure, content: Buffer) -> Directory:
    """The directory of the picture itself: the first of full size that holds a mosaic or linear RAW, else the main."""
    found = list[tuple[int, int, Directory]]()
    for directory in picture_directories(structure, content):
        photometric = structure.numbers(directory.entries.get(PHOTOMETRIC))
        if photometric and photometric[0] in (CFA, LINEAR_RAW):
            reduced = (structure.numbers(directory.entries.get(SUBFILE_TYPE)) or (0,))[0] & 1
            found.append((reduced, len(found), directory))
    return min(found, key=lambda entry: entry[:2])[2] if found else structure.root
