//! What `scripts/soak` records: nginx under a load of its own or, where there is no nginx, a LuaJIT program. Says first
//! which process it is, then what it is. Ends with its standard input, and after so many seconds in any case.

use std::io::{self, Write};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use testdata::{Interpreter, Nginx};

fn main() -> io::Result<()> {
    let seconds = std::env::args().nth(1).and_then(|word| word.parse().ok());
    let duration = Duration::from_secs(seconds.ok_or_else(|| io::Error::other("usage: soak-target SECONDS"))?);
    let end = Instant::now() + duration;
    let (sender, closed) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(sender);
    });
    let goes_on = || Instant::now() < end && closed.try_recv() != Err(mpsc::TryRecvError::Disconnected);
    let say = |pid: u32, what: &str| {
        println!("{pid} {what}");
        io::stdout().flush()
    };
    match Nginx::available() {
        Ok(()) => {
            let nginx = Nginx::start()?;
            say(nginx.worker_pid()?, "nginx with Lua, four connections that ask for JSON")?;
            while goes_on() {
                nginx.load("/json", Duration::from_secs(1), 4);
            }
        }
        Err(_) => {
            let mut command = Interpreter::gc64().command("churn", Some(1e9));
            let mut program = command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).spawn()?;
            say(program.id(), "luajit, a churning heap")?;
            while goes_on() && program.try_wait()?.is_none() {
                std::thread::sleep(Duration::from_millis(100));
            }
            program.kill()?;
            program.wait()?;
        }
    }
    Ok(())
}
