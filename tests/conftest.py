"""What tests of several packages share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from glow_deploy.runtime import TELEMETRY_VARIABLE

if TYPE_CHECKING:
    from glow_core import Glow, GlowConfig


sys.path.insert(0, str(Path(__file__).parent))  # house.py is imported by name

# Before a test imports ONNX Runtime on its own: no test run reports to anybody.
os.environ.setdefault(TELEMETRY_VARIABLE, "1")


@pytest.fixture(scope="session", autouse=True)
def one_canary_of_onnxruntime() -> Iterator[None]:
    """Let `verify` ask ONNX Runtime once a process what it computes in, not with every bundle: the answer is the same.

    It is asked here, before a test has changed anything. Tests of the canary itself ask for themselves.
    """
    from glow_deploy.verify.backends import arithmetic

    ask, known = arithmetic.canary_for, arithmetic.canary_for("onnxruntime-cpu")

    def answer(backend: str, **options: Any) -> Any:
        return known if backend == "onnxruntime-cpu" else ask(backend, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arithmetic, "canary_for", answer)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what lies at the top: whole runs, which take longest and must not be what everyone waits for last."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)


@pytest.fixture(scope="session")
def perturbed_glow() -> Callable[..., Glow]:
    """Build a Glow whose every weight has moved: fresh couplings are the identity and hide bugs."""

    def build(config: GlowConfig, *, seed: int = 0, strength: float = 0.05) -> Glow:
        import torch

        from glow_core import Glow

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            glow = Glow(config)
            images = torch.rand(16, config.channels, *config.image_size)
            labels = None if config.num_classes is None else torch.arange(16) % config.num_classes
            glow.initialize(images, labels)
            with torch.no_grad():
                for parameter in glow.parameters():
                    # By fan-in, so that a wide 1x1 convolution stays as far from singular as a narrow one.
                    fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
                    parameter.add_(strength * torch.randn_like(parameter) / max(1.0, fan_in / 12) ** 0.5)
        return glow.eval()

    return build


@pytest.fixture(scope="session")
def signing_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of keys and certificates in PEM.

    `private` and `public` are of P-256, `other` and `other-public` of somebody else; `p384`, `p521`; what is no good:
    `rsa`, `ed25519`, `k1` (secp256k1), `protected` (passphrase `open sesame`); `chain` is a certificate of `release`
    and the one above it, below `root`; `server` is a certificate of `release` that is not for signing.
    """
    pytest.importorskip("model_signing", reason="signatures need the extra `sign`")
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    folder = tmp_path_factory.mktemp("keys")
    plain = pem.NoEncryption()

    def write(name, key, protection=plain):
        text = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, protection)
        (folder / f"{name}.pem").write_bytes(text)
        return key

    def write_public(name, key):
        text = key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pem").write_bytes(text)

    write_public("public", write("private", ec.generate_private_key(ec.SECP256R1())))
    write_public("other-public", write("other", ec.generate_private_key(ec.SECP256R1())))
    for name, key in (
        ("p384", ec.generate_private_key(ec.SECP384R1())),
        ("p521", ec.generate_private_key(ec.SECP521R1())),
        ("k1", ec.generate_private_key(ec.SECP256K1())),
        ("rsa", rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        ("ed25519", ed25519.Ed25519PrivateKey.generate()),
    ):
        write_public(f"{name}-public", write(name, key))
    protected = ec.generate_private_key(ec.SECP256R1())
    write_public("protected-public", write("protected", protected, pem.BestAvailableEncryption(b"open sesame")))
    _write_certificates(folder, write)
    return folder


def _write_certificates(folder: Path, write: Callable[[str, Any], Any]) -> None:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    def usage(**given):
        every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        every += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
        return x509.KeyUsage(**dict.fromkeys(every, False) | given)

    def name(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def issue(subject, key, issuer, issuer_key, *, ca=False, days=(-1, 30), **given):
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days[0]))
            .not_valid_after(now + timedelta(days[1]))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(usage(**given), critical=True)
            .sign(issuer_key, hashes.SHA256())
            .public_bytes(Encoding.PEM)
        )

    root, middle, release = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    write("release", release)
    (folder / "root.pem").write_bytes(issue("root", root, "root", root, ca=True, key_cert_sign=True))
    (folder / "other-root.pem").write_bytes(issue("root", middle, "root", middle, ca=True, key_cert_sign=True))
    above = issue("middle", middle, "root", root, ca=True, key_cert_sign=True, days=(-3, 30))
    (folder / "chain.pem").write_bytes(issue("release", release, "middle", middle, digital_signature=True) + above)
    (folder / "server.pem").write_bytes(issue("server", release, "middle", middle, key_encipherment=True) + above)
    old = issue("old", release, "middle", middle, digital_signature=True, days=(-2, -1))
    (folder / "expired.pem").write_bytes(old + above)
