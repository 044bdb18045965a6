"""Sends frames (hex, one a line on stdin) out of an interface, or into a tun device that it makes.

    inject.py raw IFACE      each line is a whole frame
    inject.py tun IFACE      each line is an IP packet that comes in through the new device IFACE
"""
import fcntl
import os
import socket
import struct
import subprocess
import sys

kind, name = sys.argv[1:3]
frames = [bytes.fromhex(line) for line in sys.stdin.read().split()]
if kind == "raw":
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind((name, 0))
    for frame in frames:
        out.send(frame)
else:
    TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    for frame in frames:
        os.write(tun, frame)
