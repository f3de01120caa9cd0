"""`python -m bookshop` serves the shop; `python -m bookshop metadata` prints what `broker client add` wants."""

import json
import sys

from bookshop.shop import create_app
from bookshop.vendor import Shop, metadata


def main(arguments: list[str]) -> int:
    """Runs one of the two; 2 for anything else."""
    shop = Shop.from_environment()
    if arguments == ["metadata"]:
        sys.stderr.write(f"The shop's key is kept in {shop.folder.resolve() / 'key.json'}.\n")
        sys.stdout.write(json.dumps(metadata(shop), indent=2) + "\n")
        return 0
    if arguments:
        sys.stderr.write(__doc__ + "\n")
        return 2
    sys.stderr.write(f"The bookshop is open at http://{shop.host}/ and asks the broker at {shop.broker}.\n")
    create_app(shop).run(host="127.0.0.1", port=shop.port)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
