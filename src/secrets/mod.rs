//! Secrets of a project: written, never read back; opened only when a lease is granted, for that lease.
//!
//! Operations: `list_secrets`, `set_secret`, `delete_secret`. [`seal`] says how a value is stored.
//!
//! A value is in no log, no error, no record of a request: `set_secret` carries no idempotency key, because setting the
//! same secret twice is setting it once.

pub mod seal;
pub mod store;

use std::collections::{BTreeMap, HashSet};

use shared_contracts::ids::{OwnerId, ProjectId};
use shared_contracts::limits::{SECRETS_BYTES_PER_EXECUTION_MAX, SECRETS_PER_PROJECT_MAX};
use shared_contracts::page::PageQuery;
use shared_contracts::problem::Fault;
use shared_contracts::secrets::{LeasedSecret, Secret, SecretForm, SecretUse, SetSecret, secret_name};

use crate::bindings::Bindings;
use crate::platform::clock::now_ms;
use crate::platform::d1::Db;
use crate::platform::failure::{Failure, Outcome};
use crate::projects;
use store::NewSecret;

/// Each is a write to D1; what is left comes with the next pass.
const RESEALED_PER_PASS: u32 = 200;

pub async fn list_secrets(
    db: &Db,
    owner_id: OwnerId,
    project_id: ProjectId,
    page: &PageQuery,
) -> Outcome<String> {
    projects::require(db, owner_id, project_id).await?;
    store::list(db, project_id, page).await
}

pub async fn set_secret(
    bindings: &Bindings,
    owner_id: OwnerId,
    project_id: ProjectId,
    name: &str,
    input: SetSecret,
) -> Outcome<Secret> {
    projects::require(&bindings.db, owner_id, project_id).await?;
    secret_name(name, &()).map_err(|error| Failure::invalid("name", error.to_string()))?;
    let sealed = bindings.secrets_keys()?.seal(project_id, name, &input.value)?;
    let (size_bytes, now_ms) = (input.value.len(), now_ms());
    let secret = NewSecret { project_id, name, sealed: &sealed, size_bytes, now_ms };
    store::set(&bindings.db, owner_id, &secret).await?.ok_or_else(|| {
        let detail = format!(
            "Project {project_id} has {SECRETS_PER_PROJECT_MAX} secrets, which is the most; delete one first"
        );
        Failure::wrong_state(detail)
    })
}

pub async fn delete_secret(db: &Db, owner_id: OwnerId, project_id: ProjectId, name: &str) -> Outcome<()> {
    if store::delete(db, owner_id, project_id, name).await? {
        return Ok(());
    }
    projects::require(db, owner_id, project_id).await?;
    Err(Failure::not_found("secret", name.escape_debug()))
}

/// What an execution asks for: each named once, there, in nobody else's place, and not too much together.
pub async fn admit(
    db: &Db,
    project_id: ProjectId,
    wanted: &[SecretUse],
    environment: &BTreeMap<String, String>,
) -> Outcome<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let sizes = store::sizes(db, project_id, &names(wanted)).await?;
    let faults = faults(project_id, wanted, environment, &sizes);
    if faults.is_empty() {
        return Ok(());
    }
    Err(Failure::faults("The execution cannot have these secrets; mend it and send again", faults))
}

fn faults(
    project_id: ProjectId,
    wanted: &[SecretUse],
    environment: &BTreeMap<String, String>,
    sizes: &BTreeMap<String, usize>,
) -> Vec<Fault> {
    let (mut faults, mut seen, mut variables, mut bytes) = (Vec::new(), HashSet::new(), HashSet::new(), 0);
    for (index, secret) in wanted.iter().enumerate() {
        let SecretUse { name, form } = secret;
        let variable = match form {
            SecretForm::Environment => name.clone(),
            SecretForm::File => format!("{name}_FILE"),
        };
        let message = if !seen.insert(name.as_str()) {
            format!("`{name}` is asked for twice; leave one out")
        } else if environment.contains_key(&variable) {
            format!("would set the variable `{variable}`, which `environment` sets too; leave one out")
        } else if !variables.insert(variable.clone()) {
            format!("would set the variable `{variable}`, which another secret sets too; leave one out")
        } else if let Some(size) = sizes.get(name) {
            bytes += size;
            continue;
        } else {
            format!(
                "the project has no secret `{name}`; set it: PUT /api/projects/{project_id}/secrets/{name}"
            )
        };
        faults.push(Fault { field: format!("secrets[{index}].name"), message });
    }
    if bytes > SECRETS_BYTES_PER_EXECUTION_MAX {
        let message = format!(
            "has {bytes} bytes of values; one execution gets at most {SECRETS_BYTES_PER_EXECUTION_MAX}"
        );
        faults.push(Fault { field: "secrets".into(), message });
    }
    faults
}

