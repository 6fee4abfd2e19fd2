import shared.green  # noqa: F401, I001  (patches the standard library before anything else is imported)

import sys

from sandbox.embedded import main

if __name__ == "__main__":
    sys.exit(main())
