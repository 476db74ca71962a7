#!/usr/bin/env python3
"""Makes signed.json: public keys of each type, and tokens that they, or those who know only them, have signed.

The private halves are forgotten, so every run makes another file. It needs `cryptography` 48 or newer.
"""

import base64
import hashlib
import hmac
import json
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CLAIMS = {"iss": "https://issuer.example", "aud": "ihelper", "sub": "alice", "exp": 4102444800}
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, length=None):
    return text(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


def token(algorithm, key_id, sign):
    parts = ({"alg": algorithm, "typ": "JWT", "kid": key_id}, CLAIMS)
    signed = ".".join(text(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{signed}.{text(sign(signed.encode()))}"


def rsa_signer(key, algorithm):
    digest = HASHES[algorithm[2:]]
    pad = padding.PKCS1v15() if algorithm[0] == "R" else padding.PSS(padding.MGF1(digest), digest.digest_size)
    return lambda message: key.sign(message, pad, digest)


def curve_signer(key, digest, length):
    def sign(message):
        r, s = utils.decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
        return r.to_bytes(length, "big") + s.to_bytes(length, "big")
    return sign


def curve_jwk(key, name, length, key_id):
    point = key.public_key().public_numbers()
    return {"kty": "EC", "crv": name, "kid": key_id, "x": number(point.x, length), "y": number(point.y, length)}


def rsa_jwk(key, key_id):
    public = key.public_key().public_numbers()
    return {"kty": "RSA", "kid": key_id, "n": number(public.n), "e": number(public.e)}


large = rsa.generate_private_key(public_exponent=65537, key_size=2048)
small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
p256, p384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
edwards = ed25519.Ed25519PrivateKey.generate()

keys = [rsa_jwk(large, "rsa"), rsa_jwk(small, "rsa-1024"), curve_jwk(p256, "P-256", 32, "p-256"),
        curve_jwk(p384, "P-384", 48, "p-384"),
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed25519",
         "x": text(edwards.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))}]
good = {algorithm: token(algorithm, "rsa", rsa_signer(large, algorithm))
        for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")}
good |= {"ES256": token("ES256", "p-256", curve_signer(p256, HASHES["256"], 32)),
         "ES384": token("ES384", "p-384", curve_signer(p384, HASHES["384"], 48)),
         "EdDSA": token("EdDSA", "ed25519", edwards.sign)}

public = large.public_key()
secrets = {
    "the public key as PEM": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "the public key as PEM of PKCS 1": public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
    "the public key as DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "the published key as JSON": json.dumps(keys[0], separators=(",", ":")).encode(),
    "the modulus": public.public_numbers().n.to_bytes(256, "big"),
    "nothing": b"",
}
bad = {f"HS256 with {name} as the secret":
       token("HS256", "rsa", lambda message, secret=secret: hmac.new(secret, message, hashlib.sha256).digest())
       for name, secret in secrets.items()}
bad |= {
    "RS256 with a key of 1024 bits": token("RS256", "rsa-1024", rsa_signer(small, "RS256")),
    "RS256 of one key under another's id": token("RS256", "rsa", rsa_signer(small, "RS256")),
    "ES256 in DER, not in two numbers": token("ES256", "p-256", lambda m: p256.sign(m, ec.ECDSA(HASHES["256"]))),
    "ES256 with the hash of ES384": token("ES256", "p-256", curve_signer(p256, HASHES["384"], 32)),
    "ES256 of two zeros": token("ES256", "p-256", lambda _: bytes(64)),
    "ES384 of two zeros": token("ES384", "p-384", lambda _: bytes(96)),
    "EdDSA of zeros": token("EdDSA", "ed25519", lambda _: bytes(64)),
    "RS256 of a signature of one": token("RS256", "rsa", lambda _: (1).to_bytes(256, "big")),
    "PS256 called RS256": token("RS256", "rsa", rsa_signer(large, "PS256")),
    "RS256 called PS256": token("PS256", "rsa", rsa_signer(large, "RS256")),
    "RS256 with the id of a curve's key": token("RS256", "p-256", rsa_signer(large, "RS256")),
    "ES256 with the id of an RSA key": token("ES256", "rsa", curve_signer(p256, HASHES["256"], 32)),
    "ES384 with the id of a P-256 key": token("ES384", "p-256", curve_signer(p384, HASHES["384"], 48)),
}
where = Path(__file__).with_name("signed.json")
where.write_text(json.dumps({"keys": keys, "good": good, "bad": bad}, indent=1) + "\n")
