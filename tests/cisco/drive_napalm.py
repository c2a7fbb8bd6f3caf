"""Drives a virtual device with NAPALM, as the team's pipeline does today: `drive_napalm.py PORT`; prints what it saw as JSON."""
import json
import sys

from napalm import get_network_driver


def main():
    more = {"port": int(sys.argv[1]), "secret": "enable-me", "inline_transfer": True}
    device = get_network_driver("ios")("127.0.0.1", "admin", "cisco", timeout=30, optional_args=more)
    seen = {}
    device.open()
    seen["facts"] = device.get_facts()
    seen["before"] = device.get_config()["running"]

    change = "interface GigabitEthernet0/1\n description by napalm\n no ip redirects\n"
    device.load_merge_candidate(config=change)
    seen["merge"] = device.compare_config()
    device.commit_config()
    seen["merged"] = device.get_config()
    device.load_merge_candidate(config=change)
    seen["again"] = device.compare_config()
    device.discard_config()
    seen["discarded"] = device.get_config()["running"] == seen["merged"]["running"]

    device.rollback()
    seen["rolled_back"] = device.get_config()["running"]

    device.load_replace_candidate(config=seen["before"].replace("core", "replaced"))
    seen["replace"] = device.compare_config()
    device.commit_config(revert_in=60)
    seen["pending"] = device.has_pending_commit()
    device.confirm_commit()
    seen["confirmed"] = device.has_pending_commit()
    seen["replaced"] = device.get_config()["running"]

    device.load_merge_candidate(config="interface GigabitEthernet0/1\n description half\n ip address\n")
    device.commit_config()
    seen["half"] = device.get_config()["startup"]
    device.close()
    print(json.dumps(seen))


main()
