//! Whether the sources of secrets can be asked, without asking for a value.

use super::bao::Identity;
use super::config::Source;
use super::{Fault, Secrets, ansible_vault, command_in_words, encrypted, key};

/// What a source says of itself.
#[derive(Debug)]
pub struct Probe {
    /// The source, in words.
    pub place: String,
    /// How many secrets it lists; `None` when only a question by name would tell.
    pub answer: Result<Option<usize>, Fault>,
    /// Who it takes us for, where one logs in.
    pub identity: Option<Identity>,
}

impl Secrets {
    /// Opens each source as a run would; commands are not run, for they want a name.
    pub async fn probe(&self) -> Vec<Probe> {
        let mut probes = Vec::with_capacity(self.sources.len());
        for opened in &self.sources {
            let count = || self.list(&opened.source).map(|names| names.len());
            let mut identity = None;
            let (place, answer) = match &opened.source {
                Source::Env { prefix } => (format!("variables `{prefix}…`"), Ok(count())),
                Source::File { path } => {
                    let answer = std::fs::read_dir(self.place.path(path)).map(|_| count());
                    (format!("folder `{}`", path.display()), answer.map_err(Fault::from))
                }
                Source::Encrypted(file) => {
                    let answer = self.unlock(file).await.map(|unlocked| Some(unlocked.names().count()));
                    (format!("encrypted file `{}`", file.path.display()), answer)
                }
                Source::AnsibleVault(file) => {
                    let read = async {
                        let password = file.password.read(&self.place).await?;
                        let text =
                            zeroize::Zeroizing::new(std::fs::read_to_string(self.place.path(&file.path))?);
                        Ok::<_, Fault>(ansible_vault::Vault::read(&text, &password)?.names().count())
                    };
                    (format!("Ansible Vault `{}`", file.path.display()), read.await.map(Some))
                }
                Source::Command { run } => (command_in_words(run), Ok(None)),
                Source::Bao(_) => match &opened.bao {
                    Some(bao) => {
                        let answer = bao.identity().await.map(|found| {
                            identity = found;
                            None
                        });
                        (bao.in_words(), answer.map_err(Fault::from))
                    }
                    None => continue,
                },
            };
            probes.push(Probe { place, answer, identity });
        }
        probes
    }

    async fn unlock(&self, file: &super::config::Encrypted) -> Result<encrypted::Unlocked, Fault> {
        let key = key::Key::parse(&file.key.read(&self.place).await?)?;
        Ok(encrypted::Locked::load(&self.place.path(&file.path))?.unlock(&key)?)
    }
}
