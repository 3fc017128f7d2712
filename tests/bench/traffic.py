"""What traffic through edged's rules costs, against routing and against proxies."""

from expect import eventually
from place import BULK_PORT, FEW, MANY, PROGRAMS, ROUTER, RULE, TARGET, WORD_PORT
from results import Row, at_least, quartiles

OPEN = 64  # connections at a time
HAPROXY_PROGRAM = "/usr/sbin/haproxy"
HAPROXY = {"bulk": 2001, "connect": 2002}  # ports
SOCAT = {"bulk": 3001, "connect": 3002}
PORTS = {"bulk": BULK_PORT, "connect": WORD_PORT}

HAPROXY_CONFIG = """
global
  maxconn 2000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1m
  timeout server 1m
listen bulk
  bind {address}:{bulk}
  server target {target}:{bulk_port}
listen connect
  bind {address}:{connect}
  server target {target}:{connect_port}
"""


class Traffic:
    """The ways from the client to the target, all open at once; measured one at a time."""

    def __init__(self, place, effort):
        self.place = place
        self.effort = effort
        place.serve()
        self._start_haproxy()
        self._start_socat()
        ways = [
            ("route", TARGET, PORTS),
            ("rule", RULE.address, PORTS),
            ("few", FEW.address, PORTS),
            ("many", MANY.address, PORTS),
            ("haproxy", ROUTER.address, HAPROXY),
            ("socat", ROUTER.address, SOCAT),
        ]
        self._ways = ways

    def _start_haproxy(self):
        host = self.place.hosts[ROUTER.name]
        config = host.folder / "haproxy.cfg"
        config.write_text(HAPROXY_CONFIG.format(
            address=ROUTER.address, target=TARGET, **HAPROXY,
            bulk_port=BULK_PORT, connect_port=WORD_PORT,
        ))
        host.start([HAPROXY_PROGRAM, "-db", "-f", config], "haproxy")

    def _start_socat(self):
        host = self.place.hosts[ROUTER.name]
        for kind, port in SOCAT.items():
            listen = f"TCP-LISTEN:{port},bind={ROUTER.address},fork,reuseaddr,backlog=4096"
            host.start(["socat", listen, f"TCP:{TARGET}:{PORTS[kind]}"], f"socat-{kind}")

    def _measure(self, kind, address, port):
        options = [OPEN] if kind == "connect" else []
        done = self.place.client.run(
            [PROGRAMS / "bench_load", kind, address, port, self.effort.seconds, *options],
            seconds=60,
        )
        return float(done.stdout)

    def measure(self, kind):
        """Lists of what each way carried, in interleaved rounds."""
        rates = {name: [] for name, _, _ in self._ways}
        for name, address, ports in self._ways:  # not counted
            eventually(lambda: self._measure(kind, address, ports[kind]))
        for turn in range(self.effort.pairs):
            order = self._ways if turn % 2 == 0 else self._ways[::-1]
            for name, address, ports in order:
                self.place.flush_connections()
                rates[name].append(self._measure(kind, address, ports[kind]))
        return rates

    def rows(self):
        bulk = self.measure("bulk")
        connect = self.measure("connect")
        for few, mappings in (("few", "10"), ("many", "60,000")):
            for what, rates, unit, limits in (
                ("bulk TCP", bulk, "Gbit/s", (0.95, 0.9, 1.7)),
                ("new connections", connect, "1/s", (0.85, 0.9, 2)),
            ):
                through = f"{what} through DNAT with {mappings} mappings"
                for other, name, limit in (
                    ("route", "plain routing", limits[0]),
                    ("rule", "one rule of nft", limits[1]),
                    ("haproxy", "HAProxy", limits[2]),
                    ("socat", "socat", limits[2]),
                ):
                    yield Row.ratio(
                        f"{through}, against {name}", list(zip(rates[few], rates[other])),
                        at_least(limit), f"{_rate(rates[few], unit)}, {_rate(rates[other], unit)}",
                    )


def _rate(values, unit):
    middle = quartiles(values)[1]
    return f"{middle * 8 / 1e9:.3g} Gbit/s" if unit == "Gbit/s" else f"{middle:.0f} {unit}"
