"""`python -m proffer_vendor verify FILE` checks a signed agreement, offline, and says so in a sentence."""

import json
import sys
from pathlib import Path

from proffer_vendor.agreements import verify
from proffer_vendor.errors import NotSigned

NOT_SIGNED, UNREADABLE = 1, 2


def main(arguments: list[str]) -> int:
    """0 where the agreement holds, 1 where it does not, 2 where there is no such file, it is no JSON, or nothing was asked: as `broker verify`."""
    if len(arguments) != 2 or arguments[0] != "verify":  # noqa: PLR2004 - the command and its file
        sys.stderr.write(f"{__doc__}\n")
        return UNREADABLE
    file = arguments[1]
    try:
        raw = Path(file).read_bytes()
        json.loads(raw)
        agreement = verify(raw)
    except OSError as error:
        sys.stderr.write(f"{file} cannot be read: {error.strerror}.\n")
        return UNREADABLE
    except (ValueError, RecursionError):
        sys.stderr.write(f"{file} cannot be read: it is not JSON, or was cut short. Fetch the agreement again with GET /v1/grants/<id>.\n")
        return UNREADABLE
    except NotSigned as error:
        sys.stdout.write(f"{file} does not verify: {error}\n")
        return NOT_SIGNED
    sys.stdout.write(f"{agreement.sentence}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
