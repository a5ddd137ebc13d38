"""Keys at work on real keyset files."""

import base64
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
import tink
from tink import aead
from tink.testing import fake_kms

from checks.keys import Act
from errors import ConfigError, RoleRefused, TamperError
from stores.keysets import rotate
from stores.vault import HOLDINGS, Vault, provisioning_uri, totp_secret

ACTS: tuple[Act, ...] = get_args(Act)
HOLDERS = [kind if kind != "operator" else "operator:ada" for kind in HOLDINGS]


def test_what_is_encrypted_opens_with_its_context_only(tmp_path: Path) -> None:
    train, serving = Vault.open(tmp_path, "train"), Vault.open(tmp_path, "serving")
    sealed = train.encrypt(b"model", b"digest")
    assert b"model" not in sealed
    assert serving.decrypt(sealed, b"digest") == b"model"
    with pytest.raises(TamperError, match="another"):
        serving.decrypt(sealed, b"another")


def test_one_changed_byte_does_not_open(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path, "train")
    sealed = vault.encrypt(b"model", b"digest")
    for place in range(len(sealed)):
        broken = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        with pytest.raises(TamperError):
            vault.decrypt(broken, b"digest")
    with pytest.raises(TamperError):
        vault.decrypt(b"", b"digest")


def test_rotation_keeps_old_ciphertext_readable(tmp_path: Path) -> None:
    before = Vault.open(tmp_path, "train")
    old = before.encrypt(b"old", b"c")
    assert rotate(tmp_path, "aead") == 2
    after = Vault.open(tmp_path, "train")
    new = after.encrypt(b"new", b"c")
    assert (after.decrypt(old, b"c"), after.decrypt(new, b"c")) == (b"old", b"new")
    assert new[:5] != old[:5]  # Tink's prefix names the key
    with pytest.raises(TamperError):
        before.decrypt(new, b"c")  # a process from before must open the vault again


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    for holder in HOLDERS:
        Vault.open(tmp_path, holder)
    files = list((tmp_path / "vault").glob("*.json"))
    assert len(files) == 9
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    public = [json.loads(path.read_text()) for path in (tmp_path / "vault" / "public").glob("*.json")]
    assert {entry["key"] for entry in public} == {"guard", "release", "refresh", "operator:ada"}
    assert "PRIVATE" not in json.dumps(public)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Vault.open(tmp_path, "guard")
    (tmp_path / "vault" / "guard.json").chmod(0o644)
    with pytest.raises(TamperError, match="0600"):
        Vault.open(tmp_path, "guard")


def test_a_lost_keyset_is_an_error_and_not_a_new_one(tmp_path: Path) -> None:
    Vault.open(tmp_path, "train")
    (tmp_path / "vault" / "aead.json").unlink()
    with pytest.raises(TamperError, match="backup"):
        Vault.open(tmp_path, "serving")


def test_a_start_killed_between_two_files_just_goes_on(tmp_path: Path) -> None:
    Vault.open(tmp_path, "guard")
    for path in [tmp_path / "vault" / "guard.json", tmp_path / "vault" / "known" / "guard"]:
        path.unlink()  # only the public half had been written
    vault = Vault.open(tmp_path, "guard")
    vault.verifier.verify("guard", b"plan", vault.signer.sign(b"plan"))


def test_a_home_that_cannot_be_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="GROWNET_HOME"):
        Vault.open(tmp_path / "file", "guard")


def test_a_broken_keyset_is_an_error(tmp_path: Path) -> None:
    Vault.open(tmp_path, "train")
    path = tmp_path / "vault" / "aead.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(TamperError, match="readable keyset"):
        Vault.open(tmp_path, "train").encrypt(b"x", b"c")


@pytest.mark.parametrize("holder", ["", "nobody", "operator", "operator:", "operator:Eve!", "guard:1", "release:x"])
def test_an_unknown_holder_is_refused(tmp_path: Path, holder: str) -> None:
    with pytest.raises(RoleRefused):
        Vault.open(tmp_path, holder)


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_holder_uses_its_own_keys_and_no_other(tmp_path: Path, holder: str) -> None:
    vault = Vault.open(tmp_path, holder)
    uses: dict[str, Callable[[], Any]] = {
        "aead": lambda: vault.encrypt(b"x", b"c"),
        "sign": lambda: vault.signer,
        "pseudonym": lambda: vault.pseudonym("x"),
        "feedback": lambda: vault.feedback_mac(b"x"),
        "codes": lambda: vault.seal_code("ada", "x"),
        "judged": lambda: vault.judged_mac(b"x"),
    }
    held = HOLDINGS[holder.partition(":")[0]]
    for key, use in uses.items():
        if key in held:
            assert use()
        else:
            with pytest.raises(RoleRefused, match="holders"):
                use()


