import os

from pyinfra import host
from pyinfra.operations import files

source, dest = os.environ["BENCH_FILES"], f"{os.environ['BENCH_DEST']}/{host.name}"
files.directory(path=dest)
files.put(src=f"{source}/blob", dest=f"{dest}/blob", mode="644")
files.template(src=f"{source}/conf.j2", dest=f"{dest}/conf", mode="644", inventory_hostname=host.name)
