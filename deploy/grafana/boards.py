"""Every board that is written."""

from typing import Final

from deploy.grafana.gateway_board import GATEWAY
from deploy.grafana.release_board import RELEASE
from deploy.grafana.releases_board import RELEASES

BOARDS: Final = (RELEASE, GATEWAY, RELEASES)