class TestSignatures:
    def test_the_ring_knows_who_signed(self, tmp_path: Path) -> None:
        ring = Vault.open(tmp_path, "reader").verifier
        signer = Vault.open(tmp_path, "operator:ada").signer
        signature = signer.sign(b"plan")
        ring.verify("operator:ada", b"plan", signature)
        for key, data in [("operator:ada", b"other"), ("guard", b"plan"), ("release", b"plan"), ("../x", b"plan")]:
            with pytest.raises(TamperError):
                ring.verify(key, data, signature)
        for broken in ["", "zz", signature[:-2], "00" * 69]:
            with pytest.raises(TamperError):
                ring.verify("operator:ada", b"plan", broken)

    def test_a_key_id_tells_what_it_may_sign(self, tmp_path: Path) -> None:
        for holder in ("guard", "release", "refresh", "operator:ada"):
            Vault.open(tmp_path, holder)
        ring = Vault.open(tmp_path, "reader").verifier
        assert ring.holders() == ("guard", "operator:ada", "refresh", "release")
        allowed = {(key, act) for key in ring.holders() for act in ACTS if ring.allowed(key, act)}
        operator = {("operator:ada", act) for act in ("plan", "review", "incident")}
        flows = {("release", "plan"), ("release", "vote"), ("refresh", "snapshot")}
        assert allowed == {("guard", "plan"), *operator, *flows}
        assert not ring.allowed("operator:eve", "plan")

    def test_an_operators_file_under_another_name_is_not_believed(self, tmp_path: Path) -> None:
        eve = Vault.open(tmp_path, "operator:eve").signer
        public = tmp_path / "vault" / "public"
        (public / "release.json").write_text((public / "operator-eve.json").read_text())
        with pytest.raises(TamperError, match="release"):
            Vault.open(tmp_path, "reader").verifier.verify("release", b"vote", eve.sign(b"vote"))

    def test_old_signatures_hold_after_rotation_and_new_ones_are_seen_at_once(self, tmp_path: Path) -> None:
        old = Vault.open(tmp_path, "guard").signer.sign(b"plan")
        ring = Vault.open(tmp_path, "reader").verifier
        ring.verify("guard", b"plan", old)
        rotate(tmp_path, "guard")
        new = Vault.open(tmp_path, "guard").signer.sign(b"plan")
        assert new != old
        ring.verify("guard", b"plan", new)
        ring.verify("guard", b"plan", old)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"key": "guard"}', '{"key": "guard", "keyset": {}}'])
    def test_a_broken_public_key_is_an_error(self, tmp_path: Path, content: str) -> None:
        signature = Vault.open(tmp_path, "guard").signer.sign(b"plan")
        (tmp_path / "vault" / "public" / "guard.json").write_text(content)
        with pytest.raises(TamperError):
            Vault.open(tmp_path, "reader").verifier.verify("guard", b"plan", signature)


class TestPseudonyms:
    def test_ingestion_and_serving_agree(self, tmp_path: Path) -> None:
        one = Vault.open(tmp_path, "ingest").pseudonym("12347")
        assert one == Vault.open(tmp_path, "serving").pseudonym("12347")
        assert one.startswith("p1_")
        assert len(one) == 35
        assert one != Vault.open(tmp_path, "serving").pseudonym("12348")

    def test_another_home_gives_others(self, tmp_path: Path) -> None:
        a, b = (Vault.open(tmp_path / name, "ingest").pseudonym("12347") for name in "ab")
        assert a != b

    def test_a_column_is_masked_and_null_stays_null(self, tmp_path: Path) -> None:
        vault = Vault.open(tmp_path, "ingest")
        masked = vault.pseudonyms(pd.Series(["1", None, "2", "1"], index=[5, 6, 7, 8]))
        assert list(masked.index) == [5, 6, 7, 8]
        assert masked.isna().tolist() == [False, True, False, False]
        assert masked[5] == masked[8] == vault.pseudonym("1")
        assert masked[7] == vault.pseudonym("2")

    @pytest.mark.parametrize("values", [[], [None, None]])
    def test_nothing_to_mask(self, tmp_path: Path, values: list[None]) -> None:
        masked = Vault.open(tmp_path, "ingest").pseudonyms(pd.Series(values, dtype="str"))
        assert masked.isna().all()
        assert masked.dtype == "str"

    def test_the_keys_version_stands_in_the_prefix(self, tmp_path: Path) -> None:
        Vault.open(tmp_path, "ingest")
        rotate(tmp_path, "pseudonym")
        assert Vault.open(tmp_path, "ingest").pseudonym("1").startswith("p2_")


