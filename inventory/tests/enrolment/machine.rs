//! Machines that join, and what they do with what they get.

use cupel_inventory::auth::TokenText;
use cupel_inventory::store::{Bound, NewJoin};
use cupel_model::enrolment::{Enrolment, EnrolmentRequest, HardwareIdentity, KeyProtection};
use cupel_model::wire::Report;
use cupel_model::{SCHEMA_VERSION, Verdict};
use rcgen::{CertificateParams, KeyPair};
use reqwest::Method;
use serde_json::Value;

use crate::support::{self, Inventory};

/// A machine that wants to join.
pub struct Machine {
    pub node: String,
    pub hardware: HardwareIdentity,
    pub key: KeyPair,
}

impl Machine {
    pub fn number(number: u32) -> Self {
        Self {
            node: format!("4c4c4544-0000-0000-0000-{number:012}"),
            hardware: HardwareIdentity {
                serial: Some(format!("CRU{number:04}")),
                chassis_serial: Some(format!("CHS{number:04}")),
                board_serial: Some(format!("BRD{number:04}")),
            },
            key: KeyPair::generate().expect("key"),
        }
    }

    pub fn asks(&self) -> EnrolmentRequest {
        let request = CertificateParams::default().serialize_request(&self.key);
        EnrolmentRequest {
            schema_version: SCHEMA_VERSION,
            cupel_version: "0.1.0".to_owned(),
            node: self.node.clone(),
            id_source: None,
            hostname: Some("gpu001".to_owned()),
            hardware: self.hardware.clone(),
            key_protection: KeyProtection::File,
            request: request.and_then(|request| request.pem()).expect("request"),
        }
    }
}

/// A join token that is good for an hour.
pub async fn join(inventory: &Inventory, name: &str, uses: u32, bound: Bound) -> String {
    let token = TokenText::joining().expect("random");
    let new = NewJoin {
        id: token.id().to_owned(),
        name: name.to_owned(),
        hash: token.hash(),
        uses,
        bound,
        expires_at: inventory.clock.microseconds() + 3600 * 1_000_000,
    };
    inventory.store.create_join(&new).await.expect("token");
    token.reveal()
}

pub async fn enrol(inventory: &Inventory, token: &str, asks: &EnrolmentRequest) -> (u16, Value) {
    let response = inventory
        .request(Method::POST, "/v1/enrolments")
        .bearer_auth(token)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(asks).expect("json"))
        .send()
        .await
        .expect("answer");
    let challenged = response.headers().contains_key("www-authenticate");
    let (status, value) = support::json(response).await;
    assert_eq!(challenged, status == 401, "{value}");
    (status, value)
}

pub async fn enrolled(inventory: &Inventory, token: &str, machine: &Machine) -> Enrolment {
    let (status, value) = enrol(inventory, token, &machine.asks()).await;
    assert_eq!(status, 201, "{value}");
    serde_json::from_value(value).expect("enrolment")
}

/// That it is refused with this status and type, and what the refusal says.
pub async fn refused(
    inventory: &Inventory,
    token: &str,
    machine: &Machine,
    status: u16,
    kind: &str,
) -> String {
    let (was, value) = enrol(inventory, token, &machine.asks()).await;
    assert_eq!(
        (was, value["type"].as_str()),
        (status, Some(format!("urn:cupel:{kind}").as_str())),
        "{value}"
    );
    value["detail"].as_str().expect("detail").to_owned()
}

/// A machine with its identity, which it shows on every connection.
pub struct Node {
    pub client: reqwest::Client,
    pub given: Enrolment,
}

impl Node {
    /// With what it was given.
    pub fn with(machine: &Machine, given: Enrolment) -> Self {
        let pem = format!("{}{}", given.certificate, machine.key.serialize_pem());
        let identity = reqwest::Identity::from_pem(pem.as_bytes()).expect("identity");
        let client = support::client(&given.authority)
            .identity(identity)
            .build()
            .expect("client");
        Self { client, given }
    }

    /// Enrols a machine.
    pub async fn enrol(inventory: &Inventory, machine: &Machine) -> Self {
        let name = format!(
            "token {}",
            inventory.store.joins().await.expect("tokens").len()
        );
        let token = join(inventory, &name, 1, Bound::Any).await;
        Self::with(machine, enrolled(inventory, &token, machine).await)
    }

    /// Posts something; an error where there is no connection.
    pub async fn post(
        &self,
        inventory: &Inventory,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(u16, Value), reqwest::Error> {
        let response = self
            .client
            .post(inventory.url(path))
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await?;
        Ok(support::json(response).await)
    }

    /// Reports.
    pub async fn report(
        &self,
        inventory: &Inventory,
        report: &Report,
    ) -> Result<(u16, Value), reqwest::Error> {
        let body = serde_json::to_vec(report).expect("json");
        self.post(inventory, "/v1/reports", body).await
    }

    /// Asks for the next certificate.
    pub async fn renew(&self, inventory: &Inventory, machine: &Machine) -> (u16, Value) {
        let body = serde_json::to_vec(&machine.asks()).expect("json");
        self.post(inventory, "/v1/enrolments/renewal", body)
            .await
            .expect("answer")
    }
}

/// A node's life over TLS: what it tells, and by which identity.
pub struct Life {
    pub machine: Machine,
    pub told: support::Node,
    pub node: Node,
}

impl Life {
    pub async fn begin(inventory: &Inventory, number: u32) -> Self {
        let machine = Machine::number(number);
        let mut told = support::Node::number(&inventory.clock, number);
        told.snapshot.node.board_serial = format!("BRD{number:04}").into();
        let node = Node::enrol(inventory, &machine).await;
        let mut life = Self {
            machine,
            told,
            node,
        };
        let report = life.told.full();
        assert_eq!(life.report(inventory, &report).await, 200);
        life
    }

    /// Status of the answer to a report.
    pub async fn report(&self, inventory: &Inventory, report: &Report) -> u16 {
        let answer = self.node.report(inventory, report).await;
        answer.expect("answer").0
    }

    /// Status and type of the answer to a heartbeat.
    pub async fn heartbeat(&mut self, inventory: &Inventory) -> (u16, String) {
        let report = self.told.heartbeat(Verdict::Healthy);
        let answer = self.node.report(inventory, &report).await;
        let (status, value) = answer.expect("answer");
        (
            status,
            value["type"].as_str().unwrap_or_default().to_owned(),
        )
    }
}
