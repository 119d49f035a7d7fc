//! A small HTTP client that keeps its connections and asks as fast as it gets answers, for a bounded time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// What a load came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Requests answered with status 200.
    pub requests: u64,
    /// Requests answered otherwise or not at all; a connection that fails is not opened anew.
    pub errors: u64,
    /// Bytes in the bodies of the answers.
    pub body_bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// The longest one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks `port` on loopback for `path` on `connections` connections, each in a thread of its own, for `duration`.
pub(crate) fn run(port: u16, path: &str, duration: Duration, connections: usize) -> Load {
    let started = Instant::now();
    let end = started + duration;
    let mut total = Load::default();
    thread::scope(|scope| {
        let running: Vec<_> = (0..connections).map(|_| scope.spawn(|| ask_until(port, path, end))).collect();
        for one in running {
            match one.join() {
                Ok(load) => {
                    total.requests += load.requests;
                    total.errors += load.errors;
                    total.body_bytes += load.body_bytes;
                }
                Err(_) => total.errors += 1,
            }
        }
    });
    total.elapsed = started.elapsed();
    total
}

/// One request on a connection of its own: the status and the body.
pub(crate) fn get(port: u16, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let mut connection = Connection::open(port)?;
    let status = connection.ask(path)?;
    Ok((status, connection.body))
}

fn ask_until(port: u16, path: &str, end: Instant) -> Load {
    let mut load = Load::default();
    let Ok(mut connection) = Connection::open(port) else {
        return Load { errors: 1, ..load };
    };
    while Instant::now() < end {
        match connection.ask(path) {
            Ok(200) => load.requests += 1,
            Ok(_) => load.errors += 1,
            Err(_) => return Load { errors: load.errors + 1, ..load },
        }
        load.body_bytes += connection.body.len() as u64;
    }
    load
}

/// A connection kept open between requests, with the body of the last answer.
struct Connection {
    stream: BufReader<TcpStream>,
    body: Vec<u8>,
}

impl Connection {
    fn open(port: u16) -> io::Result<Connection> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream: BufReader::new(stream), body: Vec::new() })
    }

    /// Sends one request and reads all of its answer; returns the status.
    fn ask(&mut self, path: &str) -> io::Result<u16> {
        self.stream.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
        self.body.clear();

        let status = self.line()?.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| invalid("no status"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':') {
                Some(("content-length", value)) => {
                    length = value.trim().parse().map_err(|_| invalid("bad content-length"))?;
                }
                Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
                Some(_) => {}
                None if line.is_empty() => break,
                None => return Err(invalid("bad header")),
            }
        }
        if chunked {
            loop {
                let line = self.line()?;
                let size = u64::from_str_radix(&line, 16).map_err(|_| invalid("bad chunk"))?;
                self.read_body(size)?;
                self.line()?;
                if size == 0 {
                    break;
                }
            }
        } else {
            self.read_body(length)?;
        }
        Ok(status)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    fn read_body(&mut self, length: u64) -> io::Result<()> {
        let read = self.stream.by_ref().take(length).read_to_end(&mut self.body)? as u64;
        if read == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}
