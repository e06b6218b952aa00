"""The command line: `poolkeeper up | deploy | doctor | restore | export`."""

import argparse
import asyncio
import signal
import sys

from deployments.commands import PROBLEMS, deploy_command, doctor_command, export_command, restore_command, up_command
from deployments.terminal import Terminal


def main() -> None:
    options = _parser().parse_args()
    terminal = Terminal()
    try:
        sys.exit(asyncio.run(_run(options, terminal)))
    except PROBLEMS as problem:
        terminal.fail(str(problem))
        sys.exit(1)


async def _run(options: argparse.Namespace, terminal: Terminal) -> int:
    """The command, which Ctrl-C and TERM end in order: what it started is stopped before it returns."""
    task = asyncio.ensure_future(options.command(options, terminal))
    received: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        if not received:
            received.append(number)
            terminal.say("Stopping what was started …")
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        return int(await task)
    except asyncio.CancelledError:
        terminal.say("Stopped.")
        return 128 + received[0] if received else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="poolkeeper", description="Looks after Prefect work pools, as Prefect flows.")
    commands = parser.add_subparsers(required=True, metavar="up | deploy | doctor | restore | export")
    up = commands.add_parser("up", help="start what is missing (server, deployments, worker), take inventory, and stay")
    up.add_argument("--demo", action="store_true", help="also start a small fleet, so that there is something to see")
    up.add_argument("--once", action="store_true", help="do all of it once, print the inventory, and stop")
    up.add_argument("--allow-remote-demo", action="store_true", help="let --demo use a server that is not on loopback")
    up.set_defaults(command=up_command)
    deploy = commands.add_parser("deploy", help="work pool, deployments and automations onto an existing server")
    deploy.set_defaults(command=deploy_command)
    doctor = commands.add_parser("doctor", help="say whether this server can be administered, and what is missing")
    doctor.set_defaults(command=doctor_command)
    restore = commands.add_parser(
        "restore", help="make a work pool or queue again that a cleanup has archived and deleted"
    )
    restore.add_argument("name", nargs="?", help="the archive's name; without one, all archives are listed")
    restore.set_defaults(command=restore_command)
    export = commands.add_parser("export", help="write the work pools that are there as a spec for pool-reconcile")
    export.set_defaults(command=export_command)
    return parser
