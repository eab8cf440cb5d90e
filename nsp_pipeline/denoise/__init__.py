"""One photo through one engine: tiles, blend, plausibility; what a library user calls.

`nsp_pipeline.denoise(image)` calls this package: a function of that name in the package above would be replaced by
this module, whenever something imports it.
"""

import sys
from types import ModuleType
from typing import Any


class _Denoise(ModuleType):
    """This package, as the function that it is named after."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Denoise one picture; see nsp_pipeline.denoise.denoiser.denoise."""
        from nsp_pipeline.denoise.denoiser import denoise

        return denoise(*args, **options)


sys.modules[__name__].__class__ = _Denoise
