"""Links of the private network forward because of mappings, and no longer than they must."""

import re

from case import case
from expect import becomes, expect
from served import becomes_served, page, serving, web
from world import BACKEND


@case
def a_link_forwards_for_its_targets_alone(lab):
    """The link that leads to the last target forwards no more when its mapping goes, nor is it
    guarded; with a mapping again it does and is."""
    setup = serving(lab)
    home = setup.agent.host
    link = re.search(r"dev (\S+)", home.run(["ip", "route", "get", BACKEND]).stdout)[1]

    def state():
        listing = home.run(["nft", "list", "table", "inet", "clusteragent"]).stdout
        forwards = home.run(["cat", f"/proc/sys/net/ipv4/conf/{link}/forwarding"]).stdout.strip()
        return forwards, "set links" in listing

    becomes(state, ("1", True))
    setup.agent.bind("more", web(81))
    setup.agent.remove("web")
    becomes(lambda: page(setup)[:3], "no:")
    expect(state(), ("1", True), "with another mapping to the same target")
    setup.agent.remove("more")
    becomes(state, ("0", False))
    setup.agent.bind("web", web(80))
    becomes_served(setup)
    expect(state(), ("1", True), "with a mapping again")
