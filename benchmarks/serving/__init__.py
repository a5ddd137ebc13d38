"""What does an answer cost? `grownet bench serving [PEER ...] [--rows 1,100] [--rounds N]`, `--json` the facts.

One LightGBM ranking model of 500 trees, 31 leaves and 30 inputs, served by `grownet serve` with authentication, journal,
metrics and split on, and by the model servers that people use; one worker each, JSON over loopback with keep-alive. Peers are
installed into environments of their own below `GROWNET_HOME/peers` the first time; one that cannot be is listed with its
error. The figure is CPU time per request of the whole process tree, medians over alternating rounds. `--upkeep` adds half load,
memory, and a release under load; `--profile` where an answer's time goes; `--trees` the traversal against LightGBM's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import Facts
from configs.load import settings
from errors import StackError

CALM = ("floor", "bare")  # peers that half load is compared with: no work at all, and the model's alone


def main(argv: Sequence[str]) -> None:
    """All peers, or those named; `none` for the service alone."""
    from benchmarks.serving.page import show
    from stack.processes import ending_on_signals

    parser = argparse.ArgumentParser(prog="grownet bench serving", description=__doc__)
    parser.add_argument("peer", nargs="*", metavar="PEER")
    parser.add_argument("--rows", default="1,100", help="candidates in a request")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of load on a server in a round")
    parser.add_argument("--upkeep", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--trees", action="store_true")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(argv)
    with ending_on_signals():
        facts = measure(chosen)
    if chosen.json:
        print(json.dumps(facts, indent=2, sort_keys=True))
    else:
        show(facts)


def measure(chosen: argparse.Namespace) -> Facts:
    """Everything that was asked for; every server that was started has ended at the end."""
    from benchmarks.serving import race, servers, upkeep
    from benchmarks.serving.peers import chosen as named
    from benchmarks.serving.site import Site

    peers = {} if chosen.peer == ["none"] else named(chosen.peer)
    cache, failed, versions = settings().home / "peers", dict[str, str](), dict[str, str]()
    facts: Facts = {"cores": os.cpu_count(), "load_before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory(prefix="grownet-") as made, Site(Path(made)) as site:
        folder, running = Path(made), dict[str, servers.Served]()
        try:
            running[servers.OURS] = servers.ours(site, folder)
            for name, peer in peers.items():
                print(f"starting {peer.title}", file=sys.stderr)
                try:
                    running[name], versions[name] = servers.theirs(name, peer, Path(site.facts["trees"]), cache, folder)
                except StackError as error:
                    failed[name] = str(error)
                    print(f"{name}: {error}", file=sys.stderr)
            laps = [
                lap
                for count in map(int, chosen.rows.split(","))
                for lap in race.run(running, count, chosen.rounds, chosen.seconds)
            ]
            titles = {name: one.title for name, one in running.items()}
            facts |= {"servers": race.medians(laps), "titles": titles, "versions": versions, "not_run": failed}
            for name in [one for one in running if one not in {servers.OURS, *CALM}]:
                running.pop(name).end()
            if chosen.upkeep:
                ours = running[servers.OURS]
                facts["half"] = upkeep.half([*running.values()], ours, chosen.rounds, chosen.seconds)
                facts["release"] = upkeep.releases(ours, site, chosen.rounds)
        finally:
            for one in running.values():
                one.end()
        if chosen.profile:
            facts["profile"] = _profile(site)
        if chosen.trees:
            from benchmarks.serving.traversal import compared

            facts["trees"] = compared(Path(site.facts["trees"]).read_bytes())
    return {**facts, "load_after": os.getloadavg()[0]}


def _profile(site: object) -> Facts:
    from benchmarks.serving.site import Site, environment

    assert isinstance(site, Site)
    command = [sys.executable, "-m", "benchmarks.serving.parts", site.facts["key"]]
    own = {**environment(), **site.facts["environment"]}
    done = subprocess.run(command, cwd=site.code, env=own, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise StackError("profile", expected="facts", got=done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))
