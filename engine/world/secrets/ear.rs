//! What sources tell besides values: credentials to hide, and what an operator should know.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::secret::{Secret, SecretName};

/// Gets every credential before it is used.
pub type Learn = Box<dyn Fn(&Secret) + Send + Sync>;

/// Hears what sources tell; clones hear the same.
#[derive(Clone, Default)]
pub struct Ear(Arc<Inner>);

#[derive(Default)]
struct Inner {
    learn: Mutex<Option<Learn>>,
    warnings: Mutex<Warnings>,
}

/// Warnings that were not taken yet, and all that were told.
#[derive(Default)]
struct Warnings {
    waiting: Vec<String>,
    told: BTreeSet<String>,
}

impl Ear {
    /// Says who gets every credential from here on.
    pub(super) fn listen(&self, learn: Learn) {
        *self.0.learn.lock() = Some(learn);
    }

    /// Tells a credential, under a name of its own, before it is used.
    pub(super) fn learn(&self, name: &str, value: &[u8]) {
        let name: SecretName = name.parse().expect("the names of credentials are written here");
        if let Some(learn) = self.0.learn.lock().as_ref() {
            learn(&Secret::new(name, value.to_vec()));
        }
    }

    /// Tells something odd, once.
    pub(super) fn warn(&self, text: String) {
        let mut warnings = self.0.warnings.lock();
        if warnings.told.insert(text.clone()) {
            warnings.waiting.push(text);
        }
    }

    /// Takes the warnings that nobody has taken yet.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.warnings.lock().waiting)
    }
}
