"""The links of a lab: a management bridge and an underlay switch in the control namespace, and a node's
two links to them.

    LAB-ctl:   mgmt (bridge, 172.30.0.1)     underlay (bridge, no address)
                 |                              |
    LAB-node:  mgmt0                          eth0 -- br-phy (OVS, carries the node's own address)

Control traffic never passes OVS, so a node whose vswitchd is dead still reaches API and controller; only
tunnels pass br-phy. The userspace datapath sends a tunnel's packets only through a bridge of its own,
which is why the underlay goes through OVS at all. On the kernel datapath there is no br-phy, and eth0
carries the node's own address.
"""

from __future__ import annotations

from lab.addressing import CONTROL_ADDRESS, UNDERLAY_MTU, NodeAddresses
from lab.journal import Journal
from lab.nodes import netns
from lab.shell import run


async def make_control(name: str, journal: Journal) -> None:
    """The control namespace with its two bridges."""
    await netns.make(name, journal)
    await netns.batch(
        name,
        f"""\
link add mgmt type bridge
addr add {CONTROL_ADDRESS}/16 dev mgmt
link set mgmt up
link add underlay mtu {UNDERLAY_MTU} type bridge mcast_snooping 0
link set underlay up
""",
    )


async def make_node(
    control: str, name: str, addresses: NodeAddresses, journal: Journal, datapath: str
) -> None:
    """A node's namespace, linked to the control namespace. On the userspace datapath OVS takes eth0
    afterwards (lab/nodes/ovs)."""
    index = addresses.index
    await netns.make(name, journal)
    await netns.batch(
        control,
        f"""\
link add m{index} type veth peer name mgmt0 netns {name}
link set m{index} master mgmt up
link add u{index} mtu {UNDERLAY_MTU} type veth peer name eth0 mtu {UNDERLAY_MTU} netns {name}
link set u{index} master underlay up
""",
    )
    await netns.batch(
        name,
        f"""\
addr add {addresses.management}/16 dev mgmt0
link set mgmt0 up
link set eth0 up
""",
    )
    # A node of a cluster forwards; what the agent needs beyond that it sets itself.
    sysctls = {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}
    if datapath == "userspace":
        # What arrives on eth0 is for OVS alone: it only taps the device, and the kernel would answer ARP for
        # br-phy's address with the wrong MAC. No route leads back over eth0, so that the strict filter drops
        # all IPv4.
        sysctls |= {
            "net/ipv4/conf/eth0/arp_ignore": "8",
            "net/ipv4/conf/eth0/rp_filter": "1",
            "net/ipv6/conf/eth0/disable_ipv6": "1",
        }
    await netns.write_sysctls(name, sysctls)


async def remove_node(control: str, name: str, index: int, journal: Journal) -> None:
    """Remove the node's namespace; its links in the control namespace vanish with their peers.

    They are removed first all the same: the kernel ends a namespace some time after its name is gone,
    and a node that joins meanwhile under the same index needs the names."""
    for link in (f"m{index}", f"u{index}"):
        await run(["ip", "-n", control, "link", "del", link], check=False)
    await netns.remove(name, journal)


async def address_underlay(name: str, addresses: NodeAddresses, datapath: str) -> None:
    """Put the node's own address on br-phy (which vswitchd has made by now), or on eth0."""
    device = "br-phy" if datapath == "userspace" else "eth0"
    commands = f"link set {device} mtu {UNDERLAY_MTU} up\n"
    for address in addresses.underlay_prefixed:
        commands += f"addr replace {address} dev {device}{' nodad' if ':' in address else ''}\n"
    await netns.batch(name, commands)
