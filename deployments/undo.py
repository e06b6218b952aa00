"""`poolkeeper restore`: what a cleanup deleted, listed, and made again."""

from deployments.links import ui_address
from deployments.terminal import Terminal
from flows.policy.archive import Archive, choose
from flows.policy.words import counted, one_line
from flows.prefect_api import Api
from flows.prefect_api.archive import read_archives
from flows.prefect_api.restore import restore


async def list_archives(api: Api, terminal: Terminal) -> None:
    archives = await read_archives(api)
    for name, archive in sorted(archives.items(), key=lambda item: item[1].archived_at, reverse=True):
        words = f"{_what(archive)}: {archive.reason}"
        terminal.say(f"{name}  {archive.archived_at:%Y-%m-%d %H:%M} UTC  {one_line(words)}")
    if not archives:
        terminal.say("Nothing is archived on this server.")
    else:
        terminal.say("Make one of them again with 'poolkeeper restore NAME'.")


async def restore_archive(api: Api, terminal: Terminal, name: str) -> None:
    """Make again what the block of that name holds. `BadInput` where that cannot be."""
    archive = choose(name, await read_archives(api))
    with terminal.working(f"restoring {archive.shown}"):
        restored = await restore(api, archive)
    terminal.done(_what(archive), f"restored; {counted(len(restored.attached), 'deployment')} attached again")
    for deployment, why in restored.left:
        terminal.warn(f"{deployment} is not attached: {why}")
    terminal.links({"work pools": f"{ui_address(api)}/work-pools"})


def _what(archive: Archive) -> str:
    return f"work {'pool' if archive.pool_fields else 'queue'} {archive.shown}"
