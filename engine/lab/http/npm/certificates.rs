//! Certificates: rows of the database, and the files that nginx reads.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::face::{error, unknown_key};
use super::hosts::Section;
use super::{Dates, State};
use crate::lab::http::multipart::{self, Part};
use crate::lab::http::server::{Answer, Asked};
use crate::lab::http::shown::first;
use crate::x509::Bundle;

/// A certificate that was uploaded, or is to be.
#[derive(Clone)]
pub struct Row {
    /// Its number.
    pub id: u64,
    /// What people call it; several may have one name.
    pub name: String,
    /// What was uploaded: `certificate`, `certificate_key`, `intermediate_certificate`, in PEM.
    pub meta: BTreeMap<String, String>,
    /// `fullchain.pem` on the disk.
    pub chain: Option<String>,
    /// `privkey.pem` on the disk.
    pub key: Option<String>,
    /// Whether it was deleted; the row and the files stay.
    pub deleted: bool,
}

/// What can be uploaded.
const FIELDS: [&str; 3] = ["certificate", "certificate_key", "intermediate_certificate"];

impl State {
    pub(super) fn create(&mut self, name: &str) -> u64 {
        let id = self.certificates.len() as u64 + 1;
        let (name, meta) = (name.to_owned(), BTreeMap::new());
        self.certificates.push(Row { id, name, meta, chain: None, key: None, deleted: false });
        id
    }

    fn row(&self, id: &str) -> Result<usize, Answer> {
        let number = id.parse::<u64>().ok();
        let found = self.certificates.iter().position(|row| Some(row.id) == number && !row.deleted);
        found.ok_or_else(|| {
            let stack = ["ItemNotFoundError: Not Found", "    at internalCertificate.get (certificate.js)"];
            let body =
                json!({ "error": { "code": 404, "message": "Not Found" }, "debug": { "stack": stack } });
            Answer::json(404, &body)
        })
    }

    /// Keeps what was uploaded; a part that was not stays as it was, the key included.
    pub(super) fn store(&mut self, id: u64, files: BTreeMap<String, String>) -> Result<(), ()> {
        let row = self.certificates.iter_mut().find(|row| row.id == id).ok_or(())?;
        row.meta.extend(files);
        let between = row.meta.get("intermediate_certificate").map(|pem| format!("\n{pem}"));
        let chain = row.meta.get("certificate").ok_or(())?;
        row.chain = Some(format!("{chain}{}", between.unwrap_or_default()));
        row.key = Some(row.meta.get("certificate_key").ok_or(())?.clone());
        Ok(())
    }

    pub(super) fn list_certificates(&self, asked: &Asked) -> Result<Answer, Answer> {
        let expand = expansions(asked)?;
        let rows: Vec<Value> =
            self.certificates.iter().filter(|row| !row.deleted).map(|row| self.json(row, &expand)).collect();
        Ok(Answer::json(200, &rows.into()))
    }

    pub(super) fn show_certificate(&self, asked: &Asked, id: &str) -> Result<Answer, Answer> {
        let expand = expansions(asked)?;
        Ok(Answer::json(200, &self.json(&self.certificates[self.row(id)?], &expand)))
    }

    pub(super) fn create_certificate(&mut self, asked: &Asked) -> Result<Answer, Answer> {
        let body = asked.json().ok_or_else(|| error(400, "data must be object"))?;
        if let Some(refusal) = unknown_key(&body, &["nice_name", "provider", "domain_names", "meta"]) {
            return Err(refusal);
        }
        match (body["provider"].as_str(), body["nice_name"].as_str()) {
            (Some("other"), Some(name)) => {
                let id = self.create(name);
                let row = &self.certificates[id as usize - 1];
                Ok(Answer::json(201, &self.json(row, &[])))
            }
            // Nobody out there would answer certbot.
            (Some("letsencrypt"), _) => Err(error(500, "Internal Error")),
            (Some(_), Some(_)) => {
                Err(error(400, "data/provider must match pattern \"^(letsencrypt|other)$\""))
            }
            _ => Err(error(400, "data must have required property 'provider'")),
        }
    }

