//! A terminal that does not show what is typed, for keys. It shows it again as soon as the value is dropped, however the reading ended.

#[cfg(unix)]
pub(crate) use unix::Hidden;
#[cfg(not(unix))]
pub(crate) use windows::Hidden;

#[cfg(unix)]
mod unix {
    use std::io;

    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

    /// While this lives, the terminal at stdin shows nothing but the end of the line.
    pub(crate) struct Hidden {
        shown: Termios,
    }

    impl Hidden {
        /// Begins to hide.
        pub(crate) fn begin() -> io::Result<Self> {
            let stdin = io::stdin();
            let shown = tcgetattr(&stdin)?;
            let mut hidden = shown.clone();
            hidden.local_modes.remove(LocalModes::ECHO);
            hidden.local_modes.insert(LocalModes::ECHONL);
            // A program that is suspended, or ends with a core, leaves the terminal as it is. Ctrl-C goes on to work: its signal has a handler meanwhile.
            for suspends in [SpecialCodeIndex::VSUSP, SpecialCodeIndex::VQUIT] {
                hidden.special_codes[suspends] = 0;
            }
            tcsetattr(&stdin, OptionalActions::Now, &hidden)?;
            Ok(Self { shown })
        }

        /// Reads a line.
        pub(crate) fn read_line() -> io::Result<String> {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|_| line)
        }
    }

    impl Drop for Hidden {
        fn drop(&mut self) {
            // What was pasted beyond the first line is not left to the shell, which would run it.
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.shown);
        }
    }
}

#[cfg(not(unix))]
mod windows {
    use std::io;

    /// The console hides each line by itself.
    pub(crate) struct Hidden;

    impl Hidden {
        /// Begins to hide.
        #[expect(clippy::unnecessary_wraps, reason = "a terminal of Unix can refuse")]
        pub(crate) const fn begin() -> io::Result<Self> {
            Ok(Self)
        }

        /// Reads a line.
        pub(crate) fn read_line() -> io::Result<String> {
            rpassword::read_password()
        }
    }
}
