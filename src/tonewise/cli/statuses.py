"""Exit statuses: each error's own, and those of signals, as `tonewise --help` lists them."""

import signal

from tonewise.errors import TonewiseError

NOT_REPRODUCED = 9
"""`tonewise reproduce` ran, and a figure of the card is further off than the tolerance."""
SIGNALLED = 128
"""A run that a signal ended exits with this and the signal's number, as shells count."""


def table() -> dict[int, str]:
    """Every exit status and what it means."""
    told = {0: "all went well", 1: "a fault of the program itself"}
    for kind in TonewiseError.__subclasses__():
        for one in (kind, *kind.__subclasses__()):
            if "exit_status" in vars(one):
                meaning = str(one.__doc__).partition("\n")[0].rstrip(".")
                told[one.exit_status] = meaning[0].lower() + meaning[1:]
    told[NOT_REPRODUCED] = "a stated figure was not reproduced"
    told[SIGNALLED + signal.SIGINT] = "interrupted (SIGINT)"
    told[SIGNALLED + signal.SIGTERM] = "terminated (SIGTERM)"
    return dict(sorted(told.items()))


# \b keeps click from joining the lines
STATUSES = "\b\nExit statuses:\n" + "\n".join(
    f"  {status:<4} {meaning}" for status, meaning in table().items()
)
