//! Debian's docker-registry on loopback, with its data in a folder of its own, and what is pushed to it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use container_agent::images::ImageReference;
use reqwest::Client;
use serde_json::{Value, json};
use shared_contracts::hash::Sha256;

pub const USER: &str = "puller";
pub const PASSWORD: &str = "correct horse";
const PASSWORD_BCRYPT: &str = "$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub struct Registry {
    process: Child,
    pub host: String,
    client: Client,
    password: Option<&'static str>,
    _folder: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    pub fn open() -> Self {
        Self::start(None)
    }

    pub fn with_password() -> Self {
        Self::start(Some(PASSWORD))
    }

    fn start(password: Option<&'static str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let mut config = json!({
            "version": "0.1",
            "log": { "level": "info" },
            "storage": { "filesystem": { "rootdirectory": at("data") } },
            "http": { "addr": "127.0.0.1:0" },
        });
        if password.is_some() {
            std::fs::write(at("htpasswd"), format!("{USER}:{PASSWORD_BCRYPT}\n")).unwrap();
            config["auth"] = json!({ "htpasswd": { "realm": "test", "path": at("htpasswd") } });
        }
        // JSON is YAML.
        std::fs::write(at("config.yml"), config.to_string()).unwrap();
        let mut process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "docker-registry", "serve", &at("config.yml")])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{error}: is docker-registry installed? run `cargo xtask setup`"));
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let host = lines.find_map(|line| {
            let (_, behind) = line.split_once("listening on ")?;
            Some(behind.split(['"', ' ', ',']).next()?.to_owned())
        });
        let Some(host) = host else {
            panic!("docker-registry did not start; is it installed? run `cargo xtask setup`")
        };
        // It would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().build().unwrap();
        Self { process, host, client, password, _folder: folder }
    }

    pub async fn push_blob(&self, name: &str, bytes: &[u8]) -> Value {
        let digest = format!("sha256:{}", Sha256::of(bytes));
        let begin = self.client.post(format!("http://{}/v2/{name}/blobs/uploads/", self.host));
        let begun = self.signed(begin).send().await.unwrap().error_for_status().unwrap();
        let location = begun.headers()["location"].to_str().unwrap().to_owned();
        let end = self.client.put(location).query(&[("digest", &digest)]).body(bytes.to_vec());
        self.signed(end).send().await.unwrap().error_for_status().unwrap();
        json!({ "digest": digest, "size": bytes.len() })
    }

    pub async fn push_document(&self, name: &str, media_type: &str, document: &Value) -> Sha256 {
        let bytes = document.to_string().into_bytes();
        let digest = Sha256::of(&bytes);
        let put = self.client.put(format!("http://{}/v2/{name}/manifests/sha256:{digest}", self.host));
        let put = put.header("content-type", media_type).body(bytes);
        let answer = self.signed(put).send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap());
        digest
    }

    fn signed(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self.password {
            Some(password) => request.basic_auth(USER, Some(password)),
            None => request,
        }
    }

    /// Pushes an image of layers, each its uncompressed tar and how it is compressed; its digest.
    pub async fn push(&self, name: &str, image: &Pushed) -> Sha256 {
        let manifest = self.manifest(name, image).await;
        self.push_document(name, MANIFEST, &manifest).await
    }

    pub async fn manifest(&self, name: &str, image: &Pushed) -> Value {
        let mut layers = Vec::new();
        for (_, media_type, blob) in &image.layers {
            let mut layer = self.push_blob(name, blob).await;
            layer["mediaType"] = json!(media_type);
            layers.push(layer);
        }
        let mut config = self.push_blob(name, image.config().to_string().as_bytes()).await;
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers })
    }

    /// An index with the image for each of these platforms.
    pub async fn push_index(&self, name: &str, images: &[Pushed]) -> Sha256 {
        let mut manifests = Vec::new();
        for image in images {
            let manifest = self.manifest(name, image).await;
            let digest = self.push_document(name, MANIFEST, &manifest).await;
            let (os, architecture) = image.platform;
            manifests.push(json!({
                "mediaType": MANIFEST, "digest": format!("sha256:{digest}"), "size": manifest.to_string().len(),
                "platform": { "os": os, "architecture": architecture },
            }));
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        self.push_document(name, INDEX, &index).await
    }
}

pub fn reference(host: &str, name: &str, digest: Sha256) -> ImageReference {
    format!("{host}/{name}:1@sha256:{digest}").parse().unwrap()
}

/// This machine's, as images name it.
pub const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

pub struct Pushed {
    /// The digest of the tar, the media type, the blob.
    pub layers: Vec<(Sha256, &'static str, Vec<u8>)>,
    pub platform: (&'static str, &'static str),
    pub process: Value,
}

impl Pushed {
    pub fn new() -> Self {
        Self { layers: Vec::new(), platform: ("linux", ARCHITECTURE), process: json!({}) }
    }

    pub fn plain(self, tar: Vec<u8>) -> Self {
        self.layer(&tar.clone(), "application/vnd.oci.image.layer.v1.tar", tar)
    }

    pub fn gzip(self, tar: Vec<u8>) -> Self {
        self.layer(&tar, "application/vnd.docker.image.rootfs.diff.tar.gzip", crate::archive::gzip(&tar))
    }

    pub fn zstd(self, tar: Vec<u8>) -> Self {
        self.layer(&tar, "application/vnd.oci.image.layer.v1.tar+zstd", crate::archive::zstd(&tar))
    }

    pub fn layer(mut self, tar: &[u8], media_type: &'static str, blob: Vec<u8>) -> Self {
        self.layers.push((Sha256::of(tar), media_type, blob));
        self
    }

    fn config(&self) -> Value {
        let diff_ids: Vec<_> = self.layers.iter().map(|(tar, ..)| format!("sha256:{tar}")).collect();
        let (os, architecture) = self.platform;
        json!({
            "os": os, "architecture": architecture, "config": self.process,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        })
    }
}
