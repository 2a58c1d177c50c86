//! A terminal that types: a program whose controlling terminal it is, what that shows, and whether it shows what is typed.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// The program under a terminal of its own.
pub(crate) struct Typed {
    terminal: File,
    shown: Arc<Mutex<Vec<u8>>>,
    child: Child,
    /// The other side is held open here, as a shell does that waits for the program.
    _shell: File,
}

impl Typed {
    /// Starts the program with an empty home and keys in a file.
    pub(crate) fn start(home: &Path, arguments: &[&str]) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let side = || OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        // A session of its own, so that Ctrl-C reaches the program as it does from a shell.
        let mut command = Command::new("/usr/bin/setsid");
        command.arg("--ctty").arg(env!("CARGO_BIN_EXE_lava-mcp")).args(arguments);
        command.env_clear().env("HOME", home).env("LAVA_CREDENTIAL_STORE", "file");
        let child = command.stdin(side()).stdout(Stdio::from(side())).stderr(Stdio::from(side())).spawn().unwrap();
        let terminal = File::from(terminal);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, sink) = (terminal.try_clone().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                sink.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Self { terminal, shown, child, _shell: side() }
    }

    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until the terminal shows this.
    pub(crate) fn wait_for(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.shown().contains(text) {
            assert!(Instant::now() < until, "{text:?} does not come: {}", self.shown());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn write(&self, text: &str) {
        (&self.terminal).write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it shows what is typed.
    pub(crate) fn echoes(&self) -> bool {
        tcgetattr(&self.terminal).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Waits for the end of the program; the terminal goes on.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // What was written last is still on its way.
                std::thread::sleep(Duration::from_millis(50));
                return status;
            }
            assert!(Instant::now() < until, "it does not end: {}", self.shown());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Typed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
