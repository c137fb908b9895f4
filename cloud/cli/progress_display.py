"""Shows a gateway's progress to a person: a bar for each image that is pulled, a line for each change of phase."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from gateway.terminal import printable


class ProgressDisplay:
    """Used as a context; `show` takes events of the gateway, whatever they are."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._console = Console()
        columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._progress = Progress(*columns, console=self._console, transient=False)
        self._bars: dict[str, TaskID] = {}
        self._phases: dict[str, str] = {}

    def show(self, event: dict[str, Any]) -> None:
        if event["kind"] == "progress":
            self._step(event["progress"])
        elif event["kind"] == "reported" and event["report"]["app"] == self._app:
            self._phase(event["report"])
        elif event["kind"] == "status":
            self._line(f"{event['gateway']} is {'online' if event['status']['online'] else 'offline'}")

    def _step(self, progress: dict[str, Any]) -> None:
        if progress.get("app") != self._app:
            return
        service = progress.get("service", "")
        if progress["kind"] == "pull" and progress.get("total_bytes"):
            self._pull(progress)
        elif progress.get("text"):
            self._line(f"{service}: {progress['text']}" if service else progress["text"])

    def _pull(self, progress: dict[str, Any]) -> None:
        """One bar for each image; beside it the layer, or what else is done with it now."""
        image, text = str(progress.get("image", "")), str(progress.get("text", ""))
        if image not in self._bars:
            self._bars[image] = self._progress.add_task("", total=None)
        self._progress.update(
            self._bars[image],
            description=escape(printable(f"pulling {image}: {text}")),
            total=progress["total_bytes"],
            completed=progress.get("done_bytes", 0),
        )

    def _phase(self, report: dict[str, Any]) -> None:
        for service in report["services"]:
            text = service["phase"] + (f" ({service['reason']})" if service.get("reason") else "")
            if self._phases.get(service["name"]) != text:
                self._phases[service["name"]] = text
                self._line(f"{service['name']}: {text}")

    def _line(self, text: str) -> None:
        self._progress.console.print(f"  {escape(printable(text))}", highlight=False)

    def __enter__(self) -> ProgressDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
