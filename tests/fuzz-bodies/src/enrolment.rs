//! What a node reads of its identity: whatever the bytes, a join file that leads to a server with
//! TLS, an identity whose key is in its own directory, or a reason that says where.

use cupel_reporting::{IdentityDocument, check_url, parse_join};

/// The same bytes as a join file and as `identity.json`.
pub fn enrolment(data: &[u8]) {
    let lines = data.iter().filter(|byte| **byte == b'\n').count() + 1;
    match parse_join(data, "x") {
        Ok(file) => {
            assert!(file.inventory.starts_with("https:") && check_url(&file.inventory).is_ok());
            assert!(file.token.bytes().all(|byte| byte.is_ascii_graphic()));
            let shown = format!("{file:?}");
            assert!(!shown.contains(&file.token), "{shown}");
        }
        Err(error) => assert!((1..=lines).contains(&error.line), "{error}"),
    }
    match IdentityDocument::parse(data, "x") {
        Ok(document) => {
            assert!(!document.key.contains('/'), "{}", document.key);
            assert!(document.renewal_due() >= document.renew_after);
            assert!(document.renewal_due() <= document.not_after);
            let json = serde_json::to_vec(&document).expect("JSON");
            assert_eq!(IdentityDocument::parse(&json, "x").as_ref(), Ok(&document));
        }
        Err(error) => assert!((1..=lines).contains(&error.line), "{error}"),
    }
}
