"""`make bench`: speeds as ratios, both sides measured side by side in one run. Nothing else should run meanwhile."""

import sys

from tests.bench import deploy, energy, link, model, request, sampler

BENCHES = {
    "model": model.run,
    "link": link.run,
    "request": request.run,
    "sampler": sampler.run,
    "energy": energy.run,
    "deploy": deploy.run,
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
