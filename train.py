"""``python train.py ...`` is ``seqmodels train ...``, from a checkout that is not installed.

Hydra completes the arguments of a script on the tab key only where it reads @hydra.main in it.
"""

import sys

from seqmodels.cli.main import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]], program="python train.py")
