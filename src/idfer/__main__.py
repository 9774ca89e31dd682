"""`python -m idfer` is `idfer`."""

import sys

from idfer.cli import main

sys.exit(main())