fn names(wanted: &[SecretUse]) -> Vec<&str> {
    wanted.iter().map(|secret| secret.name.as_str()).collect()
}

/// The values, for a lease; or why the execution cannot have them, in words for its owner.
pub async fn open(
    bindings: &Bindings,
    project_id: ProjectId,
    wanted: &[SecretUse],
) -> Outcome<Result<Vec<LeasedSecret>, String>> {
    if wanted.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    let keys = match bindings.secrets_keys() {
        Ok(keys) => keys,
        Err(failure) => return Ok(Err(failure.into_problem().detail)),
    };
    let stored = store::sealed(&bindings.db, project_id, &names(wanted)).await?;
    Ok(wanted
        .iter()
        .map(|SecretUse { name, form }| {
            let sealed = stored
                .get(name)
                .ok_or_else(|| format!("The secret `{name}` was deleted before the execution could start"))?;
            let value = keys
                .open(project_id, name, sealed)
                .map_err(|unreadable| format!("The secret `{name}` cannot be opened: {unreadable}"))?;
            Ok(LeasedSecret { name: name.clone(), form: *form, value })
        })
        .collect())
}

/// For the cron: a bounded number of values that the old key sealed are sealed by the present one, so that the old one
/// can go. How many there were.
pub async fn reseal(bindings: &Bindings) -> Outcome<usize> {
    let Ok(keys) = bindings.secrets_keys() else { return Ok(0) };
    let Some(old_id) = keys.old_id() else { return Ok(0) };
    let mut resealed = 0;
    for stored in store::sealed_by(&bindings.db, old_id, RESEALED_PER_PASS).await? {
        // One that does not open holds up no other; its executions say why.
        if let Ok(value) = keys.open(stored.project_id, &stored.name, &stored.sealed) {
            let sealed = keys.seal(stored.project_id, &stored.name, &value)?;
            store::reseal(&bindings.db, &stored, &sealed).await?;
            resealed += 1;
        }
    }
    Ok(resealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanting(secrets: &[(&str, SecretForm)]) -> Vec<SecretUse> {
        secrets.iter().map(|(name, form)| SecretUse { name: (*name).into(), form: *form }).collect()
    }

    fn fields(wanted: &[(&str, SecretForm)], variable: &str, sizes: &[(&str, usize)]) -> Vec<String> {
        let environment = BTreeMap::from([(variable.to_owned(), String::new())]);
        let sizes = sizes.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
        let faults = faults(ProjectId::new(1, 1), &wanting(wanted), &environment, &sizes);
        faults.into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn each_is_there_once_and_in_nobodys_place() {
        use SecretForm::{Environment, File};
        let sizes = [("A", 10), ("B", 10), ("B_FILE", 10)];
        assert_eq!(fields(&[("A", Environment), ("B", File)], "C", &sizes), [""; 0]);
        assert_eq!(fields(&[("A", Environment), ("C", Environment)], "X", &sizes), ["secrets[1].name"]);
        assert_eq!(fields(&[("A", Environment), ("A", File)], "X", &sizes), ["secrets[1].name"]);
        assert_eq!(fields(&[("A", Environment)], "A", &sizes), ["secrets[0].name"]);
        assert_eq!(fields(&[("A", File)], "A", &sizes), [""; 0], "its variable is A_FILE");
        assert_eq!(fields(&[("A", File)], "A_FILE", &sizes), ["secrets[0].name"]);
        assert_eq!(fields(&[("B", File), ("B_FILE", Environment)], "X", &sizes), ["secrets[1].name"]);
    }

    #[test]
    fn together_they_have_a_limit() {
        let uses = [("A", SecretForm::Environment), ("B", SecretForm::File)];
        let half = SECRETS_BYTES_PER_EXECUTION_MAX / 2;
        assert_eq!(fields(&uses, "X", &[("A", half), ("B", half)]), [""; 0]);
        assert_eq!(fields(&uses, "X", &[("A", half), ("B", half + 1)]), ["secrets"]);
    }
}
