"""Writes the dashboards anew: `python -m deploy.grafana`, from the repository's root."""

from pathlib import Path

from deploy.grafana.boards import BOARDS
from deploy.grafana.rendering import rendered


def main() -> None:
    """Write each board beside this file, under its uid."""
    for board in BOARDS:
        (Path(__file__).parent / f"{board.uid}.json").write_text(rendered(board))


if __name__ == "__main__":
    main()
