//! Every attack on tokens that RFC 8725 names, and those that its readers added, is refused by name.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ihelper_runtime::tokens::{Bearer, Error, LONGEST_TOKEN, Refusal, Tokens};
use ihelper_testkit::memory::{MemoryIssuer, SigningKey, VirtualClock};
use ihelper_workflow::{
    domain::{Failure, Kind},
    ports::Clock as _,
};
use serde_json::{Value, json};

struct Gate {
    issuer: MemoryIssuer,
    clock: VirtualClock,
    tokens: Arc<Tokens>,
}

impl Gate {
    fn new() -> Self {
        let (issuer, clock) = (MemoryIssuer::new(), VirtualClock::default());
        Self { tokens: super::tokens(&issuer, &clock), issuer, clock }
    }

    async fn refusal(&self, token: &str) -> Refusal {
        match self.tokens.verify(token).await {
            Err(Error::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    async fn admits(&self, token: &str) -> bool {
        match self.tokens.verify(token).await {
            Ok(bearer) => bearer.subject == "alice",
            Err(Error::Refused(_)) => false,
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Good claims, but for these.
    fn claims(&self, changes: &Value) -> Value {
        let now = self.clock.now().as_second();
        let mut claims = json!({
            "iss": MemoryIssuer::NAME, "aud": MemoryIssuer::AUDIENCE, "sub": "alice", "iat": now, "exp": now + 300,
        });
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    fn with_claims(&self, changes: &Value) -> String {
        SigningKey::first().token(&self.claims(changes))
    }

    /// A token with good claims under this header, signed all the same.
    fn under(&self, header: &str) -> String {
        SigningKey::first().sign(header, &self.claims(&json!({})).to_string())
    }
}

/// The keys and tokens of `sign.py`.
fn signed() -> Value {
    serde_json::from_str(include_str!("signed.json")).unwrap()
}

#[tokio::test]
async fn a_good_token_tells_its_subject_and_its_groups() {
    let gate = Gate::new();
    let bearer = |token: String| {
        let tokens = Arc::clone(&gate.tokens);
        async move { tokens.verify(&token).await.unwrap() }
    };
    let of = |groups: &[&str]| Bearer {
        subject: "alice".to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    };
    assert_eq!(bearer(gate.with_claims(&json!({}))).await, of(&[]));
    assert_eq!(bearer(gate.with_claims(&json!({"groups": ["ex operators"]}))).await, of(&["ex operators"]));
    let both = json!({"groups": ["operators"], "cognito:groups": ["staff", "legal"]});
    assert_eq!(
        bearer(gate.with_claims(&both)).await,
        of(&["staff", "legal"]),
        "Cognito's own count where there are some"
    );
    for odd in [json!({"groups": "operators"}), json!({"groups": ["operators", 1]}), json!({"cognito:groups": {}})] {
        assert_eq!(bearer(gate.with_claims(&odd)).await, of(&[]), "what is no list of names gives none: {odd}");
    }
    for audience in [json!({"aud": ["other", "ihelper"]}), json!({"aud": null, "client_id": "ihelper"})] {
        assert_eq!(bearer(gate.with_claims(&audience)).await, of(&[]));
    }
    for kind in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        let header = json!({"alg": "EdDSA", "typ": kind, "kid": "key-1"}).to_string();
        assert_eq!(bearer(gate.under(&header)).await, of(&[]), "{kind}");
    }
}

#[tokio::test]
async fn every_accepted_algorithm_is_checked_by_the_key_of_its_type() {
    let (gate, signed) = (Gate::new(), signed());
    gate.issuer.publish(signed["keys"].as_array().unwrap());
    let good = signed["good"].as_object().unwrap();
    assert_eq!(good.len(), 9);
    for (algorithm, token) in good {
        let token = token.as_str().unwrap();
        assert!(gate.admits(token).await, "{algorithm}");
        // One bit of each part.
        for part in 0..3 {
            let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
            let mut bytes = URL_SAFE_NO_PAD.decode(&parts[part]).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            parts[part] = URL_SAFE_NO_PAD.encode(bytes);
            assert!(!gate.admits(&parts.join(".")).await, "{algorithm}, part {part}");
        }
    }
}

#[tokio::test]
async fn no_confusion_of_keys_and_algorithms_makes_a_token_good() {
    let (gate, signed) = (Gate::new(), signed());
    gate.issuer.publish(signed["keys"].as_array().unwrap());
    for (attack, token) in signed["bad"].as_object().unwrap() {
        let refusal = gate.refusal(token.as_str().unwrap()).await;
        let expected = match attack.as_str() {
            attack if attack.starts_with("HS256") => Refusal::Algorithm,
            attack if attack.contains("with the id of") => Refusal::AlgorithmOfOtherKey,
            _ => Refusal::Signature,
        };
        assert_eq!(refusal, expected, "{attack}");
    }
}

#[tokio::test]
async fn a_key_takes_the_algorithm_that_it_is_published_for_and_no_other() {
    let (gate, signed) = (Gate::new(), signed());
    let mut key = signed["keys"][0].clone();
    key["alg"] = json!("RS256");
    gate.issuer.publish(&[key]);
    assert!(gate.admits(signed["good"]["RS256"].as_str().unwrap()).await);
    for algorithm in ["RS384", "RS512", "PS256"] {
        let token = signed["good"][algorithm].as_str().unwrap();
        assert_eq!(gate.refusal(token).await, Refusal::AlgorithmOfOtherKey, "{algorithm}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_for_signatures_verifies_none() {
    let (signed, first) = (signed(), SigningKey::first());
    let token = |gate: &Gate| first.token(&gate.claims(&json!({})));
    for (name, value) in
        [("use", json!("enc")), ("key_ops", json!(["sign"])), ("alg", json!("RSA-OAEP")), ("kid", Value::Null)]
    {
        let gate = Gate::new();
        let mut key = first.jwk();
        key[name] = value;
        gate.issuer.publish(&[key, signed["keys"][0].clone()]);
        assert_eq!(gate.refusal(&token(&gate)).await, Refusal::UnknownKey, "{name}");
    }
    // A published secret would let everybody sign.
    let gate = Gate::new();
    gate.issuer.publish(&[json!({"kty": "oct", "kid": "key-1", "k": "c2VjcmV0"})]);
    assert_eq!(gate.refusal(&token(&gate)).await, Refusal::UnknownKey);
}

#[tokio::test]
async fn no_header_talks_its_way_in() {
    let gate = Gate::new();
    let forger = SigningKey::new("forger", 66);
    let forged = |header: Value| forger.sign(&header.to_string(), &gate.claims(&json!({})).to_string());
    for (attack, token, expected) in [
        ("none", gate.under(r#"{"alg":"none","kid":"key-1"}"#), Refusal::Algorithm),
        ("None", gate.under(r#"{"alg":"None","kid":"key-1"}"#), Refusal::Algorithm),
        ("nOnE", gate.under(r#"{"alg":"nOnE","kid":"key-1"}"#), Refusal::Algorithm),
        ("no algorithm", gate.under(r#"{"kid":"key-1"}"#), Refusal::Algorithm),
        ("an empty algorithm", gate.under(r#"{"alg":"","kid":"key-1"}"#), Refusal::Algorithm),
        ("a list of algorithms", gate.under(r#"{"alg":["EdDSA"],"kid":"key-1"}"#), Refusal::Algorithm),
        ("an algorithm in other letters", gate.under(r#"{"alg":"eddsa","kid":"key-1"}"#), Refusal::Algorithm),
        ("HS256", gate.under(r#"{"alg":"HS256","kid":"key-1"}"#), Refusal::Algorithm),
        ("no key", gate.under(r#"{"alg":"EdDSA"}"#), Refusal::UnknownKey),
        ("an unknown key", gate.under(r#"{"alg":"EdDSA","kid":"key-2"}"#), Refusal::UnknownKey),
        ("a key that is a path", gate.under(r#"{"alg":"EdDSA","kid":"../../dev/null"}"#), Refusal::UnknownKey),
        ("a key that is a query", gate.under(r#"{"alg":"EdDSA","kid":"' OR 1=1 --"}"#), Refusal::UnknownKey),
        ("a key that is a number", gate.under(r#"{"alg":"EdDSA","kid":1}"#), Refusal::UnknownKey),
        (
            "a key of its own",
            forged(json!({"alg": "EdDSA", "kid": "forger", "jwk": forger.jwk()})),
            Refusal::UnknownKey,
        ),
        (
            "a key of its own under a known id",
            forged(json!({"alg": "EdDSA", "kid": "key-1", "jwk": forger.jwk()})),
            Refusal::Signature,
        ),
        (
            "keys that lie elsewhere",
            forged(json!({"alg": "EdDSA", "kid": "key-1", "jku": "https://evil.example/jwks.json"})),
            Refusal::Signature,
        ),
        (
            "a certificate that lies elsewhere",
            forged(json!({"alg": "EdDSA", "kid": "key-1", "x5u": "https://evil.example/x.pem", "x5c": ["AA=="]})),
            Refusal::Signature,
        ),
        (
            "an extension",
            gate.under(r#"{"alg":"EdDSA","kid":"key-1","crit":["exp"],"exp":1}"#),
            Refusal::UnknownExtension,
        ),
        (
            "a payload that is not encoded",
            gate.under(r#"{"alg":"EdDSA","kid":"key-1","crit":["b64"],"b64":false}"#),
            Refusal::UnknownExtension,
        ),
        (
            "an empty list of extensions",
            gate.under(r#"{"alg":"EdDSA","kid":"key-1","crit":[]}"#),
            Refusal::UnknownExtension,
        ),
        ("compression", gate.under(r#"{"alg":"EdDSA","kid":"key-1","zip":"DEF"}"#), Refusal::OtherKind),
        ("encryption", gate.under(r#"{"alg":"EdDSA","kid":"key-1","enc":"A128GCM"}"#), Refusal::OtherKind),
        ("a logout token", gate.under(r#"{"alg":"EdDSA","kid":"key-1","typ":"logout+jwt"}"#), Refusal::OtherKind),
        ("a proof of possession", gate.under(r#"{"alg":"EdDSA","kid":"key-1","typ":"dpop+jwt"}"#), Refusal::OtherKind),
        ("a security event", gate.under(r#"{"alg":"EdDSA","kid":"key-1","typ":"secevent+jwt"}"#), Refusal::OtherKind),
        ("a type that is a list", gate.under(r#"{"alg":"EdDSA","kid":"key-1","typ":["JWT"]}"#), Refusal::OtherKind),
        ("two algorithms", gate.under(r#"{"alg":"none","alg":"EdDSA","kid":"key-1"}"#), Refusal::MemberTwice),
        ("two keys", gate.under(r#"{"alg":"EdDSA","kid":"key-1","\u006bid":"key-2"}"#), Refusal::MemberTwice),
        ("a header that is a list", gate.under(r#"["EdDSA"]"#), Refusal::Malformed),
        ("a header with something behind it", gate.under(r#"{"alg":"EdDSA","kid":"key-1"} x"#), Refusal::Malformed),
        ("an empty header", gate.under(""), Refusal::Malformed),
    ] {
        assert_eq!(gate.refusal(&token).await, expected, "{attack}");
    }
}

#[tokio::test]
async fn no_shape_but_three_strict_parts_is_a_token() {
    let gate = Gate::new();
    let good = gate.with_claims(&json!({}));
    assert!(gate.admits(&good).await);
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{good}") };
    let padded = format!("{header}.{claims}.{signature}==");
    let deep = "[".repeat(4000);
    for (attack, token, expected) in [
        ("nothing", String::new(), Refusal::Malformed),
        ("dots", "..".to_owned(), Refusal::Malformed),
        ("no signature", format!("{header}.{claims}"), Refusal::Malformed),
        ("an empty signature", format!("{header}.{claims}."), Refusal::Signature),
        ("four parts", format!("{good}.{signature}"), Refusal::Malformed),
        (
            "five parts, as of an encrypted one",
            format!("{header}..{claims}.{signature}.{signature}"),
            Refusal::OtherKind,
        ),
        ("padding", padded, Refusal::Malformed),
        ("a space", format!("{header}.{claims} .{signature}"), Refusal::Malformed),
        ("a line end", format!("{good}\n"), Refusal::Malformed),
        ("the other alphabet", good.replacen(header, &format!("{header}+/"), 1), Refusal::Malformed),
        ("a part in JSON", json!({"payload": claims, "signature": signature}).to_string(), Refusal::Malformed),
        (
            "the claims of another token",
            {
                let other = gate.with_claims(&json!({"sub": "olga"}));
                format!("{header}.{}.{signature}", other.split('.').nth(1).unwrap())
            },
            Refusal::Signature,
        ),
        (
            "claims that nest deep",
            SigningKey::first().sign(r#"{"alg":"EdDSA","kid":"key-1"}"#, &deep),
            Refusal::Malformed,
        ),
        ("too long", format!("{good}{}", "A".repeat(LONGEST_TOKEN)), Refusal::TooLong),
    ] {
        assert_eq!(gate.refusal(&token).await, expected, "{attack}");
    }
    // Strict also in the last bits, which most readers drop: one token is one text.
    let last = signature.chars().last().unwrap();
    for other in ('A'..='Z').chain('a'..='z').chain('0'..='9').filter(|other| *other != last) {
        let token = format!("{}{other}", &good[..good.len() - 1]);
        assert!(!gate.admits(&token).await, "{other} in the place of {last}");
    }
}

#[tokio::test]
async fn no_claim_but_the_expected_ones_gets_in() {
    let gate = Gate::new();
    let now = gate.clock.now().as_second();
    for (attack, changes, expected) in [
        ("no issuer", json!({"iss": null}), Refusal::Issuer),
        ("another issuer", json!({"iss": "https://evil.example"}), Refusal::Issuer),
        ("the issuer with a slash", json!({"iss": "https://issuer.example/"}), Refusal::Issuer),
        ("the issuer in capitals", json!({"iss": "https://ISSUER.example"}), Refusal::Issuer),
        ("the issuer among others", json!({"iss": ["https://issuer.example"]}), Refusal::Issuer),
        ("no audience", json!({"aud": null}), Refusal::Audience),
        ("another audience", json!({"aud": "payroll"}), Refusal::Audience),
        ("other audiences", json!({"aud": ["payroll", "ihelper "]}), Refusal::Audience),
        ("an empty list of audiences", json!({"aud": []}), Refusal::Audience),
        ("an audience that is no text", json!({"aud": ["ihelper", 7]}), Refusal::Audience),
        ("an audience that is an object", json!({"aud": {"ihelper": true}}), Refusal::Audience),
        ("another client", json!({"aud": null, "client_id": "payroll"}), Refusal::Audience),
        ("the client behind another audience", json!({"aud": "payroll", "client_id": "ihelper"}), Refusal::Audience),
        ("no end", json!({"exp": null}), Refusal::Expired),
        ("an end that is a text", json!({"exp": "4102444800"}), Refusal::Expired),
        ("an end that is over", json!({"exp": now - 60}), Refusal::Expired),
        ("an end before all time", json!({"exp": -1e300}), Refusal::Expired),
        ("a begin to come", json!({"nbf": now + 61}), Refusal::NotYet),
        ("a begin that is a text", json!({"nbf": "soon"}), Refusal::NotYet),
        ("made in the future", json!({"iat": now + 61}), Refusal::NotYet),
        ("no subject", json!({"sub": null}), Refusal::Subject),
        ("an empty subject", json!({"sub": ""}), Refusal::Subject),
        ("a subject that is a number", json!({"sub": 7}), Refusal::Subject),
        ("a subject of lines", json!({"sub": "alice\nolga"}), Refusal::Subject),
        ("an endless subject", json!({"sub": "a".repeat(256)}), Refusal::Subject),
    ] {
        assert_eq!(gate.refusal(&gate.with_claims(&changes)).await, expected, "{attack}");
    }
    let twice = gate.claims(&json!({})).to_string().replacen('{', r#"{"sub":"olga","#, 1);
    let token = SigningKey::first().sign(r#"{"alg":"EdDSA","kid":"key-1"}"#, &twice);
    assert_eq!(gate.refusal(&token).await, Refusal::MemberTwice);
}

#[tokio::test]
async fn clocks_may_be_a_minute_apart_and_no_more() {
    let gate = Gate::new();
    let now = gate.clock.now().as_second();
    for changes in
        [json!({"exp": now - 59}), json!({"nbf": now + 60}), json!({"iat": now + 60}), json!({"exp": now as f64 + 0.5})]
    {
        assert!(gate.admits(&gate.with_claims(&changes)).await, "{changes}");
    }
    let token = gate.with_claims(&json!({"exp": now + 300}));
    gate.clock.advance(Duration::from_secs(359));
    assert!(gate.admits(&token).await);
    gate.clock.advance(Duration::from_secs(1));
    assert_eq!(gate.refusal(&token).await, Refusal::Expired);
}

#[tokio::test]
async fn keys_are_fetched_with_the_first_token_and_then_kept() {
    let gate = Gate::new();
    let long = |gate: &Gate| gate.with_claims(&json!({"exp": gate.clock.now().as_second() + 90_000}));
    let token = long(&gate);
    assert_eq!(gate.issuer.asked(), 0);
    for _ in 0..20 {
        assert!(gate.admits(&token).await);
    }
    assert_eq!(gate.issuer.asked(), 1);
    gate.clock.advance(Duration::from_secs(601));
    assert!(gate.admits(&token).await);
    assert_eq!(gate.issuer.asked(), 2, "after ten minutes they are looked at anew");
}

#[tokio::test]
async fn a_token_that_was_good_lends_its_signature_to_no_other_and_expires_all_the_same() {
    let gate = Gate::new();
    let token = gate.with_claims(&json!({}));
    assert!(gate.admits(&token).await && gate.admits(&token).await);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let claims = URL_SAFE_NO_PAD.encode(gate.claims(&json!({"sub": "alice", "groups": ["operators"]})).to_string());
    assert_eq!(gate.refusal(&format!("{header}.{claims}.{signature}")).await, Refusal::Signature);
    gate.clock.advance(Duration::from_secs(361));
    assert_eq!(gate.refusal(&token).await, Refusal::Expired);
}

#[tokio::test]
async fn a_rotated_key_counts_at_once_and_the_old_one_no_longer_than_an_hour() {
    let gate = Gate::new();
    let (first, second) = (SigningKey::first(), SigningKey::new("key-2", 2));
    let claims = gate.claims(&json!({"exp": gate.clock.now().as_second() + 90_000}));
    assert!(gate.admits(&first.token(&claims)).await);
    gate.issuer.publish(&[second.jwk()]);
    gate.clock.advance(Duration::from_secs(31));
    assert!(gate.admits(&second.token(&claims)).await, "an unknown key makes for another look");
    assert_eq!(gate.refusal(&first.token(&claims)).await, Refusal::UnknownKey);

    // Where nobody looks, because nobody can.
    let gate = Gate::new();
    assert!(gate.admits(&first.token(&claims)).await);
    gate.issuer.fail(Failure::new(Kind::Connection, "unplugged"));
    gate.clock.advance(Duration::from_secs(3599));
    assert!(gate.admits(&first.token(&claims)).await);
    gate.clock.advance(Duration::from_secs(1));
    assert!(matches!(gate.tokens.verify(&first.token(&claims)).await, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn whoever_invents_keys_makes_nobody_ask_for_them_more_than_twice_a_minute() {
    let gate = Gate::new();
    let claims = gate.claims(&json!({}));
    for second in 0..60_u8 {
        for number in 0..10 {
            let invented = SigningKey::new(&format!("invented-{second}-{number}"), 66);
            assert_eq!(gate.refusal(&invented.token(&claims)).await, Refusal::UnknownKey);
        }
        assert!(gate.admits(&SigningKey::first().token(&claims)).await, "the good ones go on");
        gate.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(gate.issuer.asked(), 2);
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_makes_no_token_good_and_is_asked_again_later() {
    let gate = Gate::new();
    let token = gate.with_claims(&json!({"exp": gate.clock.now().as_second() + 900}));
    let unavailable = async || matches!(gate.tokens.verify(&token).await, Err(Error::Unavailable(failure)) if failure.kind.retryable());
    gate.issuer.fail(Failure::new(Kind::Timeout, "no answer"));
    for _ in 0..10 {
        assert!(unavailable().await);
    }
    assert_eq!(gate.issuer.asked(), 1, "callers do not queue up for an issuer that is down");
    for broken in
        ["", "[]", "{}", r#"{"keys": 7}"#, "<html>", &format!(r#"{{"keys": [{}]}}"#, vec!["{}"; 101].join(","))]
    {
        gate.issuer.publish_text(broken);
        gate.clock.advance(Duration::from_secs(31));
        assert!(unavailable().await, "{broken}");
    }
    gate.issuer.publish_text(format!(r#"{{"keys": [], "x": "{}"}}"#, "x".repeat(200_000)));
    gate.clock.advance(Duration::from_secs(31));
    assert!(unavailable().await);
    // Keys that cannot be read do not spoil those that can.
    gate.issuer.publish(&[
        json!(7),
        json!({"kty": "RSA"}),
        json!({"kty": "new", "kid": "x"}),
        SigningKey::first().jwk(),
    ]);
    gate.clock.advance(Duration::from_secs(31));
    assert!(gate.admits(&token).await);
}

#[tokio::test]
async fn what_is_wrong_with_a_token_quotes_nothing_of_it() {
    let gate = Gate::new();
    let token = gate.with_claims(&json!({"iss": "https://planted.example", "sub": "planted"}));
    let error = gate.tokens.verify(&token).await.unwrap_err();
    let shown = format!("{error} {error:?} {:?}", gate.tokens);
    assert!(!shown.contains("planted") && !shown.contains("eyJ"), "{shown}");
}
