from pyinfra.operations import server

for number in range(20):
    server.shell(name=f"step {number}", commands=["hostname"])