    /// Says whether parts can be read, one by one: not whether they belong together.
    pub(super) fn validate(asked: &Asked) -> Result<Answer, Answer> {
        let files = uploaded(asked)?;
        let about = |key: &str| match files.get(key).and_then(|pem| first(pem)) {
            Some(certificate) => json!({ "cn": certificate.subject, "issuer": certificate.issuer }),
            None => Value::Null,
        };
        let (certificate, key) = (about("certificate"), files.contains_key("certificate_key"));
        Ok(Answer::json(200, &json!({ "certificate": certificate, "certificate_key": key })))
    }

    /// Takes files; nginx goes on with what it has.
    pub(super) fn upload(&mut self, asked: &Asked, id: &str) -> Result<Answer, Answer> {
        let place = self.row(id)?;
        let files = uploaded(asked)?;
        if !files.contains_key("certificate") {
            return Err(error(400, "Certificate file was not provided"));
        }
        let id = self.certificates[place].id;
        self.store(id, files).map_err(|()| {
            // The chain is on the disk by now.
            error(500, "Internal Error")
        })?;
        // The key comes back in clear.
        Ok(Answer::json(200, &json!(self.certificates[place].meta)))
    }

    /// Deletes, whatever still uses it.
    pub(super) fn delete_certificate(&mut self, id: &str) -> Result<Answer, Answer> {
        let place = self.row(id)?;
        self.certificates[place].deleted = true;
        Ok(Answer::json(200, &Value::Bool(true)))
    }

    fn json(&self, row: &Row, expand: &[&str]) -> Value {
        let leaf = row.meta.get("certificate").and_then(|pem| first(pem));
        let format = match self.dates {
            Dates::Sqlite => "%Y-%m-%d %H:%M:%S",
            Dates::Mysql => "%Y-%m-%dT%H:%M:%S.000Z",
        };
        let expires = leaf.as_ref().map_or_else(
            || "1970-01-01 00:00:00".to_owned(),
            |leaf| leaf.not_after.strftime(format).to_string(),
        );
        // As the real one: whatever stands behind the first `=` of the subject, to the next blank.
        let subject = leaf.map(|leaf| leaf.subject.replace('=', " = ")).unwrap_or_default();
        let name = subject.split(" = ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        let mut value = json!({
            "id": row.id, "created_on": "2026-01-01 00:00:00", "modified_on": "2026-01-01 00:00:00", "owner_user_id": 1,
            "provider": "other", "nice_name": row.name, "domain_names": [name], "expires_on": expires, "meta": row.meta,
        });
        for section in Section::ALL.iter().filter(|section| expand.contains(&section.expansion())) {
            let users =
                self.hosts.iter().filter(|host| host.section == *section && host.certificate == row.id);
            value[section.expansion()] = users.map(|host| host.json(self.dates)).collect();
        }
        value
    }
}

fn expansions(asked: &Asked) -> Result<Vec<&str>, Answer> {
    let wanted: Vec<&str> = asked.query("expand").map(|list| list.split(',').collect()).unwrap_or_default();
    let known =
        |name: &&&str| **name == "owner" || Section::ALL.iter().any(|section| section.expansion() == **name);
    match wanted.iter().find(|name| !known(name)) {
        Some(_) => Err(error(400, "data/expand must match pattern")),
        None => Ok(wanted),
    }
}

fn uploaded(asked: &Asked) -> Result<BTreeMap<String, String>, Answer> {
    let parts = multipart::read(asked.header("content-type").unwrap_or_default(), &asked.body);
    let parts = parts.ok_or_else(|| error(400, "Only multipart/form-data is accepted"))?;
    let mut files = BTreeMap::new();
    for Part { name, is_file, content } in parts {
        if !is_file || !FIELDS.contains(&name.as_str()) {
            return Err(error(400, &format!("Unexpected field {name}")));
        }
        let bundle = Bundle::read(content);
        let is_readable = match &bundle {
            Ok(bundle) if name == "certificate_key" => !bundle.keys.is_empty(),
            Ok(bundle) => !bundle.certificates.is_empty(),
            Err(_) => false,
        };
        if !is_readable {
            return Err(error(400, &format!("Result Validation Error: {name} is not valid")));
        }
        files.insert(name, String::from_utf8_lossy(content).into_owned());
    }
    Ok(files)
}
