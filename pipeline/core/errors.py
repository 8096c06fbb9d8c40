"""The errors a user can cause, or can do something about: told in a line or two, without a traceback."""


class PipelineError(Exception):
    """A failure with an explanation: what was expected, what was found, what to do (exit code 1)."""


class UsageError(PipelineError):
    """A command line or configuration that cannot be meant (exit code 2)."""


class ConfigError(UsageError):
    """A configuration value of the wrong type, out of range, unknown or in conflict with another."""


class FormatError(PipelineError):
    """A data or parameter file that is not what it claims to be."""


class FetchError(PipelineError):
    """No mirror delivered a file that matches its size and checksum."""


class DivergenceError(PipelineError):
    """A training run whose loss is no longer finite."""
