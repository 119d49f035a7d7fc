"""Files of any file system that Spark reads, as pipes: Spark's Python workers have no such reader themselves.

A Python worker that meets such a file starts one small Java program beside it, with the class path of the executor that
it belongs to; so it has the same connectors and finds the same credentials. It ends with the worker.
"""

import os
import shutil
import tempfile
import threading

from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError

PIECE = 1 << 20  # bytes read at once
PATIENCE = 10  # seconds that a reader may need to notice that nobody reads on


def executor():
    """The executor's Java and its class path: the nearest `java` among those that this process comes from."""
    pid = os.getppid()
    while pid > 1:
        with open(f"/proc/{pid}/cmdline") as file:
            command = file.read().split("\0")
        if os.path.basename(command[0]) == "java":
            # YARN sets the variable, the others give the option.
            path = command[command.index("-cp") + 1] if "-cp" in command else os.environ.get("CLASSPATH", "")
            return command[0], path
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
    raise OSError("no executor above this process")


class Reader:
    """The Java program, with the configuration of the driver's file systems as XML."""

    def __init__(self, configuration, jars):
        java, class_path = executor()
        if "SPARK_USER" in os.environ:  # as whom Spark itself reads, where nobody has to prove who he is
            os.environ.setdefault("HADOOP_USER_NAME", os.environ["SPARK_USER"])
        port, token, self.process = launch_gateway(
            java_path=java,
            classpath=os.pathsep.join([class_path, os.path.join(jars, "*")]),
            javaopts=["-Xmx256m", "-XX:+UseSerialGC"],
            die_on_exit=True,
            enable_auth=True,
            return_proc=True,
        )
        self.gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token))
        self.jvm = self.gateway.jvm
        self.configuration = self.jvm.org.apache.hadoop.conf.Configuration()
        self.configuration.addResource(self.jvm.java.io.ByteArrayInputStream(configuration.encode()))

    def ended(self):
        return self.process.poll() is not None

    def end(self):
        self.process.kill()
        self.process.wait()


class Stream:
    """A file as a pipe. What went wrong in the middle of it is known when it is closed.

    Raises OSError where the file cannot be opened."""

    def __init__(self, reader, uri):
        self.error = None
        self.folder = tempfile.mkdtemp()
        fifo = os.path.join(self.folder, "trace")
        try:
            path = reader.jvm.org.apache.hadoop.fs.Path(uri)
            source = path.getFileSystem(reader.configuration).open(path)
            os.mkfifo(fifo)
            # In this order neither end waits for the other one to be opened, and neither sees the other one missing.
            self.pipe = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
            sink = reader.jvm.java.io.FileOutputStream(fifo)
            os.set_blocking(self.pipe, True)
        except Py4JError as error:
            raise OSError(said(error)) from error
        finally:
            shutil.rmtree(self.folder)
        self.thread = threading.Thread(target=self.copy, args=(reader, source, sink), daemon=True)
        self.thread.start()

    def copy(self, reader, source, sink):
        try:
            reader.jvm.org.apache.hadoop.io.IOUtils.copyBytes(source, sink, PIECE, True)
        except (Py4JError, OSError) as error:
            self.error = said(error)

    def close(self):
        """Whether the reader is free for the next file. `error` tells why the file was not read to its end, if it was not."""
        os.close(self.pipe)
        self.thread.join(PATIENCE)
        # Whoever reads a trace may stop in the middle of it: it is damaged.
        if self.error and "Broken pipe" in self.error:
            self.error = None
        return not self.thread.is_alive()


def said(error):
    """What Java has to say, in one line."""
    if isinstance(error, Py4JJavaError):
        return str(error.java_exception.toString()).splitlines()[0]
    if isinstance(error, Py4JNetworkError):
        return "the reader has ended"
    return str(error).splitlines()[0]
