"""`python -m vision_r1` is the `vision-r1` command."""

import sys

from vision_r1.cli import main

sys.exit(main())
