//! Keys are in this process's memory. Programs of the same user, which can read the memory of other processes, cannot read this one's, and no image of it is left behind.

/// Closes the process: no debugger attaches to it, its memory cannot be read by other processes of the same user, and it leaves no core file. A debugger that starts the
/// program itself, and profilers that do so, go on to work. Children start afresh and are as open as ever.
///
/// In debug builds too: what only release builds do is tested by nobody.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn close_to_others() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
    // A system that does not allow it is not a reason to serve nobody.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // Only the present limit, which children may raise again.
    let most = getrlimit(Resource::Core).maximum;
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: most });
}

/// macOS asks for a password before one program may look into another, and Windows writes no images unless it is set up to.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const fn close_to_others() {}
