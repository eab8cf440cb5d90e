"""`python -m nsp_pipeline` is `nsp`."""

import sys

from nsp_pipeline.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
