//! An image out of a registry: index → manifest → configuration and layers → one tree.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::{StreamExt, TryStreamExt, stream};
use shared_contracts::hash::Sha256;

use super::error::Fault;
use super::manifest::{Blob, Configuration, Document, Platform};
use super::reference::RegistryReference;
use super::registry::{Client, Session};
use super::unpack::{Known, UnpackLimits, Unpacker};
use super::work::Work;

/// Layers that are downloaded side by side; they are unpacked one after the other.
const DOWNLOADS_AT_ONCE: usize = 3;

/// A manifest and its configuration, which fit together and to this machine.
pub struct Plan {
    config: Configuration,
    layers: Vec<Blob>,
}

impl Plan {
    pub async fn read(session: &Session<'_>, digest: Sha256) -> Result<Self, Fault> {
        let platform = Platform::of_this_machine();
        let document = match Document::read(&session.manifest(digest).await?, &platform)? {
            Document::Index(manifest) => {
                Document::read(&session.manifest(manifest.digest).await?, &platform)?
            }
            manifest => manifest,
        };
        let Document::Manifest { config, layers } = document else {
            return Err(Fault::Malformed { what: "index", cause: "it has an index in it".to_owned() });
        };
        let config = session.small_blob(&config, "configuration").await?;
        let config = Configuration::read(&config, &platform, layers.len())?;
        Ok(Self { config, layers })
    }

    /// Of what is downloaded.
    pub fn compressed_bytes(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.size_bytes))
    }
}

/// Downloads, then unpacks.
pub async fn pull(
    client: &Client,
    reference: &RegistryReference,
    work: &Arc<Work>,
    limits: UnpackLimits,
    make_room: impl FnOnce(u64),
) -> Result<Made, Fault> {
    let pulled = async {
        let session = client.session(reference);
        let plan = Plan::read(&session, reference.digest()).await?;
        let bytes = plan.compressed_bytes();
        // Nothing unpacks to less than it is, but for a few bytes of each layer.
        if bytes > limits.unpacked_bytes_max {
            return Err(Fault::TooLarge {
                what: "the image, compressed,".to_owned(),
                bytes_max: limits.unpacked_bytes_max,
            });
        }
        make_room(bytes);
        let mut downloads = Vec::new();
        for (number, layer) in plan.layers.iter().enumerate() {
            let (session, path) = (&session, work.layer_path(number));
            let what = format!("layer {} of {}", number + 1, plan.layers.len());
            downloads.push(async move { session.download(layer, &what, &path).await });
        }
        stream::iter(downloads).buffer_unordered(DOWNLOADS_AT_ONCE).try_collect::<()>().await?;
        Ok(plan)
    };
    let timeout = client.pull_timeout();
    let plan = tokio::time::timeout(timeout, pulled)
        .await
        .map_err(|_| Fault::TooSlow { host: reference.host().to_owned(), seconds: timeout.as_secs() })??;
    let at = Arc::clone(work);
    work.blocking(move |is_cancelled| unpack(&at, plan, limits, is_cancelled)).await
}

/// A tree that is finished, and what its image says about it.
pub struct Made {
    pub environment: Vec<(String, String)>,
    pub working_directory: Option<PathBuf>,
    pub skipped: u64,
}

fn unpack(
    work: &Work,
    plan: Plan,
    limits: UnpackLimits,
    is_cancelled: Arc<AtomicBool>,
) -> Result<Made, Fault> {
    let root = work.root();
    let mut unpacker = Unpacker::new(&root, limits, is_cancelled).map_err(Fault::io("open", &root))?;
    let count = plan.layers.len();
    for (number, diff_id) in plan.config.diff_ids.iter().enumerate() {
        let path = work.layer_path(number);
        let failed = |fault| {
            Fault::of_unpacking(fault, &root, |fault| Fault::Layer { number: number + 1, count, fault })
        };
        let layer = File::open(&path).map_err(Fault::io("open", &path))?;
        unpacker.layer(layer, Known::DiffId(*diff_id)).map_err(failed)?;
        std::fs::remove_file(&path).map_err(Fault::io("remove", &path))?;
    }
    Ok(Made {
        environment: plan.config.environment,
        working_directory: plan.config.working_directory,
        skipped: unpacker.skipped(),
    })
}
