"""The settings file of a gateway that runs, as an operator would change it and have it read again."""

from typing import Any

from support.gateway_process import KEEP_BODIES, NOBODY, DataPlane

Urls = dict[str, str]


def write_settings(plane: DataPlane, urls: Urls, *, more: str = "", headers: str = "") -> None:
    """`more` comes before the upstreams, `headers` into each of them."""
    tables = "".join(f'[upstreams."{n}"]\nurl = "{url}"\n{headers}\n' for n, url in urls.items())
    state = f'state_dir = "{plane.gateway.state_dir}"\ndata_port = 0\nadmin_port = 0\n'
    (plane.gateway.directory / "gateway.toml").write_text(f"{state}{more}\n{tables}{KEEP_BODIES}")


def urls_of(plane: DataPlane, **changed: str) -> Urls:
    return {"a": plane.a.url, "b": plane.b.url, "gone": NOBODY, **changed}


async def reload(plane: DataPlane) -> tuple[int, Any]:
    return await plane.admin.call("POST", "/v1/reload")
