from pyinfra.operations import server

server.shell(commands=["hostname"])
