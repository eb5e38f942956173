"""Forwarding between pods, the node's gateway port and other nodes (Antrea v2.7, feature PodConnectivity).

Static flows belong to the node, the others to a pod or to a remote node. Pods are told apart by port, MAC and
address; a packet that pretends to be somebody else's is dropped. Between pods of one node nothing is
rewritten; what comes through the tunnel carries meaningless MACs, so RewriteMAC has them set on the way to
the pod.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from agent.model import IPAddress, IPNetwork, NodeConfig, PodInterface, RemoteNode
from agent.openflow.codec import actions as a
from agent.openflow.codec import fields as f
from agent.openflow.codec import match as m
from agent.openflow.codec.flow import Flow
from agent.pipeline import registers as r
from agent.pipeline import tables as t
from agent.pipeline.building import HIGH, LOW, NORMAL, Builder
from agent.pipeline.cookies import Category
from agent.pipeline.entry import families
from agent.pipeline.programmer import FlowProgrammer
from agent.pipeline.sctp import sctp_flows
from agent.pipeline.tables import Stage

ND_SOLICITATION, ND_ADVERTISEMENT = 135, 136
LINK_LOCAL = ipaddress.ip_network("fe80::/10")
MULTICAST6 = ipaddress.ip_network("ff00::/8")


class PodConnectivity:
    """Declares the flows of the node, of its pods and of its peers; ``programmer.commit()`` installs them."""

    def __init__(self, programmer: FlowProgrammer, node: NodeConfig) -> None:
        self._programmer = programmer
        self._flows = ConnectivityFlows(programmer.builder(Category.POD_CONNECTIVITY), node)

    def install_static(self) -> None:
        """What holds for the node as a whole."""
        self._programmer.want("node", list(self._flows.static()))

    def install_pod(self, pod: PodInterface) -> None:
        """Connects a pod, or follows a change of its addresses or its port."""
        self._programmer.want(f"pod/{pod.name}", list(self._flows.pod(pod)))

    def uninstall_pod(self, name: str) -> None:
        """Ends what ``install_pod`` began; ``name`` is that of the interface."""
        self._programmer.drop(f"pod/{name}")

    def install_node(self, node: RemoteNode) -> None:
        """Connects to the pods of another node through the tunnel."""
        self._programmer.want(f"node/{node.name}", list(self._flows.remote_node(node)))

    def uninstall_node(self, name: str) -> None:
        self._programmer.drop(f"node/{name}")


class ConnectivityFlows:
    """The flows themselves, without side effects."""

    def __init__(self, build: Builder, node: NodeConfig) -> None:
        self._build = build
        self._node = node
        self._families = families(build.layout)

    # --- the node ---

    def static(self) -> Iterator[Flow]:
        yield from self._gateway()
        yield from self._tunnel()
        yield from self._neighbour_discovery()
        yield from self._connection_tracking()
        yield from self._routing()
        yield from self._host_to_pods()
        yield self._build.flow(
            t.OUTPUT, NORMAL, r.OUTPUT.match(r.TO_PORT), do=(a.output_field(r.TARGET_PORT.field),)
        )
        if self._node.userspace_datapath:
            yield from sctp_flows(self._build)

    def _after_spoof_guard(self, version: int) -> t.Table:
        """IPv6 packets pass the table of neighbour discovery, IPv4 packets do not."""
        if version == 6:
            return t.IPV6
        return self._build.layout.first(Stage.CONNTRACK_STATE)

    def _gateway(self) -> Iterator[Flow]:
        """What comes from the host through the gateway port; only its ARP is checked."""
        flow, port, mac = self._build.flow, self._node.gateway_ofport, self._node.gateway_mac
        for address in self._node.gateway_ips:
            if isinstance(address, ipaddress.IPv4Address):
                yield flow(
                    t.ARP_SPOOF_GUARD, NORMAL,
                    m.arp(), m.in_port(port), m.arp_spa(address), m.arp_sha(mac), goto=t.ARP_RESPONDER,
                )  # fmt: skip
            yield flow(
                t.CLASSIFIER, HIGH, m.in_port(port), m.nw_src(address),
                do=(r.PKT_SOURCE.load(r.FROM_GATEWAY), r.FROM_LOCAL.load(1)), goto=t.SPOOF_GUARD,
            )  # fmt: skip
        yield flow(
            t.CLASSIFIER, NORMAL, m.in_port(port),
            do=(r.PKT_SOURCE.load(r.FROM_GATEWAY), r.FROM_EXTERNAL.load(1)), goto=t.SPOOF_GUARD,
        )  # fmt: skip
        if 4 in self._families:
            yield flow(t.ARP_RESPONDER, LOW, m.arp(), do=(a.output(a.NORMAL),))
        for version in self._families:
            yield flow(
                t.SPOOF_GUARD, NORMAL, m.ip(version), m.in_port(port), goto=self._after_spoof_guard(version)
            )
        yield flow(t.L2_FORWARDING_CALC, NORMAL, m.dl_dst(mac), do=self._to_port(port), goto=self._after_l2())

    def _tunnel(self) -> Iterator[Flow]:
        """What comes through the tunnel was checked where it came from."""
        flow, port = self._build.flow, self._node.tunnel_ofport
        if not port:
            return
        yield flow(
            t.CLASSIFIER, NORMAL, m.in_port(port),
            do=(r.PKT_SOURCE.load(r.FROM_TUNNEL), r.REWRITE_MAC.load(1)), goto=Stage.CONNTRACK_STATE,
        )  # fmt: skip
        yield flow(
            t.L2_FORWARDING_CALC,
            NORMAL,
            m.dl_dst(r.VIRTUAL_MAC),
            do=self._to_port(port),
            goto=self._after_l2(),
        )

    def _neighbour_discovery(self) -> Iterator[Flow]:
        """IPv6 finds neighbours by multicast from link-local addresses; the bridge forwards that as a
        switch."""
        if 6 not in self._families:
            return
        flow = self._build.flow
        yield flow(t.SPOOF_GUARD, NORMAL, m.nw_src(LINK_LOCAL), goto=t.IPV6)
        for kind in (ND_SOLICITATION, ND_ADVERTISEMENT):
            yield flow(t.IPV6, NORMAL, m.icmp(kind, 0, version=6), do=(a.output(a.NORMAL),))
        yield flow(t.IPV6, NORMAL, m.nw_dst(MULTICAST6), do=(a.output(a.NORMAL),))

    def _connection_tracking(self) -> Iterator[Flow]:
        flow, layout = self._build.flow, self._build.layout
        yield flow(t.CONNTRACK_STATE, 0, goto=Stage.PRE_ROUTING)
        for version in self._families:
            ip, zone = m.ip(version), r.ZONE[version]
            state = a.ct(zone, table=layout.number(t.CONNTRACK_STATE), nat=a.nat())
            yield flow(t.CONNTRACK_ZONE, NORMAL, ip, do=(state,))
            yield flow(t.CONNTRACK_STATE, NORMAL, ip, m.ct_state("+inv+trk"))
            yield flow(
                t.CONNTRACK_STATE, LOW, ip, m.ct_state("-new+trk"), r.SERVICE_MARK.match(0),
                goto=Stage.EGRESS_SECURITY,
            )  # fmt: skip
            remember_source = a.move(f.REG[0], f.CT_MARK, (r.PKT_SOURCE.first, r.PKT_SOURCE.last))
            commit = a.ct(zone, table=layout.number(t.OUTPUT), commit=True, execute=remember_source)
            yield flow(
                t.CONNTRACK_COMMIT, NORMAL, ip, m.ct_state("+new+trk"), r.SNAT_MARK.match(0), do=(commit,)
            )

    def _routing(self) -> Iterator[Flow]:
        flow, node = self._build.flow, self._node
        to_gateway = (a.set_mac(f.ETH_DST, node.gateway_mac), r.PKT_DESTINATION.load(r.TO_GATEWAY))
        for address in node.gateway_ips:
            yield flow(t.L3_FORWARDING, HIGH, m.nw_dst(address), do=to_gateway, goto=t.L3_DEC_TTL)
        for version in self._families:
            reply = (m.ip(version), m.ct_state("+rpl+trk"), r.CONN_SOURCE.match(r.FROM_GATEWAY))
            yield flow(t.L3_FORWARDING, HIGH, *reply, do=to_gateway, goto=t.L3_DEC_TTL)
            ttl = self._build.next(t.L3_DEC_TTL)
            yield flow(t.L3_DEC_TTL, HIGH, m.ip(version), r.PKT_SOURCE.match(r.FROM_GATEWAY), goto=ttl)
            yield flow(t.L3_DEC_TTL, NORMAL, m.ip(version), do=(a.dec_ttl(),), goto=ttl)
        for cidr in node.pod_cidrs:
            yield flow(
                t.L3_FORWARDING, NORMAL, r.REWRITE_MAC.match(0), m.nw_dst(cidr), goto=t.L2_FORWARDING_CALC
            )
        yield flow(t.L3_FORWARDING, 0, do=(r.PKT_DESTINATION.load(r.TO_GATEWAY),), goto=t.L2_FORWARDING_CALC)

    def _host_to_pods(self) -> Iterator[Flow]:
        """The node reaches its own pods whatever policies say: kubelet's probes.

        On the kernel datapath the host marks its own packets. Marks do not cross the tap of the userspace
        datapath; there it is the gateway's address, coming from the gateway port.
        """
        flow, table = self._build.flow, t.INGRESS_SECURITY_CLASSIFIER
        if not self._node.userspace_datapath:
            for version in self._families:
                yield flow(
                    table, HIGH, m.ip(version), r.HOST_LOCAL_MARK.match(1), m.ct_state("-rpl+trk"),
                    goto=Stage.CONNTRACK,
                )  # fmt: skip
            return
        from_gateway = r.PKT_SOURCE.match(r.FROM_GATEWAY)
        for address in self._node.gateway_ips:
            source = m.nw_src(address)
            yield flow(table, HIGH, source, from_gateway, m.ct_state("-rpl+trk"), goto=Stage.CONNTRACK)
            sctp = m.protocol(f.PROTO_SCTP, address.version)
            yield flow(table, HIGH, sctp, source, from_gateway, goto=Stage.CONNTRACK)

    # --- pods and peers ---

    def pod(self, pod: PodInterface) -> Iterator[Flow]:
        """A pod of this node. An address of a family that the node does not use gets no flows."""
        flow, port = self._build.flow, m.in_port(pod.ofport)
        yield flow(
            t.CLASSIFIER,
            LOW,
            port,
            do=(r.PKT_SOURCE.load(r.FROM_POD), r.FROM_LOCAL.load(1)),
            goto=t.SPOOF_GUARD,
        )
        yield flow(
            t.L2_FORWARDING_CALC,
            NORMAL,
            m.dl_dst(pod.mac),
            do=self._to_port(pod.ofport),
            goto=self._after_l2(),
        )
        for address in pod.ips:
            if address.version not in self._families:
                continue
            if isinstance(address, ipaddress.IPv4Address):
                yield flow(
                    t.ARP_SPOOF_GUARD, NORMAL, m.arp(), port, m.arp_spa(address), m.arp_sha(pod.mac),
                    goto=t.ARP_RESPONDER,
                )  # fmt: skip
            yield flow(
                t.SPOOF_GUARD, NORMAL, port, m.dl_src(pod.mac), m.nw_src(address),
                goto=self._after_spoof_guard(address.version),
            )  # fmt: skip
            rewrite = (a.set_mac(f.ETH_SRC, self._node.gateway_mac), a.set_mac(f.ETH_DST, pod.mac))
            yield flow(
                t.L3_FORWARDING,
                NORMAL,
                r.REWRITE_MAC.match(1),
                m.nw_dst(address),
                do=rewrite,
                goto=t.L3_DEC_TTL,
            )

    def remote_node(self, node: RemoteNode) -> Iterator[Flow]:
        """The pods of another node, behind the tunnel. A CIDR without a transport address is left out."""
        for cidr in node.pod_cidrs:
            if cidr.version not in self._families:
                continue
            if isinstance(cidr, ipaddress.IPv4Network):
                yield self._arp_reply(cidr[1])
            transport = _transport(node, cidr)
            if transport is not None and self._node.tunnel_ofport:
                yield self._to_peer(cidr, transport)

    def _to_peer(self, cidr: IPNetwork, transport: IPAddress) -> Flow:
        tunnel = f.TUN_DST if transport.version == 4 else f.TUN_IPV6_DST
        return self._build.flow(
            t.L3_FORWARDING, NORMAL, m.nw_dst(cidr),
            do=(
                a.set_mac(f.ETH_SRC, self._node.gateway_mac),
                a.set_mac(f.ETH_DST, r.VIRTUAL_MAC),
                a.set_address(tunnel, transport),
                r.PKT_DESTINATION.load(r.TO_TUNNEL),
            ),
            goto=t.L3_DEC_TTL,
        )  # fmt: skip

    def _arp_reply(self, gateway: ipaddress.IPv4Address) -> Flow:
        """Answers for a peer's gateway, so that the host can send to its pods through the gateway port."""
        return self._build.flow(
            t.ARP_RESPONDER, NORMAL, m.arp(), m.arp_tpa(gateway), m.arp_op(1),
            do=(
                a.move(f.ETH_SRC, f.ETH_DST),
                a.set_mac(f.ETH_SRC, r.VIRTUAL_MAC),
                a.set_field(f.ARP_OP, 2),
                a.move(f.ARP_SHA, f.ARP_THA),
                a.set_mac(f.ARP_SHA, r.VIRTUAL_MAC),
                a.move(f.ARP_SPA, f.ARP_TPA),
                a.set_address(f.ARP_SPA, gateway),
                a.output(a.IN_PORT),
            ),
        )  # fmt: skip

    def _to_port(self, port: int) -> tuple[bytes, ...]:
        return (r.TARGET_PORT.load(port), r.OUTPUT.load(r.TO_PORT))

    def _after_l2(self) -> t.Table:
        return self._build.next(t.L2_FORWARDING_CALC)


def _transport(node: RemoteNode, cidr: IPNetwork) -> IPAddress | None:
    """The far end of the tunnel: of the CIDR's own family if there is one, else of the other."""
    same = [address for address in node.transport_ips if address.version == cidr.version]
    return next(iter(same or node.transport_ips), None)
