"""The local token issuer: an RSA key, its public half for the authorizer, and tokens signed with it.

It runs in ministack's environment, which has `cryptography`.

    tokens.py key <folder> [<id>]                             make key.pem and jwks.json, unless they exist
    tokens.py sign <folder> <issuer> <audience> <user> <group>…   print a token
"""

import base64
import json
import os
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

KEY_ID = "local"
LIFETIME_SECONDS = 3600


def make_key(folder, key_id=KEY_ID):
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "jwks.json").exists():
        return
    # The only kind that API Gateway's authorizer takes.
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_numbers()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    # Written aside and renamed: two first starts may meet here, and the key and its public half belong together.
    staged = folder / f"key.{os.getpid()}"
    staged.write_bytes(pem)
    staged.chmod(0o600)
    staged.rename(folder / "key.pem")
    jwk = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key_id,
           "n": _base64(public.n.to_bytes(256, "big")), "e": _base64(public.e.to_bytes(3, "big"))}
    staged.write_text(json.dumps({"keys": [jwk]}))
    staged.rename(folder / "jwks.json")


def sign(folder, issuer, audience, user, groups):
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), password=None)
    now = int(time.time())
    key_id = json.loads((folder / "jwks.json").read_text())["keys"][0]["kid"]
    header = {"alg": "RS256", "typ": "JWT", "kid": key_id}
    claims = {"iss": issuer, "aud": audience, "sub": user, "groups": groups, "cognito:groups": groups,
              "iat": now, "exp": now + LIFETIME_SECONDS}
    signed = ".".join(_base64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return f"{signed}.{_base64(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _base64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


if __name__ == "__main__":
    command, folder, *rest = sys.argv[1:]
    if command == "key":
        make_key(Path(folder), *rest)
    else:
        issuer, audience, user, *groups = rest
        print(sign(Path(folder), issuer, audience, user, groups))
