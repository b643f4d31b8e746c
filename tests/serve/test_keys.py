"""Keys: made once, stored hashed, told apart in constant time; a file that is wrong is refused."""

import hmac
import stat
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tonewise.errors import ConfigError, ForbiddenError, OutputError, UnauthorizedError
from tonewise.serve.keys import ANYONE, Key, Keys, Role, make_key, read_keys

HASH = "a" * 64


def hash_of(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def test_a_key_that_was_made_is_known(file: Path) -> None:
    team = Key("team", ("infer",), 60, 9000)
    secret, other = make_key(file, team), make_key(file, Key("boss", ("infer", "admin")))
    keys = read_keys(file)
    assert len(keys) == 2
    assert keys.of(f"Bearer {secret}") == team
    assert keys.of(f"bearer  {other} ") == Key("boss", ("infer", "admin"))


def test_no_two_keys_are_alike(file: Path) -> None:
    assert len({make_key(file, Key(f"team-{i}")) for i in range(20)}) == 20
    assert len(read_keys(file)) == 20


def test_the_file_holds_the_hash_and_not_the_key(file: Path) -> None:
    secret = make_key(file, Key("team"))
    text = file.read_text()
    assert secret.startswith("tw_")
    assert len(secret) >= 43
    assert secret not in text
    assert secret[3:] not in text
    assert hash_of(secret) in text


def test_a_new_file_is_its_owners_and_an_old_one_keeps_its_mode(file: Path) -> None:
    make_key(file, Key("one"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o640)
    make_key(file, Key("two"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_what_stood_in_the_file_stays(file: Path) -> None:
    file.write_text(f'# ours\n[old]\nsha256 = "{HASH}"  # of 2024\n\n\n')
    make_key(file, Key("new"))
    assert file.read_text().startswith(f'# ours\n[old]\nsha256 = "{HASH}"  # of 2024\n\n[new]\n')
    assert len(read_keys(file)) == 2


def test_a_name_that_is_there_already_is_refused(file: Path) -> None:
    make_key(file, Key("team"))
    before = file.read_text()
    with pytest.raises(ConfigError, match="there is a key 'team' already"):
        make_key(file, Key("team"))
    assert file.read_text() == before


@pytest.mark.parametrize("name", ["", "a b", "a.b", "[x]", "é", "-", 'a"', "a\nb"])
def test_a_name_that_could_not_be_written_is_refused(file: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="a key cannot be called"):
        make_key(file, Key(name))
    assert not file.exists()


def test_nothing_is_written_that_could_not_be_read_again(file: Path) -> None:
    with pytest.raises(ConfigError, match="requests_per_minute 0; the least is 1"):
        make_key(file, Key("team", requests_per_minute=0))
    assert not file.exists()


def test_a_folder_that_takes_no_files_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*keys.toml"):
        make_key(tmp_path / "taken" / "keys.toml", Key("team"))


def test_without_a_file_whoever_asks_may_do_all() -> None:
    keys = read_keys(None)
    assert len(keys) == 0
    assert keys.of(None) is keys.of("Bearer x") is ANYONE
    ANYONE.check("admin")


@pytest.mark.parametrize("text", ["", "\n\n", "# nobody\n"])
def test_a_file_without_keys_lets_nobody_in_by_mistake(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match="there is no key in it"):
        read_keys(file)
    make_key(file, Key("team"))
    assert len(read_keys(file)) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = ", "the keys cannot be read"),
        ("x = 1", "key 'x' is no table"),
        ("[x]", "key 'x' needs sha256"),
        ("[x]\nsha256 = 7", "needs sha256"),
        (f"[x]\nsha256 = '{'a' * 63}'", "needs sha256"),
        (f"[x]\nsha256 = '{'A' * 64}'", "needs sha256"),
        (f"[x]\nsha256 = '{HASH}'\nroles = []", "roles"),
        (f"[x]\nsha256 = '{HASH}'\nroles = 'admin'", "roles 'admin'; wanted: a list"),
        (f"[x]\nsha256 = '{HASH}'\nroles = ['root']", "roles"),
        (f"[x]\nsha256 = '{HASH}'\nroles = [['infer']]", "roles"),
        (f"[x]\nsha256 = '{HASH}'\nrole = 'admin'", "has 'role'; known: requests_per_minute, roles, sha256"),
        (f"[x]\nsha256 = '{HASH}'\nrequests_per_minute = 0", "requests_per_minute 0; the least is 1"),
        (f"[x]\nsha256 = '{HASH}'\ntokens_per_minute = 1.5", "tokens_per_minute 1.5"),
        (f"[x]\nsha256 = '{HASH}'\ntokens_per_minute = true", "tokens_per_minute True"),
        (f"[x]\nsha256 = '{HASH}'\n[y]\nsha256 = '{HASH}'", "'x' and 'y' have one sha256"),
        (f"[x]\nsha256 = '{HASH}'\n[x]\nsha256 = '{'b' * 64}'", "the keys cannot be read"),
    ],
)
def test_a_file_that_says_what_no_key_has_is_refused(file: Path, text: str, told: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=told) as caught:
        read_keys(file)
    assert str(file) in str(caught.value)
    with pytest.raises(ConfigError, match=told):
        make_key(file, Key("team"))
    assert file.read_text() == text


def test_a_file_that_is_none_is_told(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the keys cannot be read: no such file"):
        read_keys(file)
    with pytest.raises(ConfigError, match="the keys cannot be read: is a directory"):
        read_keys(tmp_path)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="the keys cannot be read"):
        read_keys(file)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic right", "right", "Token right"])
def test_a_header_without_a_key_is_refused(header: str | None) -> None:
    with pytest.raises(UnauthorizedError):
        Keys({hash_of("right"): Key("team")}).of(header)


@given(st.text(st.characters(exclude_categories=())))
@example("\ud800")
def test_no_header_breaks_the_lock(secret: str) -> None:
    with pytest.raises(UnauthorizedError):
        Keys({hash_of("right-" + "x" * 40): Key("team")}).of(f"Bearer {secret}")


def test_time_tells_nothing_of_which_key_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys({hash_of(f"secret {i}"): Key(f"key-{i}") for i in range(5)})
    compared: list[tuple[Any, Any]] = []
    real = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    for presented, found in (("secret 0", "key-0"), ("secret 4", "key-4"), ("wrong", None)):
        compared.clear()
        if found is None:
            with pytest.raises(UnauthorizedError, match="the key is not a known one"):
                keys.of(f"Bearer {presented}")
        else:
            assert keys.of(f"Bearer {presented}").name == found
        assert len(compared) == 5
        assert {len(one) for pair in compared for one in pair} == {32}


@pytest.mark.parametrize(
    ("roles", "wanted", "may"),
    [
        (("infer",), "infer", True),
        (("infer",), "admin", False),
        (("admin",), "infer", True),
        (("admin",), "admin", True),
        (("infer", "admin"), "admin", True),
    ],
)
def test_a_key_does_what_its_roles_say(roles: tuple[Role, ...], wanted: Role, may: bool) -> None:
    key = Key("team", roles)
    if may:
        key.check(wanted)
        return
    with pytest.raises(ForbiddenError, match="the key 'team' has the role infer, not admin"):
        key.check(wanted)
