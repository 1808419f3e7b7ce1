"""The way to reach a node, as its profile says."""

from __future__ import annotations

from devices.profile import Profile, SshReach
from testbed.deploy.deployer import Claim, Deployer
from testbed.deploy.local import LocalDeployer


def deployer(profile: Profile, claim: Claim, *, tc: bool = False) -> Deployer:
    """The way to reach a node, on behalf of a campaign; `tc`: its kernel may have to shape a link."""
    if isinstance(profile.reach, SshReach):
        from testbed.deploy.ssh import SshDeployer  # loads a fifth of a second of cryptography

        return SshDeployer(profile, claim, tc=tc)
    return LocalDeployer(profile)
