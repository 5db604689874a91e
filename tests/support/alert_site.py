"""A small site with two branches, and rules for it."""

from pathlib import Path

from alerts.rules_file import Secrets, read_rules
from models.site_files import parse_site

DEVICES = 110


def site(devices: int = DEVICES):
    pipes = "".join(f"e{n},n1,j1,e{n},100,0.2\n" for n in range(devices)).replace("j1", "east")
    return parse_site({
        "site.toml": (
            '[site]\nid = "s"\nname = "s"\ntimezone = "Asia/Shanghai"\n[[region]]\nid = "r1"\nname = "北"\n'
            '[[unit]]\nid = "u1"\nregion = "r1"\nname = "一厂"\n[[network]]\nid = "n1"\nunit = "u1"\nname = "东网"\n'
        ),
        "devices.csv": "device,class,unit,network,name,node,interval_s\nplant-1,plant,u1,n1,Plant,p,10\n"
        + "".join(f"sub-{n:03},substation,u1,n1,Sub {n},e{n},10\n" for n in range(devices))
        + "sub-west,substation,u1,n1,West,w1,10\n",
        "pipes.csv": "pipe,network,from_node,to_node,length_m,inner_diameter_m\nt,n1,p,j,100,0.5\n"
        f"a,n1,j,east,100,0.4\nb,n1,j,w1,100,0.4\n{pipes}",
    })[0]  # fmt: skip


RULES = """
[alerts]
board_url = "http://board.example"

[[channel]]
id = "hook"
kind = "webhook"
url = "{url}"
timeout_s = 1

[[person]]
id = "li"
name = "李"
language = "zh"
channels = ["hook"]

[[route]]
id = "duty"
steps = ["li"]
group_wait_s = {wait}

[[rule]]
route = "duty"
"""


def rules(text: str, of=None, environ=None, directory=Path()):
    return read_rules(text, of or site(3), Secrets(environ or {}, directory))
