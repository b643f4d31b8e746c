"""Keys: named, stored hashed, compared in constant time; what each may do and how much of it a minute."""

import hmac
import json
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

from tonewise.errors import ConfigError, ForbiddenError, UnauthorizedError
from tonewise.store.files import reason, write_atomically

Role = Literal["infer", "admin"]
PREFIX = "tw_"


@dataclass(frozen=True, slots=True)
class Key:
    """Who asks.

    roles                infer: ask for answers; admin: load and unload models, read every figure
    requests_per_minute  None: no limit
    tokens_per_minute    as estimated from bytes; None: no limit
    """

    name: str
    roles: tuple[Role, ...] = ("infer",)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    def check(self, role: Role) -> None:
        """Raise ForbiddenError for what this key may not do; an admin may do all."""
        if role not in self.roles and "admin" not in self.roles:
            raise ForbiddenError(f"the key '{self.name}' has the role {', '.join(self.roles)}, not {role}")


ANYONE = Key("anyone", ("infer", "admin"))
"""Who asks where there are no keys: whoever reaches the port, which is the loopback's unless told so."""


class Keys:
    """The keys that are known, by their hashes. A key is 256 random bits: one round of SHA-256 hides it."""

    def __init__(self, known: Mapping[str, Key]) -> None:
        self._known = {bytes.fromhex(digest): key for digest, key in known.items()}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._known)

    def of(self, header: str | None) -> Key:
        """Whose an `Authorization` header is. Raises UnauthorizedError."""
        if not self._known:
            return ANYONE
        if header is None:
            raise UnauthorizedError("a key is wanted: Authorization: Bearer KEY")
        kind, _, secret = header.partition(" ")
        if kind.lower() != "bearer":
            raise UnauthorizedError("a key is wanted: Authorization: Bearer KEY")
        presented = sha256(secret.strip().encode("utf-8", "surrogatepass")).digest()
        found = None
        for digest, key in self._known.items():  # all of them, so that time tells nothing
            if hmac.compare_digest(digest, presented):
                found = key
        if found is None:
            raise UnauthorizedError("the key is not a known one")
        return found


def read_keys(path: str | Path | None) -> Keys:
    """The keys of a file; without one, none, and whoever asks is ANYONE.

    Raises ConfigError for a file that cannot be read, that holds no key, or that says what no key has.
    """
    if path is None:
        return Keys({})
    path = Path(path)
    if not (table := _table(path, _read(path))):
        raise ConfigError(f"{path}: there is no key in it; make one: tonewise key NAME --keys {path}")
    return Keys(dict(table.values()))


def make_key(path: str | Path, key: Key) -> str:
    """Make a key, add its hash to the file, and return it: it can be read nowhere again.

    Raises ConfigError for a name that is there already or a limit below 1, OutputError when the file
    cannot be written.
    """
    path = Path(path)
    is_new = not path.exists()
    before = "" if is_new else _read(path)
    if key.name in _table(path, before):
        raise ConfigError(f"{path}: there is a key '{key.name}' already; take its lines out first")
    if not key.name.replace("-", "").replace("_", "").isalnum() or not key.name.isascii():
        raise ConfigError(f"a key cannot be called '{key.name}'; wanted: letters, digits, - and _")
    secret = PREFIX + secrets.token_urlsafe(32)
    lines = [f"[{key.name}]", f'sha256 = "{sha256(secret.encode()).hexdigest()}"']
    lines.append(f"roles = {json.dumps(key.roles)}")
    limits = {"requests_per_minute": key.requests_per_minute, "tokens_per_minute": key.tokens_per_minute}
    lines += [f"{name} = {most}" for name, most in limits.items() if most is not None]
    after = (before.rstrip() + "\n\n").lstrip() + "\n".join(lines) + "\n"
    _table(path, after)  # nothing is written that could not be read again
    mode = 0o600 if is_new else path.stat().st_mode & 0o777
    write_atomically(path, after)
    path.chmod(mode)
    return secret


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{path}: the keys cannot be read: {why}") from None


def _table(path: Path, text: str) -> dict[str, tuple[str, Key]]:
    """Each key with its hash, by name."""
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: the keys cannot be read: {error}") from None
    table = {name: _key(path, name, of) for name, of in told.items()}
    names: dict[str, str] = {}
    for name, (digest, _) in table.items():
        if (other := names.setdefault(digest, name)) != name:
            raise ConfigError(f"{path}: the keys '{other}' and '{name}' have one sha256; whose is it?")
    return table


def _key(path: Path, name: str, of: Any) -> tuple[str, Key]:
    where = f"{path}: key '{name}'"
    if not isinstance(of, dict):
        raise ConfigError(f"{where} is no table; wanted: [{name}] with sha256 and roles")
    known = {"sha256", "roles", "requests_per_minute", "tokens_per_minute"}
    if unknown := of.keys() - known:
        raise ConfigError(f"{where} has '{min(unknown)}'; known: {', '.join(sorted(known))}")
    digest, roles = of.get("sha256"), of.get("roles", ["infer"])
    if not isinstance(digest, str) or len(digest) != 64 or not _is_hex(digest):
        raise ConfigError(f"{where} needs sha256, the 64 hex digits of its hash")
    if not isinstance(roles, list) or not roles or not all(role in get_args(Role) for role in roles):
        raise ConfigError(f"{where} has roles {roles!r}; wanted: a list of infer and admin")
    for limit in ("requests_per_minute", "tokens_per_minute"):
        most = of.get(limit)
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
            raise ConfigError(f"{where} has {limit} {most!r}; the least is 1")
    limits = (of.get("requests_per_minute"), of.get("tokens_per_minute"))
    return digest, Key(name, tuple(roles), *limits)


def _is_hex(text: str) -> bool:
    return all(letter in "0123456789abcdef" for letter in text)
