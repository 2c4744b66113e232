# SPDX-License-Identifier: BSD-3-Clause
"""`reach.py DEVICE ADDRESS PORT`, run by ssh in the lab's network namespace (net.py): connects over the device and hands
ssh the connection (ssh_config's ProxyUseFdpass)."""

import socket
import sys

connection = socket.socket()
connection.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode())
connection.connect((sys.argv[2], int(sys.argv[3])))
socket.send_fds(socket.socket(fileno=1), [b"\0"], [connection.fileno()])
