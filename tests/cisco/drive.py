"""Drives a virtual device with netmiko, whose own handling of sessions is the judge of ours: `drive.py OS PORT`; prints what it saw as JSON."""
import json
import sys

from netmiko import ConnectHandler

KIND = {"ios": "cisco_ios", "ap": "cisco_ios", "asa": "cisco_asa"}


def main():
    os, port = sys.argv[1], int(sys.argv[2])
    seen = {}
    device = ConnectHandler(
        device_type=KIND[os], host="127.0.0.1", port=port, username="admin", password="cisco", secret="enable-me",
        use_keys=False, allow_agent=False, timeout=20, read_timeout_override=20,
    )
    device.enable()
    seen["prompt"] = device.find_prompt()
    seen["running"] = device.send_command("show running-config")
    seen["version"] = device.send_command("show version")
    lines = {
        "ios": ["interface GigabitEthernet0/1", "description by netmiko", "exit", "ip access-list extended EDGE", "15 permit icmp any any"],
        "ap": ["interface Dot11Radio0", "description by netmiko"],
        "asa": ["access-list X line 1 extended permit icmp any any", "object network B", "host 10.0.0.9"],
    }[os]
    seen["said"] = device.send_config_set(lines)
    seen["refused"] = device.send_config_set(["no access-list X extended permit ip any host 10.9.9.9" if os == "asa" else "no ip route 10.0.0.0 255.0.0.0 10.0.0.1"], error_pattern="")
    seen["saved"] = device.save_config()
    seen["after"] = device.send_command("show running-config")
    device.disconnect()
    print(json.dumps(seen))


main()
