"""The ways the front door fails.

FrontDoorError
├── SettingsError           a bad value or unknown key: the start stops and says which
├── PartFailedError         a part of the system did not come up
├── MissingProgramError     a program that must be on the machine is not; names the command that installs it
└── ServerRefusedError      the running system did not do what a command asked for; says what it said
"""


class FrontDoorError(Exception):
    """Root of everything `afterclick` raises on purpose; printed without a traceback."""


class SettingsError(FrontDoorError):
    """A setting is unknown or bad."""


class PartFailedError(FrontDoorError):
    """A part of the system did not come up."""


class MissingProgramError(FrontDoorError):
    """Java, Maven or another program is missing."""


class ServerRefusedError(FrontDoorError):
    """The running system answered with an error."""
