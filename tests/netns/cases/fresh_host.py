"""Commands on a host where nothing has been set up yet."""

from case import case
from expect import expect, expect_in, expect_not_in
from product import Edge


def build(lab):
    return Edge(lab.host("vps"))


@case
def check_config_without_a_file(setup):
    """edged.yaml may be missing, and check-config says so; a file that was named may not."""
    done = setup.cli("check-config")
    expect(done.stdout, "/etc/edged/edged.yaml is not there: all defaults, good\n")
    done = setup.cli("check-config", "/etc/edged/other.yaml", check=False)
    expect((done.returncode, done.stderr),
           (1, "edged: /etc/edged/other.yaml: No such file or directory\n"))


@case
def reset_without_an_enrolment(setup):
    """edged reset --owner and --epoch say that there is nothing, and leave nothing."""
    for option in ("--owner", "--epoch"):
        done = setup.cli("reset", option, check=False)
        expect((done.returncode, done.stderr), (1, (
            "edged: this edge is not enrolled: /var/lib/edged/join.yaml is not there\n"
        )), option)
    expect(list((setup.host.folder / "var/lib/edged").iterdir()), [])


@case
def an_open_state_folder_is_closed(lab):
    """A state folder that others may look into is closed, with a warning; once."""
    edge = Edge(lab.host("vps"))
    folder = edge.host.folder / "var/lib/edged"
    folder.chmod(0o755)
    edge.run()
    expect(folder.stat().st_mode & 0o777, 0o700)
    warning = "/var/lib/edged: others may look into it (mode 0755); it is closed now (0700)"
    expect_in(warning, edge.process.output())
    edge.process.stop()
    edge.process.log.write_text("")
    edge.run()
    expect_not_in("others may look", edge.process.output())


@case
def a_stop_is_quiet(lab):
    """edged, stopped, ends well and complains of nothing."""
    edge = Edge(lab.host("vps"))
    edge.run()
    expect(edge.process.stop(), 0, "exit code")
    expect([line for line in edge.process.output().splitlines() if " warn: " in line
            and "others may look" not in line], [])
