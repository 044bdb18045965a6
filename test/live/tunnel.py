"""One end of a tunnel in the network namespace in which it was started, for kernels without the device.

tunnel.py ipip|geneve|vxlan DEVICE LOCAL REMOTE PORT: makes DEVICE (tun, or tap for what carries Ethernet),
says `ready`, and carries what is sent to it in packets of that encapsulation, until stdin ends. PORT is 0 for ipip.
"""

import fcntl
import os
import select
import socket
import struct
import sys

kind, device, local, remote, port = sys.argv[1:]

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_TAP, IFF_NO_PI = 1, 2, 0x1000
NETWORK_ID = 1 << 8
HEADERS = {
    "ipip": b"",
    "vxlan": struct.pack("!II", 0x08 << 24, NETWORK_ID),  # RFC 7348, section 5
    "geneve": struct.pack("!II", 0x6558, NETWORK_ID),  # RFC 8926, section 3.4
}
header = HEADERS[kind]

inner = os.open("/dev/net/tun", os.O_RDWR)
mode = (IFF_TUN if kind == "ipip" else IFF_TAP) | IFF_NO_PI
fcntl.ioctl(inner, TUNSETIFF, struct.pack("16sH", device.encode(), mode))

if kind == "ipip":
    outer = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IPIP)
else:
    outer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
outer.bind((local, int(port)))
print("ready", flush=True)

while True:
    readable, _, _ = select.select([inner, outer, sys.stdin], [], [])
    if sys.stdin in readable:
        break
    if inner in readable:
        outer.sendto(header + os.read(inner, 65536), (remote, int(port)))
    if outer in readable:
        packet = outer.recv(65536)
        # A raw socket gives the outer header as well; its length is in words of four bytes.
        at = (packet[0] & 0x0F) * 4 if kind == "ipip" else len(header)
        try:
            os.write(inner, packet[at:])
        except OSError:
            pass  # the device is not up yet
