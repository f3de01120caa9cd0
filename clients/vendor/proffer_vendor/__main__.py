"""`python -m proffer_vendor verify FILE` checks a signed agreement, offline, and says so in a sentence."""

import sys
from pathlib import Path

from proffer_vendor.agreements import verify
from proffer_vendor.errors import NotSigned

WRONG_USAGE, NOT_SIGNED, UNREADABLE = 2, 10, 15


def main(arguments: list[str]) -> int:
    """0 where the agreement holds, 10 where it does not, 15 where there is no such file, 2 for anything else."""
    if len(arguments) != 2 or arguments[0] != "verify":  # noqa: PLR2004 - the command and its file
        sys.stderr.write(f"{__doc__}\n")
        return WRONG_USAGE
    try:
        agreement = verify(Path(arguments[1]).read_bytes())
    except OSError as error:
        sys.stderr.write(f"The file cannot be read: {error.strerror}.\n")
        return UNREADABLE
    except NotSigned as error:
        sys.stdout.write(f"The agreement does not hold: {error}\n")
        return NOT_SIGNED
    sys.stdout.write(f"{agreement.sentence}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
