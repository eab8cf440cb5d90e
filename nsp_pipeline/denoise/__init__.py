"""One photo through one engine: tiles, blend, plausibility; what a library user calls.

`nsp_pipeline.denoise(image)` calls this package: a function of that name in the package above would be replaced by
this module, whenever something imports it.
"""

import inspect
import sys
from types import ModuleType
from typing import Any


class _Denoise(ModuleType):
    # This package, as the function that it is named after: help() and editors show what the function says.

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        function = self._function()
        return f"{inspect.getdoc(function)}\n\nCalled as nsp_pipeline.denoise{inspect.signature(function)}"

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function())

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._function()(*args, **options)

    @staticmethod
    def _function() -> Any:
        from nsp_pipeline.denoise.denoiser import denoise

        return denoise


sys.modules[__name__].__class__ = _Denoise
