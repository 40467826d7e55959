//! How many files and connections this process may have open.

/// Raises the limit to what the system allows this process at most: shells and services often begin with 1024, which a
/// gateway with some hundred sources and a thousand callers passes. What cannot be raised stays as it was. Returns how
/// many there may be now; `None`: as many as there is memory for.
pub fn raise_limit() -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, wanted) {
            tracing::warn!(%error, now = limit.current, "the number of open files stays limited");
        }
        getrlimit(Resource::Nofile).current
    }
    #[cfg(not(unix))]
    None
}