def test_prediction_ids_are_checked_also_after_rotation(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path, "serving")
    mac = vault.feedback_mac(b"id")
    assert len(mac) == 16
    rotate(tmp_path, "feedback")
    after = Vault.open(tmp_path, "serving")
    assert after.feedback_mac(b"id") != mac
    assert after.feedback_mac_valid(b"id", mac)
    assert after.feedback_mac_valid(b"id", mac[:8])
    for wrong in [b"", mac[:7], mac[::-1], mac + b"0"]:
        assert not after.feedback_mac_valid(b"id", wrong)


def test_a_code_secret_is_bound_to_its_reviewer(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path, "release")
    secret = totp_secret()
    sealed = vault.seal_code("ada", secret)
    assert secret not in sealed
    assert vault.open_code("ada", sealed) == secret
    for reviewer, text in [("ben", sealed), ("ada", "not base64!"), ("ada", "")]:
        with pytest.raises(TamperError):
            vault.open_code(reviewer, text)


def test_an_authenticator_app_can_read_the_address() -> None:
    secret = totp_secret()
    uri = provisioning_uri("ada", secret)
    assert uri.startswith("otpauth://totp/grownet:ada?")
    assert f"secret={secret}" in uri


def test_two_processes_that_start_at_once_share_their_keys(tmp_path: Path) -> None:
    script = (
        "import sys, time, pathlib; from stores.vault import Vault; home = pathlib.Path(sys.argv[1])\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(Vault.open(home, 'ingest').pseudonym('1'), flush=True)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen(command, **pipes) for _ in range(3)]  # type: ignore[call-overload]  # pipes by name
    for child in children:
        assert child.stdout.readline().strip() == "ready"
    answers = {child.communicate("go\n", timeout=60)[0].strip() for child in children}
    assert len(answers) == 1
    assert answers == {Vault.open(tmp_path, "serving").pseudonym("1")}


class TestKms:
    """The wrapping, with Tink's own stand-in for a KMS; a real KMS was not to be had."""

    @pytest.fixture
    def uri(self) -> str:
        aead.register()
        handle = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
        key = tink.proto_keyset_format.serialize(handle, tink.secret_key_access.TOKEN)
        if not any(isinstance(client, fake_kms.FakeKmsClient) for client in tink._kms_clients._kms_clients):
            fake_kms.register_client()
        return "fake-kms://" + base64.urlsafe_b64encode(key).decode().rstrip("=")

    def test_keyset_files_are_wrapped(self, tmp_path: Path, uri: str) -> None:
        sealed = Vault.open(tmp_path, "train", uri).encrypt(b"x", b"c")
        assert "encryptedKeyset" in (tmp_path / "vault" / "aead.json").read_text()
        assert Vault.open(tmp_path, "serving", uri).decrypt(sealed, b"c") == b"x"
        rotate(tmp_path, "aead", uri)
        assert Vault.open(tmp_path, "serving", uri).decrypt(sealed, b"c") == b"x"
        with pytest.raises(TamperError):
            Vault.open(tmp_path, "serving")

    def test_a_wrapped_keyset_is_bound_to_its_name(self, tmp_path: Path, uri: str) -> None:
        Vault.open(tmp_path, "release", uri)
        (tmp_path / "vault" / "aead.json").replace(tmp_path / "vault" / "codes.json")
        with pytest.raises(TamperError):
            Vault.open(tmp_path, "release", uri).seal_code("ada", "x")

    def test_an_unknown_or_uninstalled_kms_is_a_configuration_error(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="scheme"):
            Vault.open(tmp_path, "train", "what://key")
        with pytest.raises(ConfigError, match="not installed"):
            Vault.open(tmp_path, "train", "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k")


def test_half_a_write_leaves_the_old_keyset(tmp_path: Path) -> None:
    Vault.open(tmp_path, "train")
    folder = tmp_path / "vault"
    before = (folder / "aead.json").read_text()
    (folder / f".aead.json.{os.getpid() + 1}.new").write_text(before[:10])  # what a killed process leaves behind
    Vault.open(tmp_path, "train").encrypt(b"x", b"c")
    assert (folder / "aead.json").read_text() == before


def test_masking_a_month_of_orders_is_quick(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path, "ingest")
    subjects = pd.Series([str(number % 4000) for number in range(50_000)])
    start = time.process_time()
    vault.pseudonyms(subjects)
    assert time.process_time() - start < 1.0  # 50,000 rows, 4,000 people: 0.03 s where it was written
