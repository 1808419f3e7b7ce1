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
    for name in sys.argv[1:] or BENCHES:
        print(f"\n== {name}", flush=True)
        BENCHES[name]()


main()
