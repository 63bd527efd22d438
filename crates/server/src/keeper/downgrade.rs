//! etcd's downgrade job, as far as one replica can have one: versions are checked and the job is remembered while the server runs.
//!
//! No data is changed by it. In etcd the job lets members of the version before in; here each site is a version of its own.

use parking_lot::Mutex;

/// Which job is under way.
#[derive(Default)]
pub(crate) struct Downgrade {
    target: Mutex<Option<Version>>,
}

/// A version without its patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    major: u64,
    minor: u64,
}

/// Why a job was not begun or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The text is no version.
    Format,
    /// The version is not the one before this one.
    Target,
    /// There is one.
    UnderWay,
    /// There is none.
    None,
}

impl Downgrade {
    /// Whether a job to `target` could begin, from `current`.
    pub(crate) fn validate(&self, current: &str, target: &str) -> Result<(), Refused> {
        self.check(current, target).map(drop)
    }

    /// Begins a job.
    pub(crate) fn enable(&self, current: &str, target: &str) -> Result<(), Refused> {
        let target = self.check(current, target)?;
        *self.target.lock() = Some(target);
        Ok(())
    }

    /// Ends the job.
    pub(crate) fn cancel(&self) -> Result<(), Refused> {
        self.target.lock().take().map(drop).ok_or(Refused::None)
    }

    /// The version that the job is to, as etcd writes it.
    pub(crate) fn target(&self) -> Option<String> {
        self.target.lock().map(|Version { major, minor }| format!("{major}.{minor}.0"))
    }

    fn check(&self, current: &str, target: &str) -> Result<Version, Refused> {
        let target = Version::read(target).ok_or(Refused::Format)?;
        let before = Version::read(current).and_then(Version::before).ok_or(Refused::Format)?;
        match () {
            () if target != before => Err(Refused::Target),
            () if self.target.lock().is_some() => Err(Refused::UnderWay),
            () => Ok(target),
        }
    }
}

impl Version {
    /// Reads `3.4`, `3.4.1`, `3.4.1-rc.0`: what etcd takes for a version.
    fn read(text: &str) -> Option<Self> {
        let numbers = text.split(['-', '+']).next()?;
        let parts: Vec<u64> = numbers.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        // A version with a suffix must have a patch to put it behind.
        let is_whole = parts.len() == 3 || (parts.len() == 2 && numbers.len() == text.len());
        is_whole.then(|| Self { major: parts[0], minor: parts[1] })
    }

    fn before(self) -> Option<Self> {
        Some(Self { minor: self.minor.checked_sub(1)?, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_version_before_can_be_gone_down_to() {
        let job = Downgrade::default();
        for (target, wanted) in [
            ("3.4", Ok(())),
            ("3.4.0", Ok(())),
            ("3.4.23", Ok(())),
            ("3.4.0-rc.1", Ok(())),
            ("3.5.0", Err(Refused::Target)),
            ("3.6", Err(Refused::Target)),
            ("2.4", Err(Refused::Target)),
            ("3", Err(Refused::Format)),
            ("", Err(Refused::Format)),
            ("3.x", Err(Refused::Format)),
            ("3.4-rc", Err(Refused::Format)),
            ("3.4.1.2", Err(Refused::Format)),
        ] {
            assert_eq!(job.validate("3.5.0", target), wanted, "{target}");
        }
        assert_eq!(job.target(), None, "asking begins nothing");
    }

    #[test]
    fn there_is_one_job_at_a_time() {
        let job = Downgrade::default();
        assert_eq!(job.cancel(), Err(Refused::None));
        assert_eq!(job.enable("3.5.0", "3.4"), Ok(()));
        assert_eq!(job.target().as_deref(), Some("3.4.0"));
        assert_eq!(job.enable("3.5.0", "3.4"), Err(Refused::UnderWay));
        assert_eq!(job.validate("3.5.0", "3.3"), Err(Refused::Target), "what is wrong with the version is said first");
        assert_eq!(job.cancel(), Ok(()));
        assert_eq!(job.cancel(), Err(Refused::None));
    }
}
