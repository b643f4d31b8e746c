"""Every error raised on purpose, in one tree: a stable code and an exit status for each.

TonewiseError
├── ConfigError          a setting is unknown, malformed or contradictory
├── InputError           a text, a row or a file cannot be used
│   └── TooLongError     a text exceeds the model's length and the policy is `error`
├── ModelError           a model is missing, incomplete or of another kind
│   ├── IntegrityError   a file is not the one that was pinned
│   ├── HubError         the hub refused, failed or may not be asked
│   └── LicenceError     the operator has not accepted the model's terms
├── EngineError          a runtime failed on a batch
│   └── EngineMemoryError  a batch did not fit in memory
├── OutputError          an answer cannot be written
├── ServiceError         a server cannot answer a request
│   ├── RequestError     the request is not what the route takes
│   │   └── SlowRequestError  the request did not arrive in time
│   ├── UnauthorizedError  there is no key, or it is not a known one
│   ├── ForbiddenError   the key may not do this
│   ├── NotFoundError    there is no such route or model
│   ├── TooLargeError    the request holds more bytes or texts than one may
│   ├── OverloadedError  more waits than can be answered soon
│   │   └── RateLimitedError  the key has used up its share of this minute
│   ├── DeadlineError    the answer did not come in time
│   └── UnavailableError  the server is starting, stopping or mending itself
├── MissingExtraError    an optional dependency is not installed
└── RowError             one row of many failed; stands in that row's place
"""


class TonewiseError(Exception):
    """Base class. `code` is the stable name that records, logs and HTTP bodies quote."""

    code = "error"
    exit_status = 1


class ConfigError(TonewiseError):
    """A setting is unknown, malformed or contradictory."""

    code, exit_status = "bad_config", 2


class InputError(TonewiseError):
    """A text, a row or a file cannot be used."""

    code, exit_status = "bad_input", 3


class TooLongError(InputError):
    """A text exceeds the model's length and the policy is `error`."""

    code = "too_long"


class ModelError(TonewiseError):
    """A model is missing, incomplete or of another kind."""

    code, exit_status = "bad_model", 4


class IntegrityError(ModelError):
    """A file is not the one that was pinned."""

    code = "altered"


class HubError(ModelError):
    """The hub refused, failed or may not be asked."""

    code = "hub_failed"


class LicenceError(ModelError):
    """The operator has not accepted the model's terms."""

    code, exit_status = "licence_refused", 5


class EngineError(TonewiseError):
    """A runtime failed on a batch."""

    code, exit_status = "engine_failed", 6


class EngineMemoryError(EngineError):
    """A batch did not fit in memory."""

    code = "out_of_memory"


class OutputError(TonewiseError):
    """An answer cannot be written."""

    code, exit_status = "bad_output", 7


class ServiceError(TonewiseError):
    """A server cannot answer a request."""

    code, exit_status = "service_failed", 10


class RequestError(ServiceError):
    """The request is not what the route takes."""

    code = "bad_request"


class SlowRequestError(RequestError):
    """The request did not arrive in time."""

    code = "slow_request"


class UnauthorizedError(ServiceError):
    """There is no key, or it is not a known one."""

    code = "unauthorized"


class ForbiddenError(ServiceError):
    """The key may not do this."""

    code = "forbidden"


class NotFoundError(ServiceError):
    """There is no such route or model."""

    code = "not_found"


class TooLargeError(ServiceError):
    """The request holds more bytes or texts than one may.

    `items` says that they were texts, not bytes.
    """

    code = "too_large"

    def __init__(self, told: str, *, items: bool = False) -> None:
        super().__init__(told)
        self.items = items


class OverloadedError(ServiceError):
    """More waits than can be answered soon.

    `retry_after_seconds` says when it is worth asking again, `queued_tokens` how much waits.
    """

    code = "overloaded"

    def __init__(self, told: str, *, retry_after_seconds: int = 1, queued_tokens: int = 0) -> None:
        super().__init__(told)
        self.retry_after_seconds, self.queued_tokens = retry_after_seconds, queued_tokens


class RateLimitedError(OverloadedError):
    """The key has used up its share of this minute."""

    code = "rate_limited"


class DeadlineError(ServiceError):
    """The answer did not come in time."""

    code = "deadline"


class UnavailableError(ServiceError):
    """The server is starting, stopping or mending itself."""

    code = "unavailable"


class MissingExtraError(TonewiseError):
    """An optional dependency is not installed."""

    code, exit_status = "missing_extra", 8

    def __init__(self, module: str, extra: str | None) -> None:
        wanted = f"'tonewise[{extra}]'" if extra else module  # the core's are no extra
        super().__init__(f"{module} is not installed; run: pip install {wanted}")
        self._made_of = (module, extra)

    def __reduce__(self) -> tuple[type, tuple[str, str | None]]:
        return type(self), self._made_of


class RowError(TonewiseError):
    """One row of many failed; stands in that row's place.

    `where` names the row (`reviews.csv line 7`, or `text 3`); `code` is that of `cause`.
    """

    def __init__(self, where: str, cause: TonewiseError) -> None:
        super().__init__(f"{where}: {cause}" if where else str(cause))
        self.where = where
        self.reason = str(cause)
        self.code = cause.code
        self.exit_status = cause.exit_status
        self.cause = cause

    def __reduce__(self) -> tuple[type, tuple[str, TonewiseError]]:
        return type(self), (self.where, self.cause)
