import shared.nameko_ext.green  # noqa: F401, I001  (patches the standard library before anything else is imported)

import sys

from local.embedded import main

if __name__ == "__main__":
    sys.exit(main())
