"""`make bench`: speeds as ratios, both sides measured side by side in one run. Nothing else should run meanwhile."""

import sys

from tests.bench import (
    boards,
    deploy,
    emulation,
    energy,
    link,
    model,
    request,
    resume,
    runtimes,
    sampler,
    schedule,
    shaper,
    soak,
    stream,
    summary,
)

BENCHES = {
    "boards": boards.run,
    "model": model.run,
    "runtimes": runtimes.run,
    "link": link.run,
    "request": request.run,
    "sampler": sampler.run,
    "energy": energy.run,
    "emulation": emulation.run,
    "deploy": deploy.run,
    "shaper": shaper.run,
    "soak": soak.run,
    "stream": stream.run,
    "resume": resume.run,
    "summary": summary.run,
    "schedule": schedule.run,
}


def main() -> None:
    """Run the benches named on the command line, or all of them."""
    names = sys.argv[1:] or list(BENCHES)
    if unknown := [name for name in names if name not in BENCHES]:
        sys.exit(f"tests.bench: no bench is named {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    for name in names:
        print(f"\n== {name}", flush=True)
        BENCHES[name]()


main()
