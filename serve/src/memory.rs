//! How the process uses memory.

/// No huge pages from here on: a version that left would leave one behind wherever another uses a few bytes of it, and a request that is the
/// first to touch one waits until two megabytes are cleared. Tables are read more slowly for it: upsell answers a seventh fewer requests,
/// cross-sell a twentieth.
#[cfg(target_os = "linux")]
pub fn small_pages() {
    let (disable, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: it changes a flag of the process, and reads no memory; the arguments have the type that it reads.
    if unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, disable, unused, unused, unused) } != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "huge pages stay as the system has them");
    }
}

/// Elsewhere pages are as they are.
#[cfg(not(target_os = "linux"))]
pub fn small_pages() {}

/// Gives back what this thread freed, and what ended threads did: an allocator keeps it, for they might want it again.
pub(crate) fn give_back() {
    // SAFETY: the function has no conditions; it works on the calling thread's heap and on memory that no thread uses.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
