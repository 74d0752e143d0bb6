"""Settings are refused with the file, the key and the rule."""

import re
from pathlib import Path

import pytest

from rampway.gateway.settings import (
    CONFIG_VARIABLE,
    TOKEN_VARIABLE,
    BadSettings,
    from_environment,
    read,
)

DOCS = Path(__file__).parents[2] / "docs" / "gateway.md"
GOOD = 'state_dir = "/var/lib/rampway"\n[upstreams.a]\nurl = "http://127.0.0.1:9000/v1/"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.toml"


def why(path: Path, content: str) -> str:
    path.write_text(content)
    with pytest.raises(BadSettings) as refused:
        read(path)
    return str(refused.value)


def test_defaults_are_those_of_the_page(path: Path) -> None:
    path.write_text(GOOD)

    settings = read(path)

    assert (settings.data_host, settings.admin_host) == ("127.0.0.1", "127.0.0.1")
    assert settings.limits.request_body_bytes == 8 * 1024 * 1024
    assert settings.upstreams["a"].url == "http://127.0.0.1:9000/v1"
    assert settings.units.headers == ("x-request-id",)
    assert [str(network) for network in settings.units.trusted_edges] == ["127.0.0.0/8", "::1/128"]


def test_the_documented_settings_are_the_defaults(path: Path) -> None:
    documented = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)[0]
    path.write_text(documented)
    told = read(path).model_dump(exclude={"state_dir", "upstreams"})

    path.write_text(GOOD)

    assert told == read(path).model_dump(exclude={"state_dir", "upstreams"})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("data_prot = 1\n" + GOOD, "unknown key 'data_prot' (top level: state_dir, upstreams"),
        (GOOD + "colour = 1\n", "unknown key 'upstreams.a.colour'"),
        ("data_port = 99999\n" + GOOD, "data_port: Input should be less than"),
        (GOOD.replace("http:", "ftp:"), "upstreams.a.url: "),
        (GOOD.replace("/v1/", "/v1?x=1"), "no query"),
        ('admin_token = "x"\n' + GOOD, TOKEN_VARIABLE),
        ("state_dir = \n", "is not TOML"),
        (GOOD + '[routes."/x"]\nerror = "problem"\n', "routes./x.error"),
        (GOOD + '[routes."x"]\nerror = "/problem"\n', "routes.x"),
        (
            GOOD + '[routes."/x"]\nkind = "chat"\nerror = "/e"\n',
            "read as its API says: no pointers",
        ),
        (GOOD + "[upstreams.a.models.m]\nprompt_price = -1\n", "upstreams.a.models.m.prompt_price"),
        (GOOD + '[units]\ntrusted_edges = ["10.0.0.1/8"]\n', "has host bits set"),
        (GOOD + "[units]\nheaders = []\n", "units.headers: Tuple should have at least 1 item"),
        (GOOD + '[tenants]\nbaseline = ["acme"]\n', "pinned tenants need `header`"),
        (
            GOOD + '[tenants]\nheader = "X-T"\nbaseline = ["a"]\ncandidate = ["a", "b"]\n',
            "a tenant has one arm; pinned to both: a",
        ),
        ('admin_host = "0.0.0.0"\n' + GOOD, f"set {TOKEN_VARIABLE}, or [admin_tls]"),
        (GOOD + '[admin_tls]\nkey = "k"\n', "admin_tls.certificate: Field required"),
        ('[upstreams.a]\nurl = "http://x"\n', "state_dir: Field required"),
    ],
)
def test_what_is_wrong_is_named(path: Path, content: str, told: str) -> None:
    assert told in why(path, content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"nowhere\.toml cannot be read: No such file"):
        read(tmp_path / "nowhere.toml")


def test_the_environment_names_the_file_and_holds_the_token(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(GOOD)
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    monkeypatch.setenv(TOKEN_VARIABLE, "a long enough token")

    assert from_environment().admin_token == "a long enough token"
    assert "long enough" not in repr(from_environment())
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    with pytest.raises(BadSettings, match="at least 16 characters"):
        from_environment()
    monkeypatch.delenv(CONFIG_VARIABLE)
    with pytest.raises(BadSettings, match=CONFIG_VARIABLE):
        from_environment()
